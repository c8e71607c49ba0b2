"""Support functions of a ball cut by the box: how far a linear function can rise there. One kernel for each norm.

The support function of a row ``b`` is ``sup b.d`` over the moves d away from the image. Each norm has one kernel that gives,
for ``b = row + gamma * cut``, a value that is never below the support function, the move ``d`` that (nearly) reaches it,
and the slope of the value in ``gamma``, which is ``cut.d``:

* Linf: the box ``[max(-R, -x0), min(R, 1 - x0)]``, each end picked by the sign of ``b_i``. Exact.
* L2: for any ``lam > 0``, ``sum b_i d_i + lam/2 (R^2 - sum d_i^2)`` with ``d_i = clip(b_i / lam, low_i, high_i)`` is
  the Lagrangian dual, hence an upper bound; a fixed point in ``lam`` makes it tight.
* L1: for any price ``lam >= 0``, ``lam R + sum max over d_i of (b_i d_i - lam |d_i|)`` is the Lagrangian dual, hence an
  upper bound; the largest ``|b_i|`` are bought first, and tangents find the price at which R is spent. Exact but for the
  last digits.
* L0 with k pixels: the k largest of ``max(b_i low_i, b_i high_i)``. Exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.certify.regions.compiled import jit
from bench.certify.regions.rounding import FloatArray
from bench.norms import Norm

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

LINF, L2, L0, L1 = 0, 1, 2, 3
CODES = {Norm.LINF: LINF, Norm.L2: L2, Norm.L0: L0, Norm.L1: L1}
"""How the kernels call the norms."""

LAGRANGE_STEPS = 12
"""Maximum steps of the fixed point for the L2 multiplier; it converges in three to six."""

_PRICE_STEPS = 40
"""Maximum prices tried for L1; five to ten are usual."""

_BLOCK = 112
"""So many pixels at a time are compared with the least of the largest gains."""


class Ball(NamedTuple):
    """The moves d away from an image that a region allows, as kernels take them.

    Attributes:
        code: the norm, see :data:`CODES`.
        low, high: (pixels,) float64, ``low <= d <= high``.
        size: the largest norm of d; for L0 how many pixels may change.
        chosen: (pixels,) bool, L0 only: pixels that are free to move and do not count towards the size.
    """

    code: int
    low: FloatArray
    high: FloatArray
    size: float
    chosen: BoolArray


class Largest(NamedTuple):
    """The pixels of the largest gains, for L0.

    Attributes:
        held: the pixels of the ball that are chosen.
        gains, places: (k,) float64 and int64, the largest gains of all others, sorted downwards, and their pixels.
    """

    held: IntArray
    gains: FloatArray
    places: IntArray


@jit
def linf(row, cut, gamma, low, high, move):  # type: ignore[no-untyped-def]  # compiled
    """The supremum in Linf, and its slope in gamma; the ``move`` that reaches it is written."""
    for i in range(len(row)):
        up, down = high[i], low[i]
        move[i] = up if row[i] + gamma * cut[i] > 0.0 else down
    slope = np.dot(cut, move)
    return np.dot(row, move) + gamma * slope, slope


@jit
def l2(row, cut, gamma, ball, lam, move, clipped):  # type: ignore[no-untyped-def]  # compiled
    """The dual of the supremum in L2 at a multiplier, its slope in gamma, and the multiplier to try next.

    Written are the ``move`` that belongs to it, and the part of it that is ``clipped`` by the box.
    """
    low, high, size = ball.low, ball.high, ball.size
    inverse = 1.0 / lam
    for i in range(len(row)):
        free = (row[i] + gamma * cut[i]) * inverse
        held = min(max(free, low[i]), high[i])
        move[i] = held
        clipped[i] = 0.0 if held == free else held
    slope, squares, spent = np.dot(cut, move), np.dot(move, move), np.dot(clipped, clipped)
    value = np.dot(row, move) + gamma * slope + 0.5 * lam * (size * size - squares)
    return value, slope, next_multiplier(lam, squares - spent, size * size - spent)


@jit
def warm_l2(row, cut, gamma, ball, lam, move, clipped):  # type: ignore[no-untyped-def]  # compiled
    """The same from a multiplier that is near already: one step, a second where the first goes far."""
    value, slope, following = l2(row, cut, gamma, ball, lam, move, clipped)
    if abs(following - lam) > 0.02 * lam:
        value, slope, following = l2(row, cut, gamma, ball, following, move, clipped)
    return value, slope, following


@jit
def first_l2(row, cut, gamma, ball):  # type: ignore[no-untyped-def]  # compiled
    """The L2 multiplier to begin with: as if nothing were clipped but what cannot move at all."""
    low, high = ball.low, ball.high
    moving = np.empty(len(row))
    for i in range(len(row)):
        b = row[i] + gamma * cut[i]
        up, down = high[i], low[i]
        moving[i] = b if max(b * up, b * down) > 0.0 else 0.0
    return first_multiplier(np.dot(moving, moving), ball.size)


@jit
def first_multiplier(squares, size):  # type: ignore[no-untyped-def]  # compiled
    """The L2 multiplier at which slopes whose squares sum to ``squares`` use up the size, nothing being clipped."""
    return max(np.sqrt(squares) / size, 1e-300) if size > 0.0 else 1e300


@jit
def next_multiplier(lam, free, left):  # type: ignore[no-untyped-def]  # compiled
    """The fixed point for the L2 multiplier: ``free``, the squares of unclipped moves, is to use up what is ``left``."""
    following = lam * np.sqrt(max(free, 0.0) / left) if left > 0.0 else lam * 4.0
    return max(following, lam * 0.05, 1e-300)


@jit
def l1(slopes, spread, ball, move):  # type: ignore[no-untyped-def]  # compiled
    """An upper bound of ``slopes.d + spread.|d|`` in L1; a ``move`` that (nearly) reaches it is written."""
    best, least, most = _prices(slopes, spread, ball)
    _spend(slopes, spread, ball, (most, least), move)
    return best


@jit
def _prices(slopes, spread, ball):  # type: ignore[no-untyped-def]  # compiled
    """The least dual value in L1, and two prices close together: below the one the budget is overspent, above the other not.

    The dual is convex in the price: it lies above its tangents, and where two of them meet is the next price.
    """
    size = ball.size
    best, spent = _at_price(slopes, spread, ball, 0.0)
    least = most = 0.0
    if spent <= size:
        return best, least, most
    for i in range(len(slopes)):
        most = max(most, abs(slopes[i]) + spread[i])
    least_value, least_slope, most_value, most_slope = best, size - spent, most * size, size
    best = min(best, most_value)
    for _step in range(_PRICE_STEPS):
        price = least + (least_value - most_value + most_slope * (most - least)) / (most_slope - least_slope)
        if not least < price < most or best - (least_value + least_slope * (price - least)) <= 1e-10 * best:
            break
        gained, spent = _at_price(slopes, spread, ball, price)
        value = gained + price * size
        best = min(best, value)
        if spent > size:
            least, least_value, least_slope = price, value, size - spent
        else:
            most, most_value, most_slope = price, value, size - spent
            if most_slope == 0.0:
                break
    return best, least, most


@jit
def _at_price(slopes, spread, ball, price):  # type: ignore[no-untyped-def]  # compiled
    """What is gained above a price for each unit of every move, and how far all moves go for it."""
    low, high = ball.low, ball.high
    gained = spent = 0.0
    for i in range(len(slopes)):
        up, down = (slopes[i] + (spread[i] - price)) * high[i], (slopes[i] - (spread[i] - price)) * low[i]
        gain = max(up, down)
        gained += max(0.0, gain)
        spent += 0.0 if gain <= 0.0 else high[i] if up >= down else -low[i]
    return gained, spent


@jit
def _spend(slopes, spread, ball, prices, move):  # type: ignore[no-untyped-def]  # compiled
    """Write the move: what is worth more than the higher price is bought whole, then what lies between the two prices."""
    low, high, left = ball.low, ball.high, ball.size
    for turn in range(2):
        price = prices[turn]
        for i in range(len(slopes)):
            up, down = (slopes[i] + (spread[i] - price)) * high[i], (slopes[i] - (spread[i] - price)) * low[i]
            if turn == 0:
                move[i] = 0.0
            if max(up, down) > 0.0 and move[i] == 0.0 and left > 0.0:
                move[i] = min(high[i], left) if up >= down else max(low[i], -left)
                left -= abs(move[i])
        if prices[0] == prices[1]:
            break


@jit
def largest_of(ball):  # type: ignore[no-untyped-def]  # compiled
    """Room for the largest gains of a ball; empty but for L0."""
    count = int(ball.size) if ball.code == L0 else 0
    return Largest(np.flatnonzero(ball.chosen), np.empty(count), np.empty(count, dtype=np.int64))


@jit
def l0(row, cut, gamma, ball, largest, known, rises):  # type: ignore[no-untyped-def]  # compiled
    """The supremum in L0, its slope in gamma, and how many pixels it moves besides the chosen ones.

    ``largest.places`` holds ``known`` pixels that are likely to be among those of the largest gains, and then these.
    ``rises`` is (pixels,) room.
    """
    low, high = ball.low, ball.high
    held, gains, places = largest
    count, filled = len(gains), 0
    for i in range(len(row)):
        b = row[i] + gamma * cut[i]
        rises[i] = max(b * low[i], b * high[i])
    value = slope = 0.0
    for i in held:
        value += rises[i]
        slope += cut[i] * (high[i] if row[i] + gamma * cut[i] > 0.0 else low[i])
        rises[i] = 0.0
    for at in range(known if count else 0):
        i = places[at]
        filled = insert(gains, places, filled, rises[i], i)
        rises[i] = 0.0
    for start in range(0, len(row) if count else 0, _BLOCK):
        stop = min(start + _BLOCK, len(row))
        least = gains[count - 1] if filled == count else 0.0
        higher = 0
        for i in range(start, stop):
            higher += rises[i] > least
        if higher:
            for i in range(start, stop):
                filled = insert(gains, places, filled, rises[i], i)
    for at in range(filled):
        i = places[at]
        value += gains[at]
        slope += cut[i] * (high[i] if row[i] + gamma * cut[i] > 0.0 else low[i])
    return value, slope, filled


@jit
def insert(gains, places, filled, gain, place):  # type: ignore[no-untyped-def]  # compiled
    """Keep a gain, and its place, if it is among the largest, sorted downwards; how many are kept."""
    if not (gain > 0.0 and (filled < len(gains) or gain > gains[-1])):
        return filled
    at = min(filled, len(gains) - 1)
    while at > 0 and gains[at - 1] < gain:
        gains[at], places[at] = gains[at - 1], places[at - 1]
        at -= 1
    gains[at], places[at] = gain, place
    return min(filled + 1, len(gains))


@jit
def size_of(row):  # type: ignore[no-untyped-def]  # compiled
    """The sum of the sizes of a row's entries."""
    return np.dot(np.abs(row), np.ones(len(row)))


