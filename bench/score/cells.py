"""One cell of a table of distances: a number, nothing found, or not run; anything else is refused in a sentence."""

from __future__ import annotations

import math
import re

ALLOWED = "give a number of 0 or more with a point, inf where nothing was found, or an empty cell where it was not run"

LEAST, MOST = 1e-50, 1e50
"""What lies between distances of float32 images, with room to spare; quotients of such numbers are numbers."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"\+?(inf|infinity|∞)", re.IGNORECASE)
_NOTHING = re.compile(r"[+-]?nan|n/?a|null|none|-+", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}([,'_ \u00a0\u202f]\d{3})+(\.\d+)?", re.ASCII)
_COMMA = re.compile(r"\d*,\d+", re.ASCII)


class NoDistanceError(ValueError):
    """What is wrong with a cell, and what is allowed; the message goes on after the cell's text."""


def distance(text: str) -> float | None:
    """A cell's distance.

    Args:
        text: of the cell; blanks round it count for nothing.

    Returns:
        Float64, 0 or from 1e-50 to 1e50, +inf where nothing was found; None for an empty cell.

    Raises:
        NoDistanceError: it is none.
    """
    given = text.strip()
    if not given:
        return None
    if _INFINITE.fullmatch(given):
        return math.inf
    if not _NUMBER.fullmatch(given):
        raise NoDistanceError(_reason(given))
    value = float(given)
    if value < 0:
        raise NoDistanceError(f"is negative; a distance is a length: {ALLOWED}")
    if value and not LEAST <= value <= MOST:
        raise NoDistanceError(
            f"is no size of a change: give 0, or a number from {LEAST:g} to {MOST:g}, or inf where nothing was found"
        )
    return abs(value)


def _reason(given: str) -> str:
    if _NOTHING.fullmatch(given):
        return f"does not say whether an attack found nothing or was not run; {ALLOWED}"
    if _THOUSANDS.fullmatch(given):
        return "has separators of thousands, or a comma for a point; write the digits alone, with a point"
    if _COMMA.fullmatch(given):
        return "has a comma for a point; write 0.5, not 0,5"
    return f"is no distance; {ALLOWED}"
