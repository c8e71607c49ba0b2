"""A few cheap rows of each library, to see in a minute that everything works."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import art, foolbox, paper

SUITE = Suite(
    name="smoke",
    description="A few cheap rows of each library in every norm, to see that everything works.",
    rows=(
        art.DEEPFOOL_L2,
        art.JSMA,
        foolbox.DEEPFOOL_L2,
        foolbox.DDN,
        foolbox.FMN_LINF,
        paper.SPARSEFOOL,
        paper.DEEPFOOL_LINF,
    ),
    samples=20,
    networks=("MLP", "CNN"),
)
