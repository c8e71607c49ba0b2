"""Decide, for any network, whether changing two values can make it wrong.

Write f(s, t) for a value of the network where pixel i is moved to s and pixel j to t, f(s) and f(t) where one of them is,
f(0) at the image. The *cross term* f(s, t) - f(s) - f(t) + f(0) is what the two do together. It is 0 in an affine map, so that
of a unit is the weighted sum of those of its inputs, e. In a window, with g_k = max over l of z_l - z_k the gap of a member, the
cross term of the maximum is exactly

    max over k of  g_k(0) - g_k(s) - g_k(t) + e_k

Gaps on single lines are bounded by :mod:`bench.certify.l0.lines`, so cross terms of all layers are bounded forwards, in windows that
both pixels can move; in all others they are 0. The margins' single lines plus their cross terms bound the margins. Where
they stay negative a rectangle of values of two pixels is excluded, else it is divided or an example is found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.certify.cost import MOST_GAPS
from bench.certify.incumbent import Incumbent
from bench.certify.l0.lines import AtImage, Lines, at_image, gap_counts, trace
from bench.certify.l0.wiring import Wiring, wire
from bench.certify.layers import FloatArray, IntArray, PlainNetwork
from bench.certify.regions import SLACK, jit

_PIECES, _FINER_PIECES = 8, 4
"""Pieces of an interval: of a whole line, and of one that was divided."""

_BATCH = 512
"""Rectangles divided at once."""

_TRIED = 16
"""Of each batch, so many rectangles with the highest bounds are tried at their middles and outer corners."""

_NARROWEST = 2.0**-40
"""Rectangles are not divided below this width."""


@dataclass(frozen=True, slots=True)
class Rectangles:
    """Intervals of values of two pixels, n of each.

    Attributes:
        pixels: (n, 2) int64.
        low, high: (n, 2) float64.
    """

    pixels: IntArray
    low: FloatArray
    high: FloatArray

    def take(self, which: IntArray | slice) -> Rectangles:
        """Some of them."""
        return Rectangles(self.pixels[which], self.low[which], self.high[which])

    def divided(self) -> Rectangles:
        """Four quarters of each."""
        middle = 0.5 * (self.low + self.high)
        lows, highs = [], []
        for upper in ((False, False), (False, True), (True, False), (True, True)):
            lows.append(np.where(upper, middle, self.low))
            highs.append(np.where(upper, self.high, middle))
        return Rectangles(np.tile(self.pixels, (4, 1)), np.vstack(lows), np.vstack(highs))


class PairSearch:
    """Excludes changes of two pixels, or finds one that suffices."""

    def __init__(self, plain: PlainNetwork) -> None:
        """Numbers the network's units."""
        self.plain = plain
        self.wiring = wire(plain)

    def run(self, incumbent: Incumbent, going: Callable[[], bool]) -> bool:
        """Whether no two pixels suffice; two that do become the incumbent.

        Args:
            incumbent: the image, its label, and where to keep an adversarial example.
            going: asked before each piece of work whether to go on.

        Returns:
            True where every value of every two pixels is excluded; False where two suffice, where it stopped early, or
            where the network is too large.
        """
        if self.wiring is None:
            return False
        centre = incumbent.centre.numpy()
        pixels, low, high = _lines(self.wiring, centre)
        if gap_counts(self.wiring)[pixels].sum() > MOST_GAPS:
            return False
        bounder = _Bounder(self.wiring, at_image(self.plain, self.wiring, centre, incumbent.label))
        open_ = bounder.all_pairs(pixels, low, high, going)
        left = [open_] if open_ is not None else None
        while left:
            batch = left.pop()
            if not len(batch.pixels):
                continue
            if not going() or (batch.high - batch.low).max() < _NARROWEST:
                return False
            left.append(batch.take(slice(_BATCH, None)))
            batch = batch.take(slice(_BATCH))
            incumbent.propose(_points(centre, batch.take(slice(_TRIED))))
            if incumbent.distance <= 2:
                return False
            parts = batch.divided()
            bounds = bounder.bounds(parts)
            kept = np.flatnonzero(bounds >= 0)
            left.append(parts.take(kept[np.argsort(-bounds[kept], kind="stable")]))
        return left is not None


