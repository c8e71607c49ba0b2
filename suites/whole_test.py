"""All 10,000 test images: for each norm the attacks with the best quality for their cost."""

from __future__ import annotations

from dataclasses import replace

from bench.specs import AttackSpec, Suite
from suites.grid import foolbox as _foolbox

BATCH = 100
"""Images to a call: enough to use a core well, and few enough for its cache."""


def _short(row: AttackSpec, steps: int) -> AttackSpec:
    """A row with the steps that twenty minutes on two cores leave it, in large batches."""
    reason = f"{row.params['steps']} in minimal_norm; {steps} here, for two hundred times as many images"
    return replace(row, params={**row.params, "steps": steps}, reasons={**row.reasons, "steps": reason}, batch=BATCH)


SUITE = Suite(
    name="whole_test",
    description="All 10,000 test images: for each norm the attacks with the best quality for their cost.",
    rows=(
        _short(_foolbox.SIGMA_ZERO, 200),
        _short(_foolbox.FMN_L0, 100),
        _short(_foolbox.DDN, 150),
        _short(_foolbox.FMN_LINF, 50),
        _short(_foolbox.FMN_EVERY_CLASS_LINF, 30),
    ),
    samples=10_000,
)
