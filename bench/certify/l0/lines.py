"""Single pixels: by how much each member of each window lies below the maximum, on intervals of one pixel's line.

Along the line every unit is held between two linear functions on each of a few pieces of the interval, as in
:mod:`bench.certify.l0.sweep`. From their ends follow, for every member k of every window that the pixel can move, bounds of
its gap ``max over l of z_l - z_k``, and upper bounds of the margins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.certify.l0.wiring import Wiring
from bench.certify.layers import FloatArray, IntArray, PlainNetwork
from bench.certify.regions import SLACK, jit


class AtImage(NamedTuple):
    """A network at one image, and the margins of its label.

    Attributes:
        centre: (pixels,) float64, the image in the unit box.
        units: (units,) float64.
        slacks: (units,) by which units are moved outward.
        gaps_low, gaps_high: (members,) bounds of the members' gaps.
        tops_low, tops_high: (windows,) bounds of the maxima.
        rows: (targets, last stage's windows) the margins.
        margins: (targets,) their values.
        margin_slacks: (targets,) by which their bounds are moved outward.
    """

    centre: FloatArray
    units: FloatArray
    slacks: FloatArray
    gaps_low: FloatArray
    gaps_high: FloatArray
    tops_low: FloatArray
    tops_high: FloatArray
    rows: FloatArray
    margins: FloatArray
    margin_slacks: FloatArray


class Lines(NamedTuple):
    """Intervals of single pixels, with the gaps of the members that they can move.

    Attributes:
        pixels: (n,) int64.
        low, high: (n,) float64, the values that the pixel takes.
        start: (n + 1,) int64, where the gaps of each interval begin.
        gaps_low, gaps_high: (gaps,) float64 bounds of them, in the order of the pixel's moved windows.
        margins: (n, targets) float64, upper bounds, slack included.
    """

    pixels: IntArray
    low: FloatArray
    high: FloatArray
    start: IntArray
    gaps_low: FloatArray
    gaps_high: FloatArray
    margins: FloatArray


def at_image(plain: PlainNetwork, wiring: Wiring, centre: FloatArray, label: int) -> AtImage:
    """A network at an image of a label."""
    values, units = centre, []
    for stage in plain.stages:
        units.append(stage.weight @ values + stage.bias)
        values = stage.activate(units[-1][None])[0]
    rows = np.delete(plain.weight - plain.weight[label], label, axis=0)
    bias = np.delete(plain.bias - plain.bias[label], label)
    last = wiring.window_sizes[wiring.windows[-2] :]
    found = AtImage(
        centre=centre,
        units=np.concatenate(units),
        slacks=SLACK * (1.0 + wiring.unit_sizes),
        gaps_low=np.empty(len(wiring.members.items)),
        gaps_high=np.empty(len(wiring.members.items)),
        tops_low=np.empty(wiring.windows[-1]),
        tops_high=np.empty(wiring.windows[-1]),
        rows=np.ascontiguousarray(rows),
        margins=rows @ values + bias,
        margin_slacks=SLACK * (1.0 + np.abs(rows) @ last + np.abs(bias)),
    )
    _gaps(wiring, found)
    return found


@jit
def _gaps(wiring, image):  # type: ignore[no-untyped-def]  # compiled
    """Fill in the gaps and the tops."""
    members = wiring.members
    for w in range(len(members.start) - 1):
        begin, end = members.start[w], members.start[w + 1]
        low_top = high_top = -np.inf
        for k in range(begin, end):
            u = members.items[k]
            low, high = _ends(image, u)
            low_top, high_top = max(low_top, low), max(high_top, high)
            least = most = 0.0
            for other in range(begin, end):
                if other != k:
                    other_low, other_high = _ends(image, members.items[other])
                    least, most = max(least, other_low - high), max(most, other_high - low)
            image.gaps_low[k], image.gaps_high[k] = least, most
        image.tops_low[w], image.tops_high[w] = low_top, high_top


@jit
def _ends(image, unit):  # type: ignore[no-untyped-def]  # compiled
    """Bounds of a unit at the image; of the 0 of a rectified window exactly that."""
    if unit < 0:
        return 0.0, 0.0
    return image.units[unit] - image.slacks[unit], image.units[unit] + image.slacks[unit]


def trace(wiring: Wiring, image: AtImage, pixels: IntArray, low: FloatArray, high: FloatArray, pieces: int) -> Lines:
    """Bounds on intervals of single pixels.

    Args:
        wiring: the network.
        image: the network at the image.
        pixels: (n,) int64.
        low, high: (n,) float64, the values that each takes.
        pieces: into how many equal parts each interval is divided; more give closer bounds.
    """
    start = np.concatenate([[0], np.cumsum(gap_counts(wiring)[pixels])])
    found = Lines(
        pixels, low, high, start, np.empty(start[-1]), np.empty(start[-1]), np.empty((len(pixels), len(image.rows)))
    )
    upper, lower = np.zeros((2, len(image.units), 2 * pieces))
    for number in range(len(pixels)):
        _trace(wiring, image, found, number, upper, lower)
    return found


def gap_counts(wiring: Wiring) -> IntArray:
    """How many members the windows have that each pixel can move, (pixels,)."""
    counted = np.concatenate([[0], np.cumsum(np.diff(wiring.members.start)[wiring.moved_windows.items])])
    counts: IntArray = np.diff(counted[wiring.moved_windows.start])
    return counts


@jit
def _trace(wiring, image, lines, number, upper, lower):  # type: ignore[no-untyped-def]  # compiled
    """Fill in one interval. ``upper``, ``lower``: (units, 2 pieces), changes at the pieces' ends; 0 before and after."""
    pixel, columns = lines.pixels[number], upper.shape[1]
    first = wiring.first
    for c in range(columns):
        part = ((c + 1) // 2) / (columns // 2)
        end = lines.low[number] + part * (lines.high[number] - lines.low[number])
        step = (lines.high[number] if c == columns - 1 else end) - image.centre[pixel]
        for at in range(first.start[pixel], first.start[pixel + 1]):
            upper[first.rows[at], c] = lower[first.rows[at], c] = first.values[at] * step
    margins = np.empty((len(image.rows), columns))
    for t in range(len(margins)):
        margins[t] = image.margins[t]
    windows, members, last = wiring.moved_windows, wiring.members, wiring.windows[-2]
    widest = 0
    for at in range(windows.start[pixel], windows.start[pixel + 1]):
        w = windows.items[at]
        widest = max(widest, members.start[w + 1] - members.start[w])
    above, below = np.empty((widest, columns)), np.empty((widest, columns))
    rise, fall = np.empty(columns), np.empty(columns)
    gap = lines.start[number]
    for at in range(windows.start[pixel], windows.start[pixel + 1]):
        w = windows.items[at]
        begin, count = members.start[w], members.start[w + 1] - members.start[w]
        for k in range(count):
            u = members.items[begin + k]
            low, high = _ends(image, u)
            for c in range(columns):
                above[k, c] = high if u < 0 else high + upper[u, c]
                below[k, c] = low if u < 0 else low + lower[u, c]
        _gaps_on_pieces(above, below, count, lines, gap)
        gap += count
        if not _changes(above, below, count, image.tops_low[w], image.tops_high[w], rise, fall):
            continue
        if w >= last:
            for t in range(len(margins)):
                weight = image.rows[t, w - last]
                _add(margins[t], weight, rise if weight > 0 else fall)
        else:
            later = wiring.later
            for entry in range(later.start[w], later.start[w + 1]):
                u, weight = later.rows[entry], later.values[entry]
                _add(upper[u], weight, rise if weight > 0 else fall)
                _add(lower[u], weight, fall if weight > 0 else rise)
    for t in range(len(margins)):
        lines.margins[number, t] = margins[t].max() + image.margin_slacks[t]
    # Windows of the next interval may have members that only this one moves.
    moved = wiring.moved_units
    for at in range(moved.start[pixel], moved.start[pixel + 1]):
        upper[moved.items[at]] = 0.0
        lower[moved.items[at]] = 0.0


@jit
def _gaps_on_pieces(above, below, count, lines, start):  # type: ignore[no-untyped-def]  # compiled
    """Fill in bounds of the gaps of one window's members, over all pieces.

    On a piece a gap is at least its best linear lower bound's smaller end, and at most its upper chord's larger end.
    """
    for k in range(count):
        least, most = np.inf, 0.0
        for c in range(0, above.shape[1], 2):
            near = 0.0
            for other in range(count):
                if other != k:
                    near = max(near, min(below[other, c] - above[k, c], below[other, c + 1] - above[k, c + 1]))
                    most = max(most, above[other, c] - below[k, c], above[other, c + 1] - below[k, c + 1])
            least = min(least, near)
        lines.gaps_low[start + k], lines.gaps_high[start + k] = least, most


@jit
def _changes(above, below, count, low_top, high_top, rise, fall):  # type: ignore[no-untyped-def]  # compiled
    """Fill in how far a maximum rises, at most and at least, at the pieces' ends; whether it moves at all.

    Between the ends it lies below the chord of the upper values, and above the member that is highest in the middle.
    """
    moves = False
    for c in range(0, above.shape[1], 2):
        middle, first, second = -np.inf, -np.inf, -np.inf
        for k in range(count):
            first, second = max(first, above[k, c]), max(second, above[k, c + 1])
            if below[k, c] + below[k, c + 1] > middle:
                middle = below[k, c] + below[k, c + 1]
                fall[c], fall[c + 1] = below[k, c] - high_top, below[k, c + 1] - high_top
        rise[c], rise[c + 1] = first - low_top, second - low_top
        moves = moves or rise[c] != 0.0 or rise[c + 1] != 0.0 or fall[c] != 0.0 or fall[c + 1] != 0.0
    return moves


@jit
def _add(total, weight, part):  # type: ignore[no-untyped-def]  # compiled
    """``total += weight * part``, in place."""
    for c in range(len(total)):
        total[c] += weight * part[c]
