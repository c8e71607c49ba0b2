"""Planes above a maximum over a window, fitted by subgradient steps on the window's own patch of the image.

ReLU and max-pooling commute, so a pooled unit is ``p = max(z_1, ..., z_k, 0)``. Any v gives a plane above it,
``p <= v.z + c`` with ``c = max over i of sup (e_i - v).z`` (e_0 = 0 stands for the zero): the supremum is taken over the
region and the whole window at once, so differences inside a window count, which independent intervals of the
z_i would lose. c is convex in v; v is improved by subgradient steps that lower the plane at the region's middle.

In L2, L1 and L0 the plane that is found pays for moves instead: :mod:`bench.certify.pooled.charges`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.certify.layers import FloatArray
from bench.certify.pooled.charges import charge, rise, steepest
from bench.certify.pooled.members import member, plane_row, room_for, there
from bench.certify.regions import SLACK, jit
from bench.certify.regions.support import LINF

_FITTED = 3.0
"""Planes are fitted to a window's own worst moves, and those go further than the moves that all windows share."""

_STEP, _SHRINK = 0.4, 0.85
"""The length of the first subgradient step, and of each next one over the last."""


class Fit(NamedTuple):
    """What planes are fitted to.

    Attributes:
        rectified: bool, whether 0 takes part in the maxima.
        typical: (pixels,) float64, how far each pixel is taken to move; for Linf the radius.
        middles: (p, k) float64, values of the members; -inf where a window has none.
        starts: (p, k) float64, weights to start from.
        steps: int, subgradient steps.
    """

    rectified: bool
    typical: FloatArray
    middles: FloatArray
    starts: FloatArray
    steps: int


class Near(NamedTuple):
    """The box that planes are fitted over: the part of the region's where pixels move about as far as is typical.

    Attributes:
        low, high: (pixels,) float64.
    """

    low: FloatArray
    high: FloatArray


@jit
def fit_planes(patches, lines, ball, fit):  # type: ignore[no-untyped-def]  # compiled
    """Planes above the maxima of a stage's windows, low where the members are at the ``middles`` of a fit.

    Args:
        patches: the :class:`bench.certify.pooled.patches.Patches` of the stage.
        lines: the :class:`bench.certify.pooled.members.InputLines` around its inputs.
        ball: the :class:`bench.certify.regions.Ball`.
        fit: the :class:`Fit`.

    Returns:
        (p, k) weights, (p,) constants, slack included, (p, t) what the planes pay on the patches' pixels; 0 for Linf.
    """
    near = Near(np.maximum(ball.low, -_FITTED * fit.typical), np.minimum(ball.high, _FITTED * fit.typical))
    above, constants, paid = np.zeros(patches.bias.shape), np.zeros(len(patches.bias)), np.zeros(patches.pixels.shape)
    room = room_for(patches, lines, len(ball.low))
    for w in range(len(constants)):
        constants[w] = _exact(w, above[w], patches, lines, ball, fit, near, room)
        if constants[w] == np.inf:
            constants[w] = _descend(w, above[w], patches, lines, fit, near, room)
            if ball.code != LINF:
                constants[w] = charge(w, above[w], patches, lines, ball, fit, paid[w], room)
    return above, constants, paid


@jit
def _exact(w, v, patches, lines, ball, fit, near, room):  # type: ignore[no-untyped-def]  # compiled
    """The constant of a plane that is as low as the maximum itself, the plane written to ``v``; inf where none is known.

    That is 0 where no member rises above it, and the member that leads at the middle where it leads everywhere.
    """
    for lead in range(2):
        v[:] = 0.0
        if lead:
            v[np.argmax(fit.middles[w])] = 1.0
        elif not fit.rectified:
            continue
        plane_row(w, v, patches, room)
        highest, size = _ceiling(w, v, patches, lines, ball, fit, near, room)
        if highest <= SLACK * (1.0 + size):
            return 2.0 * (SLACK * (1.0 + size))
    return np.inf


