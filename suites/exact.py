"""Exact minimal distances at length, and the attacks that come nearest to them at little cost."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import certify as _certify
from suites.grid import foolbox as _foolbox

SUITE = Suite(
    name="exact",
    description="Exact minimal distances, a minute of search for each image, and the best cheap attacks beside them.",
    rows=(
        *_certify.exact(60.0),
        _foolbox.SIGMA_ZERO,
        _foolbox.SPARSEFOOL,
        _foolbox.DDN,
        _foolbox.DEEPFOOL_L2,
        _foolbox.FMN_LINF,
        _foolbox.DEEPFOOL_LINF,
    ),
    samples=50,
)
