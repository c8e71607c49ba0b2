"""The attacks of Adversarial Library, the third library: by an independent hand what our own rows are compared with."""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import advlib

SUITE = Suite(
    name="advlib",
    description="DDN, FMN, ALMA, FAB, PDPGD, sigma-zero and minimal APGD by Adversarial Library, in L0, L1, L2 and Linf.",
    rows=advlib.ROWS,
    samples=50,
)
