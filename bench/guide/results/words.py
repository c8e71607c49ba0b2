"""Numbers as the two languages of the chapters write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics import SIGNIFICANT
from bench.report.tables import UNDEFINED, figure, percentage

SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Words:
    """How a language writes numbers and lists.

    Attributes:
        language: ``en`` or ``fr``.
    """

    language: str

    def number(self, value: float | None, digits: int = 3) -> str:
        """``1,230`` or ``1 230``, ``0.462`` or ``0,462``, infinity, a dash for what is not defined."""
        return self._local(UNDEFINED if value is None else figure(value, digits))

    def percent(self, value: float | None, digits: int = 0) -> str:
        """A fraction as percentage."""
        if value is None or math.isnan(value):
            return UNDEFINED
        shown = self._local(percentage(value, digits))
        return shown.replace("%", f"{SPACE}%") if self.language == "fr" else shown

    def p(self, value: float) -> str:
        """A p value on one line."""
        text = "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
        return self._local(text).replace(" ", SPACE)

    def interval(self, low: float, high: float) -> str:
        """Two ends of an interval."""
        return f"{self.number(low)} {'à' if self.language == 'fr' else 'to'} {self.number(high)}"

    def listed(self, names: Sequence[str]) -> str:
        """Names in a sentence."""
        word = " et " if self.language == "fr" else " and "
        return word.join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)

    def _local(self, text: str) -> str:
        return text.replace(",", SPACE).replace(".", ",") if self.language == "fr" else text


def cell(text: str) -> str:
    """Text in a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def outcome(p: float, effect: float) -> str:
    """What a paired test says of the first: ``more``, ``less``, ``open`` where it does not reject at 0.05, ``none`` without a test.

    Args:
        p: of the test, adjusted; NaN where a network does not compare.
        effect: positive where the first has the larger distances.
    """
    if math.isnan(p):
        return "none"
    if not p < SIGNIFICANT or effect == 0 or math.isnan(effect):
        return "open"
    return "more" if effect > 0 else "less"
