"""What checks say, before the attacks and after: one scale of levels, one list of names, one result before the attacks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How a check ended; the order is from bad to good.

    ``stop`` refuses the network before the first attack, because no number about it would mean anything. ``fail`` and
    ``warn`` go into the report, where the worst level of a network's checks is its verdict. ``not assessed``: the run
    has nothing to judge by, which is never a pass.
    """

    STOP = "stop"
    FAIL = "fail"
    WARN = "warn"
    PASS = "pass"  # noqa: S105 - a level, no password
    NONE = "not assessed"


class CheckName(StrEnum):
    """The names of all checks: stable, for programs; keys in the manifest and in ``summary.json``."""

    RUNS = "runs"
    FINITE_LOGITS = "finite_logits"
    REPEATS = "repeats"
    BATCHES = "batches"
    DEPENDS_ON_THE_IMAGE = "depends_on_the_image"
    LOGITS = "logits"
    FLOAT64 = "float64"
    CLEAN_ACCURACY = "clean_accuracy"
    GRADIENTS = "gradients"
    LOSS_FALLS = "loss_falls"
    MORE_STEPS = "more_steps"
    ITERATIVE_BEATS_SINGLE_STEP = "iterative_beats_single_step"
    TRANSFER = "transfer"
    GRADIENT_BEATS_DECISION = "gradient_beats_decision"
    ALWAYS_FOUND = "always_found"


FORMAT_1_CHECKS = {
    "finite logits": CheckName.FINITE_LOGITS.value,
    "depends on the image": CheckName.DEPENDS_ON_THE_IMAGE.value,
    "clean accuracy": CheckName.CLEAN_ACCURACY.value,
}
"""What manifests of format 1 called checks whose name is another today; all other names are the same."""

BETTER = 0.05
"""A distance counts as smaller when it is so by more than 5 %: less is noise of step sizes."""

FAR = 0.25
"""Distances that can be lowered by a quarter are not minimal."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of a network, made before the attacks.

    Attributes:
        check: its name.
        status: pass, warn, fail or stop.
        value: the number it is decided by; None where there is none. What is not finite is None in a manifest.
        message: what was found, and unless it passes what it means or what to do.
    """

    check: CheckName
    status: Level
    value: float | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        value = None if self.value is None or not math.isfinite(self.value) else self.value
        return asdict(self) | {"check": self.check.value, "status": self.status.value, "value": value}


TRUST = {
    Level.STOP: "refused",
    Level.FAIL: "not trustworthy",
    Level.WARN: "doubtful",
    Level.PASS: "trustworthy",
    Level.NONE: "not assessed",
}
"""What a verdict says of the attacks on a network: nothing of the network's robustness."""


def grade(fails: bool, warns: bool) -> Level:
    """``fail``, ``warn`` or ``pass``, by two conditions of which the first is the graver."""
    return Level.FAIL if fails else Level.WARN if warns else Level.PASS


def worst(levels: Iterable[Level]) -> Level:
    """The worst of some levels; ``not assessed`` for none."""
    return min(levels, key=list(Level).index, default=Level.NONE)
