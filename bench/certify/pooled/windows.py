"""Pooled layers: lines above and below a maximum over a window, computed on the window's own patch of the image.

ReLU and max-pooling commute, so a pooled unit is ``p = max(z_1, ..., z_k, 0)``. Any v gives a plane above it,
``p <= v.z + c`` with ``c = max over i of sup (e_i - v).z`` (e_0 = 0 stands for the zero): the supremum is taken over the
region and the whole window at once, so differences inside a window count, which independent intervals of the
z_i would lose. c is convex in v; v is improved by subgradient steps that lower the plane at the region's middle.

In L2 and L0 such a constant would let every window spend the whole radius on itself. Instead a window pays for the
pixels that it moves: ``p <= v.z + c + sum_j h_j |d_j|`` with d the move away from the image. With
``(e_i - v).z <= c_i + sum_j g_ij |d_j|`` and r_i the supremum of that sum over the ball, let

    c >= max_i c_i,   t_i = 1 - (c - c_i) / r_i in [0, 1],   h_j = max_i t_i g_ij:

then ``c_i + sum_j (g_ij - h_j) |d_j| <= c_i + (1 - t_i) r_i <= c`` for every i. All windows then share one radius,
since what is summed up in the end is ``constant + a.d + sum_j h_j |d_j|``. (A diagonal quadratic ``kappa |d|^2`` in the
place of ``h |d|`` is never lower: ``g |d| = min over kappa of g^2 / (4 kappa) + kappa d^2``.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray, Stage
from bench.certify.regions import BALL, BOX, SLACK, jit

_FITTED = 3.0
"""Planes are fitted to a window's own worst moves, and those go further than the moves that all windows share."""


