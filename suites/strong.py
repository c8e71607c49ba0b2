"""Attacks for networks that were trained to resist: from papers, towards each class, from more than one start."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import certify, foolbox, paper

SUITE = Suite(
    name="strong",
    description="FAB, APGD_t, FMN, ALMA, PDPGD and Brendel-Bethge from their papers, the best cheap attacks, and certified bounds.",
    rows=(
        *paper.STRONG_ROWS,
        paper.SIGMA_ZERO,
        foolbox.DDN,
        foolbox.FMN_LINF,
        foolbox.FMN_EVERY_CLASS_LINF,
        foolbox.HOPSKIPJUMP_L2,
        foolbox.HOPSKIPJUMP_LINF,
        *certify.LOWER,
    ),
    on_request=(*paper.L1_ROWS, foolbox.FMN_L1, *certify.LOWER_L1),
    samples=50,
    networks=("CNN", "CNN_at_linf", "CNN_at_l2"),
)