@jit
def _descend(w, best_v, patches, lines, fit, near, room):  # type: ignore[no-untyped-def]  # compiled
    """The constant of the plane, of those met by subgradient steps, that is lowest at the middle; it is written to ``best_v``."""
    members, middle = len(best_v), fit.middles[w]
    v, slope = fit.starts[w].copy(), np.empty(members)
    best, constant, pace = np.inf, np.inf, 1.0
    for _step in range(fit.steps):
        plane_row(w, v, patches, room)
        highest, worst, size = _highest(w, v, patches, lines, fit, near, room)
        height = highest
        for k in range(members):
            if v[k] != 0.0:
                height += v[k] * middle[k]
        if height < best:
            best, constant = height, highest + SLACK * (1.0 + size)
            best_v[:] = v
        length = _slope_in_v(w, worst, middle, patches, lines, room, slope)
        if length <= 1e-24:
            break
        for k in range(members):
            v[k] -= _STEP * pace / np.sqrt(length) * slope[k]
        pace *= _SHRINK
    return constant


@jit
def _highest(w, v, patches, lines, fit, near, room):  # type: ignore[no-untyped-def]  # compiled
    """The highest of all ``(e_i - v).z`` in the near box, which one it is, and the largest size; where is written."""
    highest, worst, size = -np.inf, 0, 0.0
    for i in range(-1, len(v)):
        if there(w, i, patches, fit.rectified):
            value = member(w, i, v, patches, lines, room)
            value, own = _rise_nearby(w, value, patches.pixels, near, room)
            size = max(size, own)
            if value > highest:
                highest, worst = value, i
                for at in patches.pixels[w]:
                    if at >= 0:
                        room.worst[at] = room.moves[at]
    return highest, worst, size


@jit
def _ceiling(w, v, patches, lines, ball, fit, near, room):  # type: ignore[no-untyped-def]  # compiled
    """The highest of all ``(e_i - v).z`` over the region itself, and the largest size."""
    highest, size = -np.inf, 0.0
    for i in range(-1, len(v)):
        if there(w, i, patches, fit.rectified):
            value = member(w, i, v, patches, lines, room)
            risen, own = _rise_nearby(w, value, patches.pixels, near, room)
            if ball.code != LINF:
                steepest(patches.pixels[w], ball, room)
                risen = value + rise(ball, room.steepest, room.longest)
            highest, size = max(highest, risen), max(size, own)
    return highest, size


@jit
def _rise_nearby(w, value, pixels, near, room):  # type: ignore[no-untyped-def]  # compiled
    """The function at hand at its largest in the near box, where that is (written), and its size."""
    size = abs(value)
    for at in pixels[w]:
        if at >= 0:
            linear, spread = room.linear[at], room.spread[at]
            at_high, at_low = (linear + spread) * near.high[at], (spread - linear) * -near.low[at]
            value += max(at_high, at_low)
            room.moves[at] = near.high[at] if at_high >= at_low else near.low[at]
            size += abs(linear) + spread
    return value, size


@jit
def _slope_in_v(w, worst, middle, patches, lines, room, slope):  # type: ignore[no-untyped-def]  # compiled
    """Write the slope of a plane's height in v: the members' values at the worst point, on the lines used there; its square."""
    members, patch = len(slope), lines.pixels.shape[1]
    for k in range(members):
        slope[k] = 0.0 if patches.bias[w, k] == -np.inf else middle[k] - patches.bias[w, k]
    for s in range(patches.inputs.shape[1]):
        r = (patches.weight[w, worst, s] if worst >= 0 else 0.0) - room.plane[s]
        if r == 0.0:
            continue
        j = patches.inputs[w, s]
        value = lines.upper_values[j] if r > 0.0 else lines.lower_values[j]
        for q in range(patch):
            d = room.worst[lines.pixels[j, q]]
            value += d * (lines.upper_rows[j, q] if r > 0.0 else lines.lower_rows[j, q])
            if r > 0.0:
                value += lines.spread[j, q] * abs(d)
        for k in range(members):
            slope[k] -= patches.weight[w, k, s] * value
    square = 0.0
    for k in range(members):
        square += slope[k] * slope[k]
    return square
