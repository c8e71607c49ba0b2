"""All 10,000 test images: for each norm the attacks with the best quality for their cost."""

from __future__ import annotations

from dataclasses import replace

from bench.specs import AttackSpec, Suite
from suites import _foolbox

STEPS = 100
BATCH = 250


def _short(row: AttackSpec) -> AttackSpec:
    """A row with the steps that twenty minutes on two cores leave it, in batches that use a core well."""
    reason = {"steps": f"{row.params['steps']} in minimal_norm; {STEPS} here, for a hundred times as many images"}
    return replace(row, params={**row.params, "steps": STEPS}, reasons={**row.reasons, **reason}, batch=BATCH)


SUITE = Suite(
    name="whole_test",
    description="All 10,000 test images: for each norm the attacks with the best quality for their cost.",
    rows=(
        _short(_foolbox.SIGMA_ZERO),
        _short(_foolbox.DDN),
        replace(_foolbox.DEEPFOOL_L2, batch=BATCH),
        _short(_foolbox.FMN_LINF),
        replace(_foolbox.DEEPFOOL_LINF, batch=BATCH),
    ),
    samples=10_000,
)
