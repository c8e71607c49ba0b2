"""What may be required of a run, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from bench.errors import UsageError
from bench.findings import BETTER, Level
from bench.norms import Norm

LEAST = 100 * BETTER
"""The least difference that matters, in percent, where a ``no-worse`` names none: 5."""


class Quantity(StrEnum):
    """What is required something of."""

    MEDIAN = "median"
    ROBUST_ACCURACY = "robust_accuracy"
    CERTIFIED = "certified"
    NO_WORSE = "no-worse"
    CLEAN_ACCURACY = "clean_accuracy"
    FOUND_RATE = "found_rate"
    VERDICT = "verdict"


class Sign(StrEnum):
    """How a measured value has to lie to the required one."""

    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    EQUAL = "="


LEVELS = (Level.PASS, Level.WARN)
"""The verdicts that may be required, the best first."""

OF_NORMS = (Quantity.MEDIAN, Quantity.ROBUST_ACCURACY, Quantity.CERTIFIED)
AT_EPS = (Quantity.ROBUST_ACCURACY, Quantity.CERTIFIED)
_ESTIMATED = (Sign.AT_LEAST, Sign.ABOVE, Sign.AT_MOST, Sign.BELOW)
SIGNS: dict[Quantity, tuple[Sign, ...]] = {
    **dict.fromkeys((*OF_NORMS, Quantity.CLEAN_ACCURACY), _ESTIMATED),
    Quantity.FOUND_RATE: tuple(Sign),
    Quantity.VERDICT: (Sign.EQUAL, Sign.AT_LEAST),
}
"""The signs that each quantity may have. What is estimated from images is never known to be equal to a number."""


class RequirementError(UsageError):
    """A requirement that cannot be read.

    Attributes:
        column: where the fault is, from 1 to one more than the text is long.
    """

    def __init__(self, text: str, column: int, message: str) -> None:
        super().__init__(f"requirement {text[:200]!r}, column {column}: {message}")
        self.column = column


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement; two are equal where they ask the same, however they are written.

    Attributes:
        quantity: what it is about.
        network: the only network that it is about; empty for every network of the run.
        norm: of a distance; None elsewhere.
        eps: size of a change, >= 0, in the units of distances; None elsewhere.
        attack: name of a row; empty elsewhere.
        sign: None for ``no-worse``.
        value: a distance (finite, >= 0), a fraction from 0 to 1, or for ``no-worse`` the least difference that matters in
            percent, from 0 to below 100; 0 for a verdict.
        level: the verdict that is required; None elsewhere.
        text: as it was written.
    """

    quantity: Quantity
    network: str = ""
    norm: Norm | None = None
    eps: float | None = None
    attack: str = ""
    sign: Sign | None = None
    value: float = 0.0
    level: Level | None = None
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As :func:`bench.check.grammar.parse` reads it to an equal one."""
        return (f"{self.network}: " if self.network else "") + self.condition

    @property
    def shown(self) -> str:
        """The condition as it was written, or as it prints where it leaves something out."""
        written = " ".join(self.text.rpartition(":")[2].split())
        return self.condition if self.quantity is Quantity.NO_WORSE or not written else written

    @property
    def condition(self) -> str:
        """The same without the network."""
        of = {
            Quantity.NO_WORSE: f"{self.norm} no-worse",
            Quantity.CLEAN_ACCURACY: "clean_accuracy",
            Quantity.FOUND_RATE: f"attack.{self.attack}.found_rate",
            Quantity.VERDICT: "verdict",
        }.get(self.quantity, f"{self.norm}.{self.quantity}")
        if self.quantity is Quantity.NO_WORSE:
            return f"{of} by {printed(self.value)}%"
        eps = "" if self.eps is None else f"[{printed(self.eps)}]"
        return f"{of}{eps} {self.sign} {self.level or printed(self.value)}"


def printed(number: float) -> str:
    """A number as short as it is read back to the same."""
    return repr(number).removesuffix(".0")
