"""The whole grid: every family of attacks in every norm and library, each row at its best honest settings.

Certified lower bounds stand beside them; ``--exact SECONDS`` adds the search for exact distances, ``--norms l1`` takes the rows of
suite ``l1``.
"""

from __future__ import annotations

from bench.specs import Suite
from suites import l1
from suites.grid import art, certify, foolbox, paper

SUITE = Suite(
    name="minimal_norm",
    description=(
        "DeepFool, C&W, the boundary family and reference attacks in L0, L2 and Linf, by ART, by Foolbox and from "
        "papers, and certified bounds."
    ),
    rows=(*art.ROWS, *foolbox.ROWS, *paper.ROWS, *certify.LOWER, *certify.exact(0.0)),
    holes=(*art.HOLES, *foolbox.HOLES, *l1.SUITE.holes),
    on_request=l1.SUITE.rows,
    samples=50,
)
