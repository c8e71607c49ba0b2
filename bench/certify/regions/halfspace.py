"""Support functions over the part of a region where a cut holds: one Lagrange multiplier, sought between two tangents.

For every ``gamma >= 0``, ``sup (row + gamma cut).d + constant + gamma cut_constant`` is an upper bound of ``row.d + constant``
where ``cut.d + cut_constant >= 0`` (arXiv:2208.05740 uses such multipliers for general cuts). It is convex in gamma, and the
search for the best gamma may stop anywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.certify.regions.compiled import jit
from bench.certify.regions.rounding import SLACK
from bench.certify.regions.support import (
    L1,
    L2,
    LINF,
    first_l2,
    l0,
    l1,
    largest_of,
    linf,
    size_of,
    warm_l2,
)


class Tangent(NamedTuple):
    """A tangent of the convex function of gamma.

    Attributes:
        gamma: where it touches; -1 where there is no tangent yet.
        value, slope: there.
    """

    gamma: float
    value: float
    slope: float


class Tangents(NamedTuple):
    """The tangents nearest to the least value: where the function falls, and where it rises."""

    left: Tangent
    right: Tangent


NOWHERE = Tangent(-1.0, 0.0, 0.0)


@jit
def cut_suprema(ball, rows, constants, cut, cut_constant, gammas, evaluations):  # type: ignore[no-untyped-def]  # compiled
    """Upper bounds of ``row.d + constant`` over the part of a ball where ``cut.d + cut_constant >= 0``.

    The search stops early once a bound is negative: the sign is then known.

    Args:
        ball: the :class:`bench.certify.regions.support.Ball`.
        rows: (n, pixels) float64.
        constants: (n,) float64, the rows' values at the image.
        cut: (pixels,) float64.
        cut_constant: the cut's value at the image.
        gammas: (n,) float64, where to start; overwritten with the best found.
        evaluations: how many values of gamma to try for each row at most.

    Returns:
        (n,) float64 upper bounds, slack included.
    """
    code, low, high, _, _ = ball
    move, clipped, largest = np.empty(len(cut)), np.zeros(len(cut)), largest_of(ball)
    values, cut_size = np.empty(len(rows)), size_of(cut)
    for r in range(len(rows)):
        row, constant, gamma = rows[r], constants[r], gammas[r]
        row_size = size_of(row)
        guess = 0.25 * row_size / max(cut_size, 1e-300)
        best, best_gamma = np.inf, 0.0
        lam, known = first_l2(row, cut, gamma, ball) if code == L2 else 0.0, 0
        tangents = Tangents(NOWHERE, NOWHERE)
        for _ in range(evaluations):
            if code == LINF:
                value, slope = linf(row, cut, gamma, low, high, move)
            elif code == L2:
                value, slope, lam = warm_l2(row, cut, gamma, ball, lam, move, clipped)
            elif code == L1:
                value = l1(row + gamma * cut, clipped, ball, move)
                slope = np.dot(cut, move)
            else:
                value, slope, known = l0(row, cut, gamma, ball, largest, known, move)
            value += constant + gamma * cut_constant
            slope += cut_constant
            value += SLACK * (1.0 + row_size + gamma * cut_size + abs(constant) + abs(gamma * cut_constant))
            if value < best:
                best, best_gamma = value, gamma
            if best < 0.0 or (slope >= 0.0 and gamma == 0.0):
                break
            here = Tangent(gamma, value, slope)
            tangents = Tangents(tangents.left, here) if slope >= 0.0 else Tangents(here, tangents.right)
            gamma, least = _next_gamma(tangents, guess)
            if best - least <= 1e-3 * (abs(best) + 1e-3):
                break
        values[r], gammas[r] = best, best_gamma
    return values


@jit
def _next_gamma(tangents, guess):  # type: ignore[no-untyped-def]  # compiled
    """The gamma to try next, and the least that the function can be at any.

    Both tangents lie below the function: where they meet is the place to look, and the least it can be.
    """
    left, right = tangents
    if left.gamma < 0.0:
        return (0.25 * right.gamma if right.gamma > 0.02 * guess else 0.0), -np.inf
    if right.gamma < 0.0:
        return max(2.0 * left.gamma, guess), -np.inf
    meeting = (left.value - right.value + right.slope * right.gamma - left.slope * left.gamma) / (
        right.slope - left.slope
    )
    margin = 0.05 * (right.gamma - left.gamma)
    gamma = min(max(meeting, left.gamma + margin), right.gamma - margin)
    return gamma, left.value + left.slope * (meeting - left.gamma)
