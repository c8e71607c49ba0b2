"""A requirement on one network, decided: what comes out of a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.check.requirements import Requirement


class Outcome(StrEnum):
    """How a requirement ended."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "not decidable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A requirement on one network, decided.

    Attributes:
        requirement: what was required.
        network: of which network.
        outcome: how it ended.
        measured: the figures that it rests on, in words.
        needed: where it is not decidable, about how many images would decide it, in words; else empty.
    """

    requirement: Requirement
    network: str
    outcome: Outcome
    measured: str
    needed: str = ""

    @property
    def text(self) -> str:
        """The network and what is required of it."""
        return f"{self.network}: {self.requirement.shown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All requirements, decided.

    Attributes:
        decisions: by requirement, then network, in their orders.
        notes: what a reader has to know besides, a line each.
    """

    decisions: Sequence[Decision]
    notes: Sequence[str]

    def count(self, outcome: Outcome) -> int:
        """How many decisions ended so."""
        return sum(decision.outcome is outcome for decision in self.decisions)
