"""Support functions of functions with a bend at the image, ``a.d + sum_j h_j |d_j|`` with h >= 0: two directions a pixel.

In L2, ``sum_j max over d_j of (a_j d_j + h_j |d_j| - lam/2 d_j^2) + lam/2 R^2`` is an upper bound for every ``lam > 0``; each
pixel's maximum is the better of those of its two directions. The multiplier is sought as for linear functions
(:func:`bench.certify.regions.support.next_multiplier`).
"""

from __future__ import annotations

import numpy as np

from bench.certify.regions.compiled import jit
from bench.certify.regions.support import L0, L1, L2, LAGRANGE_STEPS, first_multiplier, l1, next_multiplier


@jit
def bent_suprema(ball, rows, spreads, moves):  # type: ignore[no-untyped-def]  # compiled
    """Upper bounds of ``row.d + spread.|d|`` over a ball in which no pixel is chosen, without slack.

    Args:
        ball: the :class:`bench.certify.regions.support.Ball`.
        rows, spreads: (n, pixels) float64; no spread is negative.
        moves: (n, pixels) float64; moves that (nearly) reach the bounds are written.

    Returns:
        (n,) float64.
    """
    values, room = np.empty(len(rows)), np.empty(rows.shape[1])
    for r in range(len(rows)):
        if ball.code == L1:
            values[r] = l1(rows[r], spreads[r], ball, moves[r])
        elif ball.code == L2:
            values[r] = _fixed_point(rows[r], spreads[r], ball, moves[r], room)
        else:
            values[r] = _ends(rows[r], spreads[r], ball, moves[r], room)
    return values


@jit
def _better(row, spread, low, high):  # type: ignore[no-untyped-def]  # compiled
    """The better direction of one pixel: its slope, signed, and how far it can go."""
    rising, falling = row + spread, spread - row
    if rising * high >= falling * -low:
        return rising, high
    return -falling, low


@jit
def _ends(row, spread, ball, move, gains):  # type: ignore[no-untyped-def]  # compiled
    """The supremum in Linf and L0: pixels go to the ends of their intervals, in L0 those of the largest gains only."""
    for i in range(len(row)):
        slope, end = _better(row[i], spread[i], ball.low[i], ball.high[i])
        move[i], gains[i] = end, max(slope * end, 0.0)
        if gains[i] == 0.0:
            move[i] = 0.0
    if ball.code == L0:
        order = np.argsort(-gains)[int(ball.size) :]
        for i in order:
            move[i] = gains[i] = 0.0
    return gains.sum()


@jit
def _fixed_point(row, spread, ball, move, room):  # type: ignore[no-untyped-def]  # compiled
    """The supremum in L2, by the fixed point for the multiplier; the best move met is written, pulled into the ball."""
    size, total = ball.size, 0.0
    for i in range(len(row)):
        slope, end = _better(row[i], spread[i], ball.low[i], ball.high[i])
        if slope * end > 0.0:
            total += slope * slope
    lam, best = first_multiplier(total, size), np.inf
    for _step in range(LAGRANGE_STEPS):
        value, following = _dual(row, spread, ball, lam, room)
        if value < best:
            best = value
            move[:] = room
        if abs(following - lam) <= 1e-4 * lam:
            break
        lam = following
    length = 0.0
    for i in range(len(row)):
        length += move[i] ** 2
    if length > size * size:
        move *= size / np.sqrt(length)
    return best


@jit
def _dual(row, spread, ball, lam, moves):  # type: ignore[no-untyped-def]  # compiled
    """The dual value at an L2 multiplier, and the multiplier to try next; the moves that belong to it are written."""
    low, high, size = ball.low, ball.high, ball.size
    value, used, free = 0.5 * lam * size * size, 0.0, 0.0
    for i in range(len(row)):
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
        moves[i] = d
    return value, next_multiplier(lam, free, size * size - (used - free))
