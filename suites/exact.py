"""Exact minimal distances at length, and the attacks that come nearest to them at little cost."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import certify, foolbox, paper

SUITE = Suite(
    name="exact",
    description="Exact minimal distances, a minute of search for each image, and the best cheap attacks beside them.",
    rows=(
        *certify.exact(60.0),
        paper.SIGMA_ZERO,
        paper.SPARSEFOOL,
        foolbox.DDN,
        foolbox.DEEPFOOL_L2,
        foolbox.FMN_LINF,
        foolbox.DEEPFOOL_LINF,
    ),
    samples=50,
)
