"""A solver as Brendel-Bethge's libraries write theirs, where another process can import it."""

from __future__ import annotations

from numba.experimental import jitclass  # type: ignore[attr-defined]  # it says nowhere what it exports


@jitclass([])
class Halfway:
    """A solver that goes half of the way back."""

    def __init__(self) -> None:
        pass

    def solve(self, x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, PLR0917
        return (x0 - x) / 2 + 0 * b
