"""The whole grid: every family of attacks in every norm in both libraries, each row at its best honest settings."""

from __future__ import annotations

from bench.specs import Suite
from suites import _art, _foolbox

SUITE = Suite(
    name="minimal_norm",
    description="DeepFool, C&W, the boundary family and reference attacks in L0, L2 and Linf, by ART and by Foolbox.",
    rows=(*_art.ROWS, *_foolbox.ROWS),
    holes=(*_art.HOLES, *_foolbox.HOLES),
    samples=50,
)
