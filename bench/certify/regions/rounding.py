"""The slack for float64 rounding: every bound is moved outward by it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SLACK = 1e-9
"""Every bound is moved outward by this much, times 1 + the size of what was summed for it.

All points lie in the unit box, so the size of a row bounds what it sums. A sum of n float64 terms is off by at most
about n * 1.1e-16 of the sum of their sizes; with the few thousand terms of
these networks that is below 1e-12, so the slack covers it a thousand times over, and yet it is far below the 1e-4
to which distances are wanted.
"""


def slack(rows: FloatArray, constants: FloatArray) -> FloatArray:
    """The slack of ``row.x + constant`` for x in [0, 1].

    Args:
        rows: (n, d) float64.
        constants: (n,) float64.

    Returns:
        (n,) float64.
    """
    slacks: FloatArray = SLACK * (1.0 + np.abs(rows).sum(axis=1) + np.abs(constants))
    return slacks
