"""The whole grid: every family of attacks in every norm in both libraries, each row at its best honest settings.

Certified lower bounds stand beside them; ``--exact SECONDS`` adds the search for exact distances.
"""

from __future__ import annotations

from bench.specs import Suite
from suites.grid import art as _art
from suites.grid import certify as _certify
from suites.grid import foolbox as _foolbox

SUITE = Suite(
    name="minimal_norm",
    description="DeepFool, C&W, the boundary family and reference attacks in L0, L2 and Linf, by ART and by Foolbox, and certified bounds.",
    rows=(*_art.ROWS, *_foolbox.ROWS, *_certify.LOWER, *_certify.exact(0.0)),
    holes=(*_art.HOLES, *_foolbox.HOLES),
    samples=50,
)
