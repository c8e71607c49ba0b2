"""A run that ends in time: as many images as there is time for, and every attack that there is time for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from bench.engine.costs import Estimates
from bench.engine.forecast import BESIDE
from bench.engine.plan import Plan, expected_seconds
from bench.errors import UsageError
from bench.specs import Kind, Row

AROUND = 20.0
"""Seconds that a run takes before its first attack and after its last one."""

FILLED = 0.85
"""The fraction of the time that is planned: an estimate is no promise."""

FEWEST = 10
"""Attacks are left out before there are fewer images than this."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run does in the time it is given.

    Attributes:
        minutes: that were given.
        samples: how many images there is time for.
        asked: how many were asked for.
        rows: what is run.
        left_out: what there is no time for, by name.
        seconds: what the attacks should take.
    """

    minutes: float
    samples: int
    asked: int
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def words(self) -> str:
        """What was chosen, and what was left out, in a line."""
        left_out = f"; left out: {', '.join(self.left_out)}" if self.left_out else "; no attack is left out"
        return (
            f"{self.minutes:g} minutes are enough for {self.samples} of {self.asked} images{left_out}; the attacks should "
            f"take {timedelta(seconds=round(self.seconds))}"
        )

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "minutes": self.minutes,
            "samples": self.samples,
            "asked": self.asked,
            "left_out": list(self.left_out),
            "seconds": round(self.seconds, 1),
        }


def fitted(plan: Plan, estimated: Estimates, minutes: float, workers: int) -> Budget:
    """The part of a plan that ends in time.

    Every attack runs on fewer images rather than some attacks on none: only where there is no time for ten images are the
    most expensive attacks left out, and the last attack of a norm never is.

    Args:
        plan: what was asked for.
        estimated: seconds an image should take, by network and row.
        minutes: of wall time.
        workers: processes, at least 1.

    Raises:
        UsageError: there is no time for a single image.
    """
    seconds = FILLED * 60 * minutes - AROUND
    asked = len(plan.indices)
    fewest = min(FEWEST, asked)
    rows = plan.rows
    while takes(plan, rows, fewest, estimated, workers) > seconds:
        expensive = _most_expensive(plan, rows, estimated)
        if expensive is None:
            break
        rows = tuple(row for row in rows if row is not expensive)
    low, high = 0, asked
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if takes(plan, rows, middle, estimated, workers) <= seconds else (low, middle - 1)
    if not low:
        needed = (takes(plan, rows, 1, estimated, workers) + AROUND) / FILLED / 60
        raise UsageError(
            f"--minutes {minutes:g} is not possible: one image takes about {needed:.1f} minutes; give more, or fewer --networks "
            "or --norms"
        )
    left_out = tuple(row.name for row in plan.rows if row not in rows)
    return Budget(minutes, low, asked, rows, left_out, takes(plan, rows, low, estimated, workers))


def takes(plan: Plan, rows: Sequence[Row], samples: int, estimated: Estimates, workers: int) -> float:
    """Seconds of wall time that rows of a plan take on its first images."""
    blocks = replace(plan, rows=tuple(rows), indices=plan.indices[:samples]).blocks()
    seconds = [expected_seconds(block, estimated) + BESIDE for block in blocks]
    return max(sum(seconds) / workers, max(seconds, default=0.0))


def _most_expensive(plan: Plan, rows: Sequence[Row], estimated: Estimates) -> Row | None:
    """The row that takes longest of those that are not the last attack of their norm."""
    attacks = [row.norm for row in rows if row.kind is Kind.UPPER]
    spare = [row for row in rows if row.kind is not Kind.UPPER or attacks.count(row.norm) > 1]
    return max(spare, key=lambda row: takes(plan, [row], FEWEST, estimated, 1), default=None)
