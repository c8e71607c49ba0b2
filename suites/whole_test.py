"""All 10,000 test images: for each norm the attacks with the best quality for their cost."""

from __future__ import annotations

from dataclasses import replace

from bench.specs import AttackSpec, Suite
from suites.grid import foolbox, paper

BLOCK = 100
"""Images to a block: enough to use a core well, and few enough for its cache."""


def _short(row: AttackSpec, steps: int) -> AttackSpec:
    """A row with as many steps as twenty minutes on two cores allow it, in large blocks."""
    reason = f"{row.params['steps']} in minimal_norm; {steps} here, for two hundred times as many images"
    return replace(row, params={**row.params, "steps": steps}, reasons={**row.reasons, "steps": reason}, block=BLOCK)


SUITE = Suite(
    name="whole_test",
    description="All 10,000 test images: for each norm the attacks with the best quality for their cost.",
    rows=(
        _short(paper.SIGMA_ZERO, 200),
        _short(foolbox.FMN_L0, 100),
        _short(foolbox.DDN, 150),
        _short(foolbox.FMN_LINF, 50),
        _short(foolbox.FMN_EVERY_CLASS_LINF, 30),
    ),
    samples=10_000,
)