@dataclass(frozen=True, slots=True)
class Patches:
    """The windows of a stage as dense blocks over the inputs that each of them sees.

    Attributes:
        inputs: (p, s) int64, the inputs of each window, filled up by repeating 0 where there are fewer.
        weight: (p, k, s) float64, the members' weights on them, 0 where filled up.
        bias: (p, k) float64, the members' biases; -inf for members that a window does not have.
        pixels: (p, t) int64, the pixels that each window depends on, filled up by -1.
        groups: (p,) int64: windows with the same inputs have the same number.
    """

    inputs: IntArray
    weight: FloatArray
    bias: FloatArray
    pixels: IntArray
    groups: IntArray

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
        # Inputs that see the same pixels stand together, so that their sums over those pixels can be formed at once.
        if before is not None:
            seen = [one[np.argsort(before.groups[one], kind="stable")] for one in seen]
        inputs = np.zeros((len(seen), size), dtype=np.int64)
        weight = np.zeros((*members.shape, size))
        for w, one in enumerate(seen):
            inputs[w, : len(one)] = one
            for k, member in enumerate(members[w]):
                if member >= 0:
                    span = slice(matrix.indptr[member], matrix.indptr[member + 1])
                    order = np.argsort(one)
                    at = order[np.searchsorted(one, matrix.indices[span], sorter=order)]
                    weight[w, k, at] = matrix.data[span]
        bias = np.where(members >= 0, stage.bias[members], -np.inf)
        if before is None:
            pixels = [one.astype(np.int64) for one in seen]
        else:
            reached = (before.pixels[one] for one in seen)
            pixels = [np.unique(one[one >= 0]) for one in reached]
        table = np.full((len(seen), max(len(one) for one in pixels)), -1, dtype=np.int64)
        for w, one in enumerate(pixels):
            table[w, : len(one)] = one
        _, groups = np.unique(inputs, axis=0, return_inverse=True)
        return cls(inputs, weight, bias, table, groups.reshape(-1).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Planes:
    """For every window of a stage a plane above its maximum and a line below it.

    Attributes:
        above: (p, k) weights v of the plane above.
        constant: (p,) its constant c, slack included.
        spread: (pixels, p) CSR, what it pays for each pixel's move; None where it pays nothing.
        below: (p, k) weights of the line below: in the simplex with 0, or with sum 1 where not rectified.
        tilt: (pixels, p) CSR, slopes of the plane above in the move away from the image; None where it has none.
    """

    above: FloatArray
    constant: FloatArray
    spread: sparse.csr_array | None
    below: FloatArray
    tilt: sparse.csr_array | None = None


@dataclass(frozen=True, slots=True)
class InputLines:
    """What a stage's inputs lie between, as functions of the move d away from the image.

    Input j lies below ``upper_values[j] + upper_rows[j] . d_j + spread[j] . |d_j|`` and above
    ``lower_values[j] + lower_rows[j] . d_j``, d_j being d on its own pixels.

    Attributes:
        pixels: (m, s) int64, the pixels of each input.
        groups: (m,) int64: inputs with the same pixels have the same number.
        upper_rows, spread, lower_rows: (m, s) float64.
        upper_values, lower_values: (m,) float64.
    """

    pixels: IntArray
    groups: IntArray
    upper_rows: FloatArray
    upper_values: FloatArray
    spread: FloatArray
    lower_rows: FloatArray
    lower_values: FloatArray

    @classmethod
    def image(cls, centre: FloatArray) -> InputLines:
        """The image's own pixels: each is exactly what it is."""
        at, ones = np.arange(len(centre)), np.ones((len(centre), 1))
        return cls(at[:, None], at, ones, centre, np.zeros_like(ones), ones, centre)

    @classmethod
    def after(cls, patches: Patches, planes: Planes, spread: FloatArray, centre: FloatArray) -> InputLines:
        """The outputs of a first stage, between its planes; ``spread`` is theirs on each window's inputs."""
        local = patches.inputs, patches.weight, patches.bias
        upper_rows, upper_values = _line_rows(*local, planes.above, planes.constant, centre)
        lower_rows, lower_values = _line_rows(*local, planes.below, np.zeros(len(planes.below)), centre)
        return cls(patches.inputs, patches.groups, upper_rows, upper_values, spread, lower_rows, lower_values)

    @property
    def arguments(self) -> tuple[IntArray | FloatArray, ...]:
        """The lines as the kernels take them."""
        return (
            self.pixels, self.groups, self.upper_rows, self.upper_values,
            self.spread, self.lower_rows, self.lower_values,
        )  # fmt: skip


@jit
def _line_rows(inputs, weight, bias, lines, constants, centre):  # type: ignore[no-untyped-def]  # compiled
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
def _member(  # type: ignore[no-untyped-def]  # compiled
    w, i, v, plane, inputs, weight, bias, here,
    input_pixels, groups, upper_rows, upper_values, input_spread, lower_rows, lower_values,
    gathered, linear, spread,
):  # fmt: skip
    """``(e_i - v).z`` of one window: its constant (returned), slopes and what it pays for moves (both written)."""
    size, patch = inputs.shape[1], input_pixels.shape[1]
    value = bias[w, i] if i >= 0 else 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            value -= v[k] * bias[w, k]
    for t in range(len(here)):
        if here[t] >= 0:
            linear[here[t]] = spread[here[t]] = 0.0
    # Sums over inputs with the same pixels are formed in a short array, then added where they belong.
    group, leader = -1, 0
    for s in range(size + 1):
        j = inputs[w, s] if s < size else 0
        if s == size or groups[j] != group:
            if group >= 0:
                for q in range(patch):
                    linear[input_pixels[leader, q]] += gathered[0, q]
                    spread[input_pixels[leader, q]] += gathered[1, q]
            if s == size:
                break
            group, leader = groups[j], j
            gathered[:] = 0.0
        r = (weight[w, i, s] if i >= 0 else 0.0) - plane[s]
        if r > 0.0:
            value += r * upper_values[j]
            for q in range(patch):
                gathered[0, q] += r * upper_rows[j, q]
                gathered[1, q] += r * input_spread[j, q]
        elif r < 0.0:
            value += r * lower_values[j]
            for q in range(patch):
                gathered[0, q] += r * lower_rows[j, q]
    return value


@jit
def _rise(code, size, slopes, room):  # type: ignore[no-untyped-def]  # compiled
    """The supremum of ``sum slopes |d|`` over a ball: slopes not negative, |d| at most ``room``."""
    if code == BALL:
        total = 0.0
        for t in range(len(slopes)):
            total += slopes[t] * slopes[t]
        return size * np.sqrt(total)
    gains = np.sort(slopes * room)
    return gains[max(len(gains) - int(size), 0) :].sum()


@jit
def fit_planes(  # type: ignore[no-untyped-def]  # compiled
    inputs, weight, bias, pixels, rectified, code, low, high, size_of_ball, typical, middles, starts, steps,
    input_pixels, groups, upper_rows, upper_values, input_spread, lower_rows, lower_values,
):  # fmt: skip
    """Planes above the maxima of a stage's windows, low where the members are at their ``middles``.

    Args:
        inputs, weight, bias, pixels: the stage's patches.
        rectified: whether 0 takes part in the maxima.
        code, low, high, size_of_ball: the region's norm, box as moves away from the image, and radius.
        typical: (pixels,) how far each pixel is taken to move; for Linf the radius.
        middles: (p, k) values of the members; -inf where a window has none.
        starts: (p, k) weights to start from.
        steps: subgradient steps.
        input_pixels, ...: the ``arguments`` of the inputs' lines.

    Returns:
        (p, k) weights, (p,) constants, slack included, (p, t) what the planes pay on ``pixels``; 0 for Linf.
    """
    windows, members, size = weight.shape
    patch, total_pixels = input_pixels.shape[1], len(low)
    near_low, near_high = np.maximum(low, -_FITTED * typical), np.minimum(high, _FITTED * typical)
    above, constants = np.zeros((windows, members)), np.zeros(windows)
    paid = np.zeros(pixels.shape)
    v, best_v, slope_v = np.zeros(members), np.zeros(members), np.empty(members)
    linear, spread = np.zeros(total_pixels), np.zeros(total_pixels)
    moves, worst_moves = np.zeros(total_pixels), np.zeros(total_pixels)
    plane, gathered = np.empty(size), np.empty((2, patch))
    slopes, room = np.zeros((members + 1, pixels.shape[1])), np.zeros(pixels.shape[1])
    values, rises = np.empty(members + 1), np.empty(members + 1)
    trial = np.empty(pixels.shape[1])
    for w in range(windows):
        here, middle = pixels[w], middles[w]
        top = np.argmax(middle)
        best, pace = np.inf, 1.0
        exact = False
        # Two planes come first: 0, which is exact where no member rises above it, and the member that leads.
        for step in range(-2, steps):
            if step <= 0:
                v[:] = 0.0
                if step == -1:
                    v[top] = 1.0
                elif step == 0:
                    v[:] = starts[w]
            if step == -2 and not rectified:
                continue
            _plane(w, v, weight, plane)
            c, highest, worst, size_of_sum = -np.inf, -np.inf, 0, 0.0
            for i in range(-1 if rectified else 0, members):
                if i >= 0 and bias[w, i] == -np.inf:
                    continue
                value = _member(
                    w, i, v, plane, inputs, weight, bias, here, input_pixels, groups, upper_rows, upper_values,
                    input_spread, lower_rows, lower_values, gathered, linear, spread,
                )  # fmt: skip
                total, certain = abs(value), value
                for t in range(len(here)):
                    at = here[t]
                    if at >= 0:
                        rising, falling = linear[at] + spread[at], spread[at] - linear[at]
                        at_high, at_low = rising * near_high[at], falling * -near_low[at]
                        value += max(at_high, at_low)
                        moves[at] = near_high[at] if at_high >= at_low else near_low[at]
                        if step < 0:
                            trial[t] = _steepest(linear[at], spread[at], low[at], high[at])
                            room[t] = max(high[at], -low[at])
                        total += abs(linear[at]) + spread[at]
                    elif step < 0:
                        trial[t] = room[t] = 0.0
                if step < 0 and code != BOX:
                    certain += _rise(code, size_of_ball, trial, room)
                    highest = max(highest, certain)
                size_of_sum = max(size_of_sum, total)
                if value > c:
                    c, worst = value, i
                    for t in range(len(here)):
                        if here[t] >= 0:
                            worst_moves[here[t]] = moves[here[t]]
            margin = SLACK * (1.0 + size_of_sum)
            if step < 0:
                if (c if code == BOX else highest) <= margin:
                    best_v[:] = v
                    constants[w] = 2.0 * margin
                    exact = True
                    break
                continue
            height = c
            for k in range(members):
                if v[k] != 0.0:
                    height += v[k] * middle[k]
            if height < best:
                best = height
                best_v[:] = v
                constants[w] = c + margin
            # The slope in v: what the members are worth at the worst member's point, on the lines it was bounded by.
            for k in range(members):
                slope_v[k] = 0.0 if bias[w, k] == -np.inf else middle[k] - bias[w, k]
            for s in range(size):
                r = (weight[w, worst, s] if worst >= 0 else 0.0) - plane[s]
                if r == 0.0:
                    continue
                j = inputs[w, s]
                p = upper_values[j] if r > 0.0 else lower_values[j]
                for q in range(patch):
                    d = worst_moves[input_pixels[j, q]]
                    p += d * (upper_rows[j, q] if r > 0.0 else lower_rows[j, q])
                    if r > 0.0:
                        p += input_spread[j, q] * abs(d)
                for k in range(members):
                    slope_v[k] -= weight[w, k, s] * p
            length = 0.0
            for k in range(members):
                length += slope_v[k] * slope_v[k]
            if length <= 1e-24:
                break
            for k in range(members):
                v[k] -= 0.4 * pace / np.sqrt(length) * slope_v[k]
            pace *= 0.85
        above[w] = best_v
        if exact or code == BOX:
            continue
        _plane(w, best_v, weight, plane)
        base, ceiling, size_of_sum = -np.inf, -np.inf, 0.0
        for i in range(-1, members):
            values[i + 1] = -np.inf
            if (i < 0 and not rectified) or (i >= 0 and bias[w, i] == -np.inf):
                continue
            values[i + 1] = _member(
                w, i, best_v, plane, inputs, weight, bias, here, input_pixels, groups, upper_rows, upper_values,
                input_spread, lower_rows, lower_values, gathered, linear, spread,
            )  # fmt: skip
            total = abs(values[i + 1])
            for t in range(len(here)):
                at = here[t]
                slopes[i + 1, t] = room[t] = 0.0
                if at >= 0:
                    slopes[i + 1, t] = _steepest(linear[at], spread[at], low[at], high[at])
                    room[t] = max(high[at], -low[at])
                    total += abs(linear[at]) + spread[at]
            rises[i + 1] = _rise(code, size_of_ball, slopes[i + 1], room)
            base, ceiling = max(base, values[i + 1]), max(ceiling, values[i + 1] + rises[i + 1])
            size_of_sum = max(size_of_sum, total)
        # Between paying for every move and for none: the share of the ceiling that is lowest at the typical moves.
        best = np.inf
        for share in (0.0, 0.125, 0.25, 0.5, 1.0):
            c = base + share * (ceiling - base)
            trial[:] = 0.0
            for m in range(members + 1):
                if values[m] > -np.inf and rises[m] > 0.0:
                    part = min(max(1.0 - (c - values[m]) / rises[m], 0.0), 1.0)
                    for t in range(len(here)):
                        trial[t] = max(trial[t], part * slopes[m, t])
            height = c
            for t in range(len(here)):
                if here[t] >= 0:
                    height += trial[t] * min(typical[here[t]], room[t])
            if height < best:
                best = height
                paid[w] = trial
                constants[w] = c + SLACK * (1.0 + size_of_sum)
    return above, constants, paid


@jit
def _plane(w, v, weight, plane):  # type: ignore[no-untyped-def]  # compiled
    """The row ``v . weight`` of a window's plane on its inputs, written."""
    plane[:] = 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            for s in range(len(plane)):
                plane[s] += v[k] * weight[w, k, s]


@jit
def _steepest(linear, spread, low, high):  # type: ignore[no-untyped-def]  # compiled
    """The least g >= 0 with ``linear d + spread |d| <= g |d|`` for d in [low, high]."""
    steepest = 0.0
    if high > 0.0:
        steepest = max(steepest, spread + linear)
    if low < 0.0:
        steepest = max(steepest, spread - linear)
    return steepest