def _lines(wiring: Wiring, centre: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """The lines of all pixels that move anything, as intervals that meet at the image."""
    pixels = np.flatnonzero(np.diff(wiring.moved_windows.start))
    down, up = pixels[centre[pixels] > 0], pixels[centre[pixels] < 1]
    both = np.concatenate([down, up])
    low, high = np.concatenate([np.zeros(len(down)), centre[up]]), np.concatenate([centre[down], np.ones(len(up))])
    order = np.argsort(both, kind="stable")
    return both[order], low[order], high[order]


def _points(centre: FloatArray, rectangles: Rectangles) -> FloatArray:
    """The middles of rectangles, and their corners that are farthest from the image."""
    count = len(rectangles.pixels)
    near, rows = centre[rectangles.pixels], np.arange(count)[:, None]
    corners = np.where(rectangles.low < near, rectangles.low, rectangles.high)
    points = np.repeat(centre[None], 2 * count, axis=0)
    points[rows, rectangles.pixels] = 0.5 * (rectangles.low + rectangles.high)
    points[count + rows, rectangles.pixels] = corners
    return points


class _Bounder:
    """Bounds rectangles around one image."""

    def __init__(self, wiring: Wiring, image: AtImage) -> None:
        """Work space of zeros."""
        self.wiring, self.image = wiring, image
        members, units = len(wiring.members.items), len(image.units)
        self.marked = np.zeros(wiring.windows[-1], dtype=np.bool_)
        self.gaps_low, self.gaps_high = np.zeros(members), np.zeros(members)
        self.middles, self.radii = np.zeros(units), np.zeros(units)

    def all_pairs(
        self, pixels: IntArray, low: FloatArray, high: FloatArray, going: Callable[[], bool]
    ) -> Rectangles | None:
        """The rectangles of all pairs of lines that are not excluded, the highest bound first; None if it had to stop."""
        lines, count = trace(self.wiring, self.image, pixels, low, high, _PIECES), len(pixels)
        pairs, bounds = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)]
        for first in range(count):
            if not going():
                return None
            others = np.flatnonzero(pixels[first:] > pixels[first]) + first
            found = self._crossed(lines, first, others)
            kept = found >= 0
            pairs.append(np.stack([np.full(kept.sum(), first), others[kept]], axis=1))
            bounds.append(found[kept])
        at = np.concatenate(pairs)[np.argsort(-np.concatenate(bounds), kind="stable")]
        return Rectangles(pixels[at], low[at], high[at])

    def bounds(self, rectangles: Rectangles) -> FloatArray:
        """Upper bounds of the largest margin on each rectangle, (n,)."""
        sides = np.stack([rectangles.pixels.astype(np.float64), rectangles.low, rectangles.high], axis=2).reshape(-1, 3)
        nodes, at = np.unique(sides, axis=0, return_inverse=True)
        low, high = np.ascontiguousarray(nodes[:, 1:].T)
        lines = trace(self.wiring, self.image, nodes[:, 0].astype(np.int64), low, high, _FINER_PIECES)
        at = at.reshape(-1, 2)
        found = np.empty(len(at))
        for first in np.unique(at[:, 0]):
            rows = np.flatnonzero(at[:, 0] == first)
            found[rows] = self._crossed(lines, first, at[rows, 1])
        return found

    def _crossed(self, lines: Lines, first: int, others: IntArray) -> FloatArray:
        """Upper bounds of the largest margin where one interval meets others."""
        found = np.empty(len(others))
        _cross(
            self.wiring, self.image, lines, first, others,
            self.marked, self.gaps_low, self.gaps_high, self.middles, self.radii, found,
        )  # fmt: skip
        return found


