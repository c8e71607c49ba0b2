"""Regions and their support functions: how far a function can rise inside a ball and the box. All that a norm provides.

A region is ``{x0 + d : low <= d <= high, |d|_p <= radius}``. For a row ``b`` the support function is ``sup b.d``.
Each norm has one kernel that gives, for ``row + gamma * cut``, a value that is never below the support function,
the move ``d`` that (nearly) reaches it, and the slope of the value in ``gamma``, which is ``cut.d``:

* Linf: the box ``[max(-R, -x0), min(R, 1 - x0)]``, each end picked by the sign of ``b_i``. Exact.
* L2: for any ``lam > 0``, ``sum b_i d_i + lam/2 (R^2 - sum d_i^2)`` with ``d_i = clip(b_i / lam, low_i, high_i)`` is
  the Lagrangian dual, hence an upper bound; a fixed point in ``lam`` makes it tight.
* L1: for any price ``lam >= 0``, ``lam R + sum max over d_i of (b_i d_i - lam |d_i|)`` is the Lagrangian dual, hence an
  upper bound; the largest ``|b_i|`` are bought first, and tangents find the price at which R is spent. Exact but for the
  last digits.
* L0 with k pixels: the k largest of ``max(b_i low_i, b_i high_i)``. Exact.

The same for functions with a bend at the image, ``a.d + sum_j h_j |d_j|`` with h >= 0: each pixel has two directions.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, wraps
from pathlib import Path
from typing import Any, Self

import numba
import numpy as np
from numpy.typing import NDArray

from bench.norms import Norm

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SLACK = 1e-9
"""Every bound is moved outward by this much, times 1 + the size of what was summed for it.

All points lie in the unit box, so the size of a row bounds what it sums. A sum of n float64 terms is off by at most
about n * 1.1e-16 of the sum of their sizes; with the few thousand terms of
these networks that is below 1e-12, so the slack covers it a thousand times over, and yet it is far below the 1e-4
to which distances are wanted.
"""

BOX, BALL, PIXELS, DIAMOND = 0, 1, 2, 3
CODES = {Norm.LINF: BOX, Norm.L2: BALL, Norm.L0: PIXELS, Norm.L1: DIAMOND}
"""How the kernels call the norms."""

_LAGRANGE_STEPS = 12
"""Maximum steps of the fixed point for the L2 multiplier; it converges in three to six."""

_SMALL_BOXES = (Norm.LINF, Norm.L1)
"""Norms in which no value of a ball moves by more than the radius, and whose regions' boxes say so."""

_PRICE_STEPS = 40
"""Maximum prices tried for L1; five to ten are usual."""

_BLOCK = 112
"""So many pixels at a time are compared with the least of the largest gains."""


@cache
def _kernels() -> str:
    """A digest of all sources that hold kernels."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba in strict IEEE arithmetic; keep the result on disk where some folder can be written.

    numba reads a kept kernel as long as the kernel's own file is unchanged, whatever became of the kernels that it calls
    in other files: an old one could give bounds that do not hold. So kept kernels are stamped with all sources.
    """
    try:
        compiled: Any = numba.njit(cache=True)(function)
    except (RuntimeError, OSError):
        return numba.njit(function)  # type: ignore[no-any-return]  # numba has no types
    kept = getattr(compiled, "_cache", None)
    index = getattr(kept, "_cache_file", None)
    if not hasattr(index, "_source_stamp"):
        return numba.njit(function)  # type: ignore[no-any-return]
    index._source_stamp = _kernels()  # type: ignore[union-attr]  # noqa: SLF001 - numba offers no other way
    for name in ("load_overload", "save_overload"):
        setattr(kept, name, _tolerant(getattr(kept, name)))
    return compiled  # type: ignore[no-any-return]  # numba has no types


