"""Pooled layers: lines above and below a maximum over a window, computed on the window's own patch of the image.

ReLU and max-pooling commute, so a pooled unit is ``p = max(z_1, ..., z_k, 0)``. Any v gives a plane above it,
``p <= v.z + c`` with ``c = max over i of sup (e_i - v).z`` (e_0 = 0 stands for the zero): the supremum is taken over the
region and the whole window at once, so differences inside a window count, which independent intervals of the
z_i would lose. c is convex in v; v is improved by subgradient steps that lower the plane at the region's middle.

In L2 the constant would let every window spend the whole radius. Instead a window pays for what it spends:
``p <= v.z + c + kappa |d_w|^2`` with d_w the move on the window's patch of pixels and
``c = max_i sup [(e_i - v).z - kappa |d_w|^2]`` over the box; any ``kappa >= 0`` is valid, and ``kappa = |g| / (2 |d_w|)`` is
best for a window with gradient g that gets |d_w| of the budget. Functions of the image then have the form
``constant + a.d + sum_i q_i d_i^2`` with d the move away from the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray, Stage
from bench.certify.support import SLACK, jit

_STEPS_FIRST, _STEPS_SECOND = 40, 10


@dataclass(frozen=True, slots=True)
class Patches:
    """The windows of a stage as dense blocks over the inputs that each of them sees.

    Attributes:
        inputs: (p, s) int64, the inputs of each window, filled up by repeating 0 where there are fewer.
        weight: (p, k, s) float64, the members' weights on them, 0 where filled up.
        bias: (p, k) float64, the members' biases; -inf for members that a window does not have.
        pixels: (p, t) int64, the pixels that each window depends on, filled up by -1.
    """

    inputs: IntArray
    weight: FloatArray
    bias: FloatArray
    pixels: IntArray

    @classmethod
    def of(cls, stage: Stage, before: Patches | None) -> Patches:
        """The patches of a stage; ``before`` are those of the stage it follows, None for the first."""
        matrix = sparse.csr_array(stage.weight)
        members = stage.windows
        starts, ends = matrix.indptr[members], matrix.indptr[members + 1]
        seen = [
            np.unique(np.concatenate([matrix.indices[a:b] for a, b, m in zip(s, e, row, strict=True) if m >= 0]))
            for s, e, row in zip(starts, ends, members, strict=True)
        ]
        size = max(len(one) for one in seen)
        inputs = np.zeros((len(seen), size), dtype=np.int64)
        weight = np.zeros((*members.shape, size))
        for w, one in enumerate(seen):
            inputs[w, : len(one)] = one
            for k, member in enumerate(members[w]):
                if member >= 0:
                    span = slice(matrix.indptr[member], matrix.indptr[member + 1])
                    weight[w, k, np.searchsorted(one, matrix.indices[span])] = matrix.data[span]
        bias = np.where(members >= 0, stage.bias[members], -np.inf)
        if before is None:
            pixels = [one.astype(np.int64) for one in seen]
        else:
            reached = (before.pixels[one] for one in seen)
            pixels = [np.unique(one[one >= 0]) for one in reached]
        table = np.full((len(seen), max(len(one) for one in pixels)), -1, dtype=np.int64)
        for w, one in enumerate(pixels):
            table[w, : len(one)] = one
        return cls(inputs, weight, bias, table)


@dataclass(frozen=True, slots=True)
class Planes:
    """For every window of a stage a plane above its maximum and a line below it.

    Attributes:
        above: (p, k) weights v of the plane above.
        constant: (p,) its constant c, slack included.
        kappa: (p,) its quadratic coefficient on the window's pixels; 0 but in L2.
        below: (p, k) weights of the line below: in the simplex with 0, or with sum 1 where not rectified.
    """

    above: FloatArray
    constant: FloatArray
    kappa: FloatArray
    below: FloatArray


@jit
def _peak(slope, curve, low, high):  # type: ignore[no-untyped-def]  # compiled
    """The largest ``slope d - curve d^2`` for d in [low, high], and the d."""
    if curve > 0.0:
        d = min(max(slope / (2.0 * curve), low), high)
        return slope * d - curve * d * d, d
    at_low, at_high = slope * low - curve * low * low, slope * high - curve * high * high
    if at_high >= at_low:
        return at_high, high
    return at_low, low


@jit
def first_planes(inputs, weight, bias, rectified, low, high, centre, kappa, steps):  # type: ignore[no-untyped-def]  # compiled
    """Planes of a stage on the image itself: (p, k) weights, (p,) constants, (p, k) lines below."""
    windows, members, size = weight.shape
    above, constants = np.zeros((windows, members)), np.zeros(windows)
    below = np.zeros((windows, members))
    v, best_v, slope_v = np.empty(members), np.empty(members), np.empty(members)
    z0, middle = np.empty(members), np.empty(members)
    row, move = np.empty(size), np.empty(size)
    for w in range(windows):
        top = -1
        for k in range(members):
            z0[k] = middle[k] = bias[w, k]
            if bias[w, k] == -np.inf:
                continue
            for s in range(size):
                i = inputs[w, s]
                z0[k] += weight[w, k, s] * centre[i]
                middle[k] += weight[w, k, s] * (centre[i] + 0.5 * (low[i] + high[i]))
            if top < 0 or middle[k] > middle[top]:
                top = k
        if not rectified or middle[top] > 0.0:
            below[w, top] = 1.0
        best, scale = np.inf, 1.0
        for step in range(-2, steps):
            # Two planes come first: 0, exact where no member rises above it, and the member that leads at the middle.
            if step <= 0:
                v[:] = 0.0
                v[top] = 0.0 if step == -2 else (1.0 if step == -1 else 0.5)
            # The constant: the worst member against the plane.
            c, plane_size = -np.inf, 0.0
            plane = 0.0
            for k in range(members):
                if v[k] != 0.0:
                    plane += v[k] * z0[k]
            for i in range(-1 if rectified else 0, members):
                if i >= 0 and bias[w, i] == -np.inf:
                    continue
                value = (z0[i] if i >= 0 else 0.0) - plane
                total = abs(value)
                for s in range(size):
                    g = weight[w, i, s] if i >= 0 else 0.0
                    for k in range(members):
                        g -= v[k] * weight[w, k, s]
                    row[s] = g
                for s in range(size):
                    at = inputs[w, s]
                    peak, d = _peak(row[s], kappa[w], low[at], high[at])
                    value += peak
                    total += abs(row[s])
                if value > c:
                    c, plane_size = value, total
                    for k in range(members):
                        slope_v[k] = 0.0 if bias[w, k] == -np.inf else middle[k] - z0[k]
                    for s in range(size):
                        at = inputs[w, s]
                        _, d = _peak(row[s], kappa[w], low[at], high[at])
                        for k in range(members):
                            slope_v[k] -= weight[w, k, s] * d
            height = c
            for k in range(members):
                if v[k] != 0.0:
                    height += v[k] * middle[k]
            if height < best:
                best = height
                best_v[:] = v
                constants[w] = c + SLACK * (1.0 + plane_size)
            if step < 0:
                if c <= 0.0 and (rectified or step == -1):
                    break
                continue
            length = 0.0
            for k in range(members):
                length += slope_v[k] * slope_v[k]
            if length <= 1e-24:
                break
            pace = 0.4 * scale / np.sqrt(length)
            scale *= 0.9
            for k in range(members):
                v[k] -= pace * slope_v[k]
        above[w] = best_v
    return above, constants, below


@jit
def line_rows(inputs, weight, bias, lines, constants, centre):  # type: ignore[no-untyped-def]  # compiled
    """Lines on a first stage's members as rows over each window's pixels: (p, s) rows and (p,) values at the image."""
    windows, members, size = weight.shape
    rows, values = np.zeros((windows, size)), constants.copy()
    for w in range(windows):
        for k in range(members):
            if lines[w, k] != 0.0:
                values[w] += lines[w, k] * bias[w, k]
                for s in range(size):
                    rows[w, s] += lines[w, k] * weight[w, k, s]
        for s in range(size):
            values[w] += rows[w, s] * centre[inputs[w, s]]
    return rows, values


@jit
def second_planes(  # type: ignore[no-untyped-def]  # compiled
    inputs, weight, bias, rectified, pixels, low, high, kappa, steps,
    first_inputs, upper_rows, upper_values, first_kappa, lower_rows, lower_values,
):  # fmt: skip
    """Planes of a stage that follows a first stage, whose windows have the given lines in the image.

    Returns:
        (p, k) weights, (p,) constants, (p, k) lines below.
    """
    windows, members, size = weight.shape
    patch = first_inputs.shape[1]
    above, constants = np.zeros((windows, members)), np.zeros(windows)
    below = np.zeros((windows, members))
    v, best_v, slope_v = np.empty(members), np.empty(members), np.empty(members)
    middle = np.empty(members)
    linear, square = np.zeros(len(low)), np.zeros(len(low))
    moves = np.zeros((members + 1, len(low)))
    for w in range(windows):
        here = pixels[w]
        top = -1
        for k in range(members):
            if bias[w, k] == -np.inf:
                middle[k] = 0.0
                continue
            # Where the stage before is about: between its lines, at the middle of the region.
            z = bias[w, k]
            for s in range(size):
                j = inputs[w, s]
                a = weight[w, k, s]
                if a != 0.0:
                    z += 0.5 * a * (upper_values[j] + lower_values[j])
            middle[k] = z
            if top < 0 or z > middle[top]:
                top = k
        if not rectified or middle[top] > 0.0:
            below[w, top] = 1.0
        best, scale = np.inf, 1.0
        for step in range(-2, steps):
            # Two planes come first: 0, exact where no member rises above it, and the member that leads at the middle.
            if step <= 0:
                v[:] = 0.0
                v[top] = 0.0 if step == -2 else (1.0 if step == -1 else 0.5)
            c, plane_size = -np.inf, 0.0
            for i in range(-1 if rectified else 0, members):
                if i >= 0 and bias[w, i] == -np.inf:
                    continue
                value = bias[w, i] if i >= 0 else 0.0
                for k in range(members):
                    if v[k] != 0.0:
                        value -= v[k] * bias[w, k]
                for t in range(len(here)):
                    if here[t] >= 0:
                        linear[here[t]] = square[here[t]] = 0.0
                total = abs(value)
                for s in range(size):
                    r = weight[w, i, s] if i >= 0 else 0.0
                    for k in range(members):
                        r -= v[k] * weight[w, k, s]
                    j = inputs[w, s]
                    if r > 0.0:
                        value += r * upper_values[j]
                        bend = r * first_kappa[j]
                        for q in range(patch):
                            linear[first_inputs[j, q]] += r * upper_rows[j, q]
                        if bend > 0.0:
                            for q in range(patch):
                                square[first_inputs[j, q]] += bend
                    elif r < 0.0:
                        value += r * lower_values[j]
                        for q in range(patch):
                            linear[first_inputs[j, q]] += r * lower_rows[j, q]
                for t in range(len(here)):
                    at = here[t]
                    if at >= 0:
                        peak, d = _peak(linear[at], kappa[w] - square[at], low[at], high[at])
                        value += peak
                        total += abs(linear[at]) + square[at]
                        moves[i + 1, at] = d
                if value > c:
                    c, worst, plane_size = value, i, total
            height = c
            for k in range(members):
                if v[k] != 0.0:
                    height += v[k] * middle[k]
            if height < best:
                best = height
                best_v[:] = v
                constants[w] = c + SLACK * (1.0 + plane_size)
            if step < 0:
                if c <= 0.0 and (rectified or step == -1):
                    break
                continue
            # The slope in v: what the members are worth at the worst member's point, on the lines it was bounded by.
            for k in range(members):
                slope_v[k] = 0.0 if bias[w, k] == -np.inf else middle[k] - bias[w, k]
            for s in range(size):
                r = weight[w, worst, s] if worst >= 0 else 0.0
                for k in range(members):
                    r -= v[k] * weight[w, k, s]
                if r == 0.0:
                    continue
                j = inputs[w, s]
                p = upper_values[j] if r > 0.0 else lower_values[j]
                for q in range(patch):
                    at = first_inputs[j, q]
                    d = moves[worst + 1, at]
                    p += d * (upper_rows[j, q] if r > 0.0 else lower_rows[j, q])
                    if r > 0.0:
                        p += first_kappa[j] * d * d
                for k in range(members):
                    slope_v[k] -= weight[w, k, s] * p
            length = 0.0
            for k in range(members):
                length += slope_v[k] * slope_v[k]
            if length <= 1e-24:
                break
            pace = 0.4 * scale / np.sqrt(length)
            scale *= 0.8
            for k in range(members):
                v[k] -= pace * slope_v[k]
        above[w] = best_v
    return above, constants, below
