"""Decide exactly, for any network, whether changing a single value can make it wrong.

Along the line on which one pixel runs over [0, 1] a network is piecewise linear. On an interval of that line every unit
is held between two linear functions of the pixel, given by their values at the interval's ends:

* an affine map takes the upper ends where its weight is positive and the lower ends where it is negative;
* a maximum of linear functions is convex, so the chord between the maxima at the ends lies above it;
* any one member (or 0) lies below a maximum; the one that is highest at the interval's middle is taken.

Where the margin's upper ends are negative the interval is excluded; else it is halved.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from bench.certify.incumbent import Incumbent
from bench.certify.layers import FloatArray, IntArray, PlainNetwork
from bench.certify.regions import SLACK

_BATCH = 96
_MOST_HALVINGS = 40


class LineSweep:
    """Excludes single-pixel changes, or finds one that suffices."""

    def __init__(self, plain: PlainNetwork) -> None:
        """Splits the weights by sign."""
        self.plain = plain
        self.parts = [(_part(stage.weight, 1), _part(stage.weight, -1)) for stage in plain.stages]

    def run(self, incumbent: Incumbent, going: Callable[[], bool]) -> bool:
        """Whether no single pixel suffices; a pixel that does becomes the incumbent.

        Args:
            incumbent: the image, its label, and where to keep an adversarial example.
            going: asked before each batch whether to go on.

        Returns:
            True where every value of every pixel is excluded; False where one suffices, or where it stopped early.
        """
        centre = incumbent.centre.numpy()
        pixels = np.arange(len(centre))
        # Each line is two intervals that meet at the image itself.
        todo = [(pixels, np.zeros(len(pixels)), centre), (pixels, centre, np.ones(len(pixels)))]
        for _ in range(_MOST_HALVINGS):
            at, low, high = (np.concatenate(columns) for columns in zip(*todo, strict=True))
            wide = low < high
            at, low, high = at[wide], low[wide], high[wide]
            if not len(at):
                return True
            todo = []
            for start in range(0, len(at), _BATCH):
                if not going():
                    return False
                part = slice(start, start + _BATCH)
                open_ = self._margins(incumbent.label, centre, at[part], low[part], high[part]) >= 0
                left, ends, rights = at[part][open_], low[part][open_], high[part][open_]
                middle = 0.5 * (ends + rights)
                tried = np.repeat(centre[None], len(left), axis=0)
                tried[np.arange(len(left)), left] = middle
                if len(left) and incumbent.propose(tried) and incumbent.distance <= 1:
                    return False
                todo += [(left, ends, middle), (left, middle, rights)]
        return False

    def _margins(self, label: int, centre: FloatArray, at: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Upper bounds of the largest margin on each interval: (n,) float64, slack included."""
        count = len(at)
        ends = np.repeat(centre[:, None], 2 * count, axis=1)
        ends[at, np.arange(count)] = low
        ends[at, count + np.arange(count)] = high
        upper = lower = ends
        for stage, (positive, negative) in zip(self.plain.stages, self.parts, strict=True):
            bias = stage.bias[:, None]
            if upper is lower:
                upper = lower = stage.weight @ ends + bias
            else:
                upper, lower = (
                    positive @ upper + negative @ lower + bias,
                    positive @ lower + negative @ upper + bias,
                )
            upper, lower = _maximum(stage.windows, stage.rectified, upper, lower, count)
        margins = np.delete(self.plain.weight - self.plain.weight[label], label, axis=0)
        bias = np.delete(self.plain.bias - self.plain.bias[label], label)[:, None]
        values = np.maximum(margins, 0.0) @ upper + np.minimum(margins, 0.0) @ lower + bias
        size = np.abs(margins) @ np.maximum(np.abs(upper), np.abs(lower)) + np.abs(bias)
        worst: FloatArray = (values + SLACK * (1.0 + size)).reshape(len(values), 2, count).max(axis=(0, 1))
        return worst


def _part(weight: sparse.csr_array | FloatArray, sign: int) -> sparse.csr_array | FloatArray:
    if isinstance(weight, np.ndarray):
        return np.maximum(weight, 0.0) if sign > 0 else np.minimum(weight, 0.0)
    return weight.maximum(0.0) if sign > 0 else weight.minimum(0.0)


def _maximum(
    windows: IntArray, rectified: bool, upper: FloatArray, lower: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """The lines around maxima, from those around their members; columns are left ends, then right ends."""
    floor = 0.0 if rectified else -np.inf
    highest = np.full((len(windows), 2 * count), floor)
    chosen = np.full((len(windows), 2 * count), floor)
    at_middle = np.full((len(windows), count), floor)
    for member in windows.T:
        there = (member >= 0)[:, None]
        highest = np.maximum(highest, np.where(there, upper[member], -np.inf))
        values = np.where(there, lower[member], -np.inf)
        middle = 0.5 * (values[:, :count] + values[:, count:])
        better = np.tile(middle > at_middle, (1, 2))
        chosen, at_middle = np.where(better, values, chosen), np.maximum(at_middle, middle)
    return highest, chosen
