"""Planes above and lines below the maxima of a stage, and those that follow from bounds of its units alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, Stage


@dataclass(frozen=True, slots=True)
class Planes:
    """For every window of a stage a plane above its maximum and a line below it.

    Attributes:
        above: (p, k) weights v of the plane above.
        constant: (p,) its constant c, slack included.
        spread: (pixels, p) CSR, what it pays for each pixel's move; None where it pays nothing.
        below: (p, k) weights of the line below: in the simplex with 0, or with sum 1 where not rectified.
        tilt: (pixels, p) CSR, slopes of the plane above in the move away from the image; None where it has none.
    """

    above: FloatArray
    constant: FloatArray
    spread: sparse.csr_array | None
    below: FloatArray
    tilt: sparse.csr_array | None = None


def interval_planes(stage: Stage, low: FloatArray, high: FloatArray) -> Planes:
    """Planes of a stage from bounds of its units alone, (units,) low and high.

    With z_j the member that can rise highest and o what all others, and 0 where rectified, stay below, the maximum
    lies below ``max(z_j, o)``, and that below its chord over the bounds of z_j. A plain ReLU is the case o = 0.
    """
    windows = stage.windows
    there, at = windows >= 0, np.arange(len(windows))
    lowest, highest = np.where(there, low[windows], -np.inf), np.where(there, high[windows], -np.inf)
    lead = highest.argmax(axis=1)
    bottom, top = lowest[at, lead], highest[at, lead]
    highest[at, lead] = 0.0 if stage.rectified else -np.inf
    others = highest.max(axis=1).clip(min=0.0 if stage.rectified else -np.inf)
    open_ = (bottom < others) & (others < top)
    chord = np.where(open_, (top - others) / np.where(open_, top - bottom, 1.0), others <= bottom)
    finite = np.where(np.isfinite(others), others, 0.0)
    constant = np.where(open_, finite - chord * bottom, np.where(others <= bottom, 0.0, finite))
    above, below = np.zeros(windows.shape), np.zeros(windows.shape)
    above[at, lead] = chord
    middles = np.where(there, lowest + np.where(there, high[windows], 0.0), -np.inf)
    nearest = middles.argmax(axis=1)
    below[at, nearest] = (middles[at, nearest] > 0) | (not stage.rectified)
    return Planes(above, constant, None, below)