def _tolerant(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call to the kept kernels that does without them where they cannot be read or written."""

    @wraps(call)
    def tolerant(*arguments: Any) -> Any:
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            return call(*arguments)
        return None

    return tolerant


@dataclass(frozen=True, slots=True)
class Region:
    """A ball around an image, cut by the box.

    Attributes:
        norm: of the ball.
        centre: (d,) float64, the image.
        radius: the ball's radius; for L0 how many pixels may change.
        low, high: (d,) float64, the box as moves away from the centre; for Linf it is the ball too; for L1 it holds it.
        chosen: (d,) bool, L0 only: pixels that are free to move and do not count towards the radius.
    """

    norm: Norm
    centre: FloatArray
    radius: float
    low: FloatArray
    high: FloatArray
    chosen: BoolArray

    @classmethod
    def ball(cls, norm: Norm, centre: FloatArray, radius: float) -> Self:
        """The ball of a radius around an image in [0, 1], cut by that box."""
        low, high = -centre, 1.0 - centre
        if norm in _SMALL_BOXES:
            low, high = np.maximum(low, -radius), np.minimum(high, radius)
        return cls(norm, centre, radius, low, high, np.zeros(len(centre), dtype=np.bool_))

    def resized(self, radius: float) -> Self:
        """The same ball with another radius."""
        if self.norm in _SMALL_BOXES:
            return self.ball(self.norm, self.centre, radius)
        return replace(self, radius=radius)

    @property
    def arguments(self) -> tuple[int, FloatArray, FloatArray, float, BoolArray]:
        """The region as the kernels take it."""
        return CODES[self.norm], self.low, self.high, float(self.radius), self.chosen

    def suprema(self, rows: FloatArray, constants: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Upper bounds of ``row.x + constant`` over the region.

        Args:
            rows: (n, d) float64.
            constants: (n,) float64.

        Returns:
            (n,) upper bounds, slack included, and (n, d) points of the region that (nearly) reach them.
        """
        moves = np.empty_like(rows)
        values = _suprema(*self.arguments, np.ascontiguousarray(rows), moves)
        values += rows @ self.centre + constants
        return values + slack(rows, constants), self.centre + moves

    def reach(self, row: FloatArray, constant: float) -> float:
        """A radius, at most the region's, below which ``row.x + constant`` is certainly negative.

        Args:
            row: (d,) float64.
            constant: of the linear function.

        Returns:
            The region's radius where the function is negative all over the region; 0 where it is not even negative
            at the centre. For L0 the radius is a whole number of pixels.
        """

        def negative(region: Region) -> bool:
            return float(region.suprema(row[None], np.array([constant]))[0][0]) < 0

        return self.largest(negative, 1e-6)

    def largest(self, holds: Callable[[Region], bool], precision: float) -> float:
        """The largest radius, at most the region's, at which something holds that holds at every smaller one.

        Args:
            holds: asked of regions that differ from this one in their radius.
            precision: how close to come, as a fraction of the region's radius.

        Returns:
            The radius, from below; a whole number for L0; 0 where it holds nowhere.
        """
        if holds(self):
            return self.radius
        if self.norm is Norm.L0:
            return float(next((k for k in range(int(self.radius) - 1, 0, -1) if holds(self.resized(k))), 0))
        low, high = 0.0, self.radius
        while high - low > precision * self.radius:
            middle = (low + high) / 2
            low, high = (middle, high) if holds(self.resized(middle)) else (low, middle)
        return low


def slack(rows: FloatArray, constants: FloatArray) -> FloatArray:
    """The outward slack of ``row.x + constant`` for x in [0, 1]: (n,) float64."""
    slacks: FloatArray = SLACK * (1.0 + np.abs(rows).sum(axis=1) + np.abs(constants))
    return slacks


@jit
def _box(row, cut, gamma, low, high, move):  # type: ignore[no-untyped-def]  # compiled
    for i in range(len(row)):
        up, down = high[i], low[i]
        move[i] = up if row[i] + gamma * cut[i] > 0.0 else down
    slope = np.dot(cut, move)
    return np.dot(row, move) + gamma * slope, slope


@jit
def _ball(row, cut, gamma, low, high, size, lam, move, clipped):  # type: ignore[no-untyped-def]  # compiled
    inverse = 1.0 / lam
    for i in range(len(row)):
        free = (row[i] + gamma * cut[i]) * inverse
        held = min(max(free, low[i]), high[i])
        move[i] = held
        clipped[i] = 0.0 if held == free else held
    slope, squares, spent = np.dot(cut, move), np.dot(move, move), np.dot(clipped, clipped)
    value = np.dot(row, move) + gamma * slope + 0.5 * lam * (size * size - squares)
    return value, slope, _next_multiplier(lam, squares - spent, size * size - spent)


@jit
def _next_multiplier(lam, free, left):  # type: ignore[no-untyped-def]  # compiled
    """The fixed point for the L2 multiplier: ``free``, the squares of unclipped moves, is to use up what is ``left``."""
    following = lam * np.sqrt(max(free, 0.0) / left) if left > 0.0 else lam * 4.0
    return max(following, lam * 0.05, 1e-300)


@jit
def _at_price(slopes, spread, low, high, price):  # type: ignore[no-untyped-def]  # compiled
    """What is gained above a price for each unit of every move, and how far all moves go for it."""
    gained = spent = 0.0
    for i in range(len(slopes)):
        up, down = (slopes[i] + (spread[i] - price)) * high[i], (slopes[i] - (spread[i] - price)) * low[i]
        gain = max(up, down)
        gained += max(0.0, gain)
        spent += 0.0 if gain <= 0.0 else high[i] if up >= down else -low[i]
    return gained, spent


@jit
def _diamond(slopes, spread, low, high, size, move):  # type: ignore[no-untyped-def]  # compiled
    """An upper bound of ``slopes.d + spread.|d|`` over an L1 ball and a box; a ``move`` that (nearly) reaches it is written.

    The dual is convex in the price: it lies above its tangents, and where two of them meet is the next price.
    """
    best, spent = _at_price(slopes, spread, low, high, 0.0)
    least = most = 0.0
    if spent > size:
        for i in range(len(slopes)):
            most = max(most, abs(slopes[i]) + spread[i])
        least_value, least_slope, most_value, most_slope = best, size - spent, most * size, size
        best = min(best, most_value)
        for _step in range(_PRICE_STEPS):
            price = least + (least_value - most_value + most_slope * (most - least)) / (most_slope - least_slope)
            if not least < price < most or best - (least_value + least_slope * (price - least)) <= 1e-10 * best:
                break
            gained, spent = _at_price(slopes, spread, low, high, price)
            value = gained + price * size
            best = min(best, value)
            if spent > size:
                least, least_value, least_slope = price, value, size - spent
            else:
                most, most_value, most_slope = price, value, size - spent
                if most_slope == 0.0:
                    break
    # What is worth more than the higher price is bought whole; the rest of the budget goes to what lies in between.
    left = size
    for turn in range(2):
        price = most if turn == 0 else least
        for i in range(len(slopes)):
            up, down = (slopes[i] + (spread[i] - price)) * high[i], (slopes[i] - (spread[i] - price)) * low[i]
            if turn == 0:
                move[i] = 0.0
            if max(up, down) > 0.0 and move[i] == 0.0 and left > 0.0:
                move[i] = min(high[i], left) if up >= down else max(low[i], -left)
                left -= abs(move[i])
        if most == least:
            break
    return best


@jit
def _pixels(row, cut, gamma, low, high, chosen, rises, gains, places, known):  # type: ignore[no-untyped-def]  # compiled
    """The pixels of the largest gains; ``places`` holds ``known`` that are likely to be among them, and then them."""
    count, filled = len(gains), 0
    for i in range(len(row)):
        b = row[i] + gamma * cut[i]
        rises[i] = max(b * low[i], b * high[i])
    value = slope = least = 0.0
    for i in chosen:
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
def _start(row, cut, gamma, low, high, size):  # type: ignore[no-untyped-def]  # compiled
    """A first L2 multiplier: as if nothing were clipped but what cannot move at all."""
    moving = np.empty(len(row))
    for i in range(len(row)):
        b = row[i] + gamma * cut[i]
        up, down = high[i], low[i]
        moving[i] = b if max(b * up, b * down) > 0.0 else 0.0
    return max(np.sqrt(np.dot(moving, moving)) / size, 1e-300) if size > 0.0 else 1e300


@jit
def supremum(code, low, high, size, chosen, row, move):  # type: ignore[no-untyped-def]  # compiled
    """An upper bound of ``row.d`` over a region, without slack; the ``move`` that (nearly) reaches it is written."""
    if code == BOX:
        return _box(row, row, 0.0, low, high, move)[0]
    if code == BALL:
        clipped = np.empty(len(row))
        lam = _start(row, row, 0.0, low, high, size)
        value, _, following = _ball(row, row, 0.0, low, high, size, lam, move, clipped)
        for _step in range(_LAGRANGE_STEPS):
            if following >= lam * (1.0 - 1e-7):
                break
            lam = following
            nearer, _, following = _ball(row, row, 0.0, low, high, size, lam, move, clipped)
            value = min(value, nearer)
        return value
    if code == DIAMOND:
        return _diamond(row, np.zeros(len(row)), low, high, size, move)
    held = np.flatnonzero(chosen)
    gains, places = np.empty(int(size)), np.empty(int(size), dtype=np.int64)
    value, _, filled = _pixels(row, row, 0.0, low, high, held, move, gains, places, 0)
    move[:] = 0.0
    for i in held:
        move[i] = high[i] if row[i] > 0.0 else low[i]
    for at in range(filled):
        i = places[at]
        move[i] = high[i] if row[i] > 0.0 else low[i]
    return value


@jit
def _suprema(code, low, high, size, chosen, rows, moves):  # type: ignore[no-untyped-def]  # compiled
    values = np.empty(len(rows))
    for r in range(len(rows)):
        values[r] = supremum(code, low, high, size, chosen, rows[r], moves[r])
    return values


@jit
def _bent(row, spread, low, high):  # type: ignore[no-untyped-def]  # compiled
    """The better direction of one pixel: its slope, signed, and how far it can go."""
    rising, falling = row + spread, spread - row
    if rising * high >= falling * -low:
        return rising, high
    return -falling, low


@jit
def bent_suprema(code, low, high, size, rows, spreads, moves):  # type: ignore[no-untyped-def]  # compiled
    """Upper bounds of ``a.d + sum h |d|`` over a region, without slack: two directions a pixel.

    L2: ``sum_j max_d (a d + h |d| - lam/2 d^2) + lam/2 R^2`` for every ``lam > 0``; each pixel's maximum is the better of
    those of its two directions.
    """
    pixels = rows.shape[1]
    values, gains = np.empty(len(rows)), np.empty(pixels)
    for r in range(len(rows)):
        row, spread, move = rows[r], spreads[r], moves[r]
        if code == DIAMOND:
            values[r] = _diamond(row, spread, low, high, size, move)
            continue
        if code != BALL:
            for i in range(pixels):
                slope, end = _bent(row[i], spread[i], low[i], high[i])
                move[i], gains[i] = end, max(slope * end, 0.0)
                if gains[i] == 0.0:
                    move[i] = 0.0
            if code == PIXELS:
                order = np.argsort(-gains)[int(size) :]
                for i in order:
                    move[i] = gains[i] = 0.0
            values[r] = gains.sum()
            continue
        total = 0.0
        for i in range(pixels):
            slope, end = _bent(row[i], spread[i], low[i], high[i])
            if slope * end > 0.0:
                total += slope * slope
        lam, best = max(np.sqrt(total) / size, 1e-300) if size > 0.0 else 1e300, np.inf
        for _step in range(_LAGRANGE_STEPS):
            value, used, free = 0.5 * lam * size * size, 0.0, 0.0
            for i in range(pixels):
                rising, falling = row[i] + spread[i], spread[i] - row[i]
                up, down = min(max(rising / lam, 0.0), high[i]), min(max(falling / lam, 0.0), -low[i])
                gain_up, gain_down = rising * up - 0.5 * lam * up * up, falling * down - 0.5 * lam * down * down
                if gain_up >= gain_down:
                    d, clipped = up, up == high[i]
                    value += gain_up
                else:
                    d, clipped = -down, down == -low[i]
                    value += gain_down
                used += d * d
                if not clipped:
                    free += d * d
                gains[i] = d
            if value < best:
                best = value
                move[:] = gains
            left = size * size - (used - free)
            following = _next_multiplier(lam, free, left)
            if abs(following - lam) <= 1e-4 * lam:
                break
            lam = following
        values[r] = best
        length = 0.0
        for i in range(pixels):
            length += move[i] ** 2
        if length > size * size:
            move *= size / np.sqrt(length)
    return values


@jit
def cut_suprema(  # type: ignore[no-untyped-def]  # compiled
    code, low, high, size, chosen, rows, constants, cut, cut_constant, gammas, evaluations
):
    """Upper bounds of ``row.d + constant`` over the part of a region where ``cut.d + cut_constant >= 0``.

    Each is ``min over gamma >= 0 of sup (row + gamma cut).d + constant + gamma cut_constant`` (arXiv:2208.05740 uses
    such multipliers for general cuts): convex in gamma, and an upper bound for every gamma, so the search for
    the best gamma may stop anywhere. It stops early once a bound is negative: the sign is then known.

    Args:
        code, low, high, size, chosen: the region's ``arguments``.
        rows: (n, d) float64.
        constants: (n,) float64, the rows' values at the centre.
        cut: (d,) float64.
        cut_constant: the cut's value at the centre.
        gammas: (n,) float64, where to start; overwritten with the best found.
        evaluations: how many values of gamma to try for each row at most.

    Returns:
        (n,) float64 upper bounds, slack included.
    """
    count = int(size) if code == PIXELS else 0
    gains, places, held = np.empty(count), np.empty(count, dtype=np.int64), np.flatnonzero(chosen)
    move, clipped = np.empty(len(cut)), np.zeros(len(cut))
    values = np.empty(len(rows))
    cut_size = size_of(cut)
    for r in range(len(rows)):
        row = rows[r]
        row_size = size_of(row)
        guess = 0.25 * row_size / max(cut_size, 1e-300)
        gamma, best, best_gamma = gammas[r], np.inf, 0.0
        lam = _start(row, cut, gamma, low, high, size) if code == BALL else 0.0
        known = 0
        left = left_value = left_slope = right_value = right_slope = 0.0
        right = -1.0
        has_left = False
        for _ in range(evaluations):
            if code == BOX:
                value, slope = _box(row, cut, gamma, low, high, move)
            elif code == BALL:
                value, slope, following = _ball(row, cut, gamma, low, high, size, lam, move, clipped)
                if abs(following - lam) > 0.02 * lam:
                    lam = following
                    value, slope, following = _ball(row, cut, gamma, low, high, size, lam, move, clipped)
                lam = following
            elif code == DIAMOND:
                value = _diamond(row + gamma * cut, clipped, low, high, size, move)
                slope = np.dot(cut, move)
            else:
                value, slope, known = _pixels(row, cut, gamma, low, high, held, move, gains, places, known)
            value += constants[r] + gamma * cut_constant
            slope += cut_constant
            value += SLACK * (1.0 + row_size + gamma * cut_size + abs(constants[r]) + abs(gamma * cut_constant))
            if value < best:
                best, best_gamma = value, gamma
            if best < 0.0:
                break
            if slope >= 0.0:
                if gamma == 0.0:
                    break
                right, right_value, right_slope = gamma, value, slope
                if not has_left:
                    gamma = 0.25 * gamma if gamma > 0.02 * guess else 0.0
                    continue
            else:
                left, left_value, left_slope, has_left = gamma, value, slope, True
                if right < 0.0:
                    gamma = max(2.0 * gamma, guess)
                    continue
            # Both tangents lie below the convex function: where they meet is the place to look, and the least it can be.
            meeting = (left_value - right_value + right_slope * right - left_slope * left) / (right_slope - left_slope)
            least = left_value + left_slope * (meeting - left)
            if best - least <= 1e-3 * (abs(best) + 1e-3):
                break
            margin = 0.05 * (right - left)
            gamma = min(max(meeting, left + margin), right - margin)
        values[r], gammas[r] = best, best_gamma
    return values
