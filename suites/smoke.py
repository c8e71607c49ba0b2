"""A few cheap rows of both libraries, to see in a minute that everything works."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import art as _art
from suites.grid import foolbox as _foolbox

SUITE = Suite(
    name="smoke",
    description="A few cheap rows of both libraries in every norm, to see that everything works.",
    rows=(
        *(row for row in _art.ROWS if row.name in ("art-deepfool-l2", "art-deepfool-linf", "art-sparsefool-l0")),
        _foolbox.SPARSEFOOL,
        _foolbox.DEEPFOOL_L2,
        _foolbox.DDN,
        _foolbox.FMN_LINF,
    ),
    samples=20,
    networks=("MLP", "CNN"),
)
