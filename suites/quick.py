"""A sound answer in a few seconds an image: the default of ``bench.evaluate``."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import certify, foolbox, paper

SUITE = Suite(
    name="quick",
    description="For each norm the attacks with the best quality for their cost, and certified lower bounds.",
    rows=(
        paper.SIGMA_ZERO,
        foolbox.FMN_L0,
        paper.SPARSEFOOL,
        foolbox.DDN,
        foolbox.DEEPFOOL_L2,
        foolbox.FMN_LINF,
        foolbox.FMN_EVERY_CLASS_LINF,
        foolbox.DEEPFOOL_LINF,
        *certify.LOWER,
    ),
    on_request=(foolbox.EAD_L1, paper.APGD_L1, paper.FAB_L1, *certify.LOWER_L1),
    samples=50,
)