@jit
def _cross(wiring, image, lines, first, others, marked, gaps_low, gaps_high, middles, radii, found):  # type: ignore[no-untyped-def]  # compiled
    """Fill in the bounds. ``marked`` (windows,), ``middles`` and ``radii`` (units,) are all 0 before and after."""
    moved, members = wiring.moved_windows, wiring.members
    pixel, gap = lines.pixels[first], lines.start[first]
    for at in range(moved.start[pixel], moved.start[pixel + 1]):
        w = moved.items[at]
        marked[w] = True
        for k in range(members.start[w], members.start[w + 1]):
            gaps_low[k] = image.gaps_high[k] - lines.gaps_low[gap]
            gaps_high[k] = image.gaps_low[k] - lines.gaps_high[gap]
            gap += 1
    margins = np.empty(len(image.rows))
    for number in range(len(others)):
        for t in range(len(margins)):
            one, other = lines.margins[first, t], lines.margins[others[number], t]
            margins[t] = one + other - image.margins[t] + image.margin_slacks[t]
        _cross_terms(wiring, image, lines, others[number], marked, gaps_low, gaps_high, middles, radii, margins)
        found[number] = margins.max()
    for at in range(moved.start[pixel], moved.start[pixel + 1]):
        marked[moved.items[at]] = False


@jit
def _cross_terms(wiring, image, lines, other, marked, gaps_low, gaps_high, middles, radii, margins):  # type: ignore[no-untyped-def]  # compiled
    """Add the margins' cross terms. Those of units are ``middles`` more or less ``radii``."""
    moved, members, later = wiring.moved_windows, wiring.members, wiring.later
    pixel, gap = lines.pixels[other], lines.start[other]
    last = len(wiring.windows) - 2
    stage, crossed, crossed_next = 0, False, False
    for at in range(moved.start[pixel], moved.start[pixel + 1]):
        w = moved.items[at]
        begin, end = members.start[w], members.start[w + 1]
        if not marked[w]:
            gap += end - begin
            continue
        while w >= wiring.windows[stage + 1]:
            if crossed:
                _clear(wiring, stage, middles, radii)
            stage += 1
            crossed, crossed_next = crossed_next, False
        low = high = -np.inf
        for k in range(begin, end):
            most, least = gaps_low[k] - lines.gaps_low[gap], gaps_high[k] - lines.gaps_high[gap]
            u = members.items[k]
            if crossed and u >= 0:
                most, least = most + (middles[u] + radii[u]), least + (middles[u] - radii[u])
            high, low = max(high, most), max(low, least)
            gap += 1
        if low == 0.0 and high == 0.0:
            continue
        middle = 0.5 * (low + high)
        radius = 0.5 * (high - low) + SLACK * ((high - low) + abs(middle))
        if stage == last:
            for t in range(len(margins)):
                weight = image.rows[t, w - wiring.windows[last]]
                margins[t] += weight * middle + abs(weight) * radius
            continue
        crossed_next = True
        start, stop = later.start[w], later.start[w + 1]
        if stop > start and later.rows[stop - 1] - later.rows[start] == stop - start - 1:
            # Neighbours in a row: no look-up, and several at once.
            u = later.rows[start]
            for entry in range(stop - start):
                middles[u + entry] += later.values[start + entry] * middle
                radii[u + entry] += abs(later.values[start + entry]) * radius
        else:
            for entry in range(start, stop):
                middles[later.rows[entry]] += later.values[entry] * middle
                radii[later.rows[entry]] += abs(later.values[entry]) * radius
    for rest in range(stage, last + 1):
        if crossed:
            _clear(wiring, rest, middles, radii)
        crossed, crossed_next = crossed_next, False


@jit
def _clear(wiring, stage, middles, radii):  # type: ignore[no-untyped-def]  # compiled
    """Forget the cross terms of a stage's units."""
    for u in range(wiring.units[stage], wiring.units[stage + 1]):
        middles[u] = radii[u] = 0.0
