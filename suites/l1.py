"""Attacks in L1 by ART, by Foolbox and from papers, with certified lower bounds; ``--exact SECONDS`` adds exact distances."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import Suite
from suites.grid import art, certify, foolbox, paper

SUITE = Suite(
    name="l1",
    description="EAD, Brendel-Bethge and FMN in L1 by ART and Foolbox, five attacks from papers, and certified bounds.",
    rows=(*art.L1_ROWS, *foolbox.L1_ROWS, *paper.L1_ROWS, *certify.LOWER_L1, *certify.exact(0.0, (Norm.L1,))),
    holes=(*art.L1_HOLES, *foolbox.L1_HOLES),
    samples=50,
)