@jit
def supremum(ball, row, move):  # type: ignore[no-untyped-def]  # compiled
    """An upper bound of ``row.d`` over a ball, without slack; the ``move`` that (nearly) reaches it is written.

    Args:
        ball: the :class:`Ball`.
        row: (pixels,) float64.
        move: (pixels,) float64, written.
    """
    code, low, high, _, _ = ball
    if code == LINF:
        return linf(row, row, 0.0, low, high, move)[0]
    if code == L2:
        return _fixed_point(row, ball, move)
    if code == L1:
        return l1(row, np.zeros(len(row)), ball, move)
    largest = largest_of(ball)
    value, _, filled = l0(row, row, 0.0, ball, largest, 0, move)
    move[:] = 0.0
    for i in largest.held:
        move[i] = high[i] if row[i] > 0.0 else low[i]
    for at in range(filled):
        i = largest.places[at]
        move[i] = high[i] if row[i] > 0.0 else low[i]
    return value


@jit
def _fixed_point(row, ball, move):  # type: ignore[no-untyped-def]  # compiled
    """The supremum in L2: the multiplier falls towards that at which the moves use up the size."""
    clipped = np.empty(len(move))
    lam = first_l2(row, row, 0.0, ball)
    value, _, following = l2(row, row, 0.0, ball, lam, move, clipped)
    for _step in range(LAGRANGE_STEPS):
        if following >= lam * (1.0 - 1e-7):
            break
        lam = following
        nearer, _, following = l2(row, row, 0.0, ball, lam, move, clipped)
        value = min(value, nearer)
    return value


@jit
def suprema(ball, rows, moves):  # type: ignore[no-untyped-def]  # compiled
    """The same for (n, pixels) rows: (n,) upper bounds, without slack; (n, pixels) moves are written."""
    values = np.empty(len(rows))
    for r in range(len(rows)):
        values[r] = supremum(ball, rows[r], moves[r])
    return values
