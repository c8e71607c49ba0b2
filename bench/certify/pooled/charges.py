"""Planes that pay for every pixel's move, so that all windows share one budget: L2, L1 and L0.

A constant above ``(e_i - v).z`` all over the ball would count the budget once per window. Instead a window is charged per pixel:
``p <= v.z + c + sum_j h_j |d_j|`` with d the move away from the image. With
``(e_i - v).z <= c_i + sum_j g_ij |d_j|`` and r_i the supremum of that sum over the ball, let

    c >= max_i c_i,   t_i = 1 - (c - c_i) / r_i in [0, 1],   h_j = max_i t_i g_ij:

then ``c_i + sum_j (g_ij - h_j) |d_j| <= c_i + (1 - t_i) r_i <= c`` for every i. What is summed up in the end is
``constant + a.d + sum_j h_j |d_j|``. (A diagonal quadratic ``kappa |d|^2`` in the
place of ``h |d|`` is never lower: ``g |d| = min over kappa of g^2 / (4 kappa) + kappa d^2``.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.certify.layers import FloatArray
from bench.certify.pooled.members import member, plane_row, there
from bench.certify.regions import SLACK, jit
from bench.certify.regions.support import L1, L2

_FRACTIONS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""The constants tried, between paying for every move and for none."""


class Charges(NamedTuple):
    """What each member of a window, the first being 0, exceeds the plane by.

    Attributes:
        values: (k + 1,) float64 c_i, at the image; -inf for a member that is not there.
        slopes: (k + 1, t) float64 g_ij, on the window's pixels.
        rises: (k + 1,) float64 r_i.
    """

    values: FloatArray
    slopes: FloatArray
    rises: FloatArray


@jit
def charge(w, v, patches, lines, ball, fit, paid, room):  # type: ignore[no-untyped-def]  # compiled
    """The constant of a window's plane ``v``, slack included, where it is charged for moves.

    Args:
        w: the window.
        v: (k,) float64.
        patches, lines, ball: the stage's windows, what its inputs lie between, the region.
        fit: the constant is chosen so that the plane is low where pixels move as far as is ``typical``.
        paid: (t,) float64, written: what the plane pays for each of the window's pixels.
        room: to compute in.
    """
    plane_row(w, v, patches, room)
    count, pixels = len(v) + 1, patches.pixels[w]
    values, slopes, rises = np.full(count, -np.inf), np.zeros((count, len(pixels))), np.empty(count)
    base, ceiling, size = _exceed(w, v, patches, lines, ball, fit.rectified, Charges(values, slopes, rises), room)
    best, constant, trial = np.inf, np.inf, np.zeros(len(pixels))
    for fraction in _FRACTIONS:
        c = base + fraction * (ceiling - base)
        trial[:] = 0.0
        for m in range(count):
            if values[m] > -np.inf and rises[m] > 0.0:
                part = min(max(1.0 - (c - values[m]) / rises[m], 0.0), 1.0)
                for t in range(len(pixels)):
                    trial[t] = max(trial[t], part * slopes[m, t])
        height = c
        for t in range(len(pixels)):
            if pixels[t] >= 0:
                height += trial[t] * min(fit.typical[pixels[t]], room.longest[t])
        if height < best:
            best, constant = height, c + SLACK * (1.0 + size)
            paid[:] = trial
    return constant


@jit
def _exceed(w, v, patches, lines, ball, rectified, charges, room):  # type: ignore[no-untyped-def]  # compiled
    """Write the charges of a window's members; the largest value, the largest value after its rise, the largest size."""
    pixels = patches.pixels[w]
    base, ceiling, size = -np.inf, -np.inf, 0.0
    for i in range(-1, len(v)):
        if not there(w, i, patches, rectified):
            continue
        value = member(w, i, v, patches, lines, room)
        own = abs(value)
        for at in pixels:
            if at >= 0:
                own += abs(room.linear[at]) + room.spread[at]
        steepest(pixels, ball, room)
        charges.values[i + 1], charges.slopes[i + 1] = value, room.steepest
        charges.rises[i + 1] = rise(ball, room.steepest, room.longest)
        base, ceiling = max(base, value), max(ceiling, value + charges.rises[i + 1])
        size = max(size, own)
    return base, ceiling, size


@jit
def steepest(pixels, ball, room):  # type: ignore[no-untyped-def]  # compiled
    """Write the least g >= 0 with ``linear d + spread |d| <= g |d|`` for each of a window's pixels, and how far it can move."""
    for t in range(len(pixels)):
        at = pixels[t]
        room.steepest[t] = room.longest[t] = 0.0
        if at >= 0:
            linear, spread, low, high = room.linear[at], room.spread[at], ball.low[at], ball.high[at]
            slope = 0.0
            if high > 0.0:
                slope = max(slope, spread + linear)
            if low < 0.0:
                slope = max(slope, spread - linear)
            room.steepest[t], room.longest[t] = slope, max(high, -low)


@jit
def rise(ball, slopes, longest):  # type: ignore[no-untyped-def]  # compiled
    """The supremum of ``sum slopes |d|`` over a ball, but Linf's: slopes not negative, |d| at most ``longest``."""
    if ball.code == L2:
        total = 0.0
        for t in range(len(slopes)):
            total += slopes[t] * slopes[t]
        return ball.size * np.sqrt(total)
    if ball.code == L1:
        return ball.size * slopes.max()
    gains = np.sort(slopes * longest)
    return gains[max(len(gains) - int(ball.size), 0) :].sum()
