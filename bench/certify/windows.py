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
        kappa: (p,) its quadratic coefficient on the window's pixels; 0 but in L2.
        below: (p, k) weights of the line below: in the simplex with 0, or with sum 1 where not rectified.
    """

    above: FloatArray
    constant: FloatArray
    kappa: FloatArray
    below: FloatArray


@dataclass(frozen=True, slots=True)
class InputLines:
    """What a stage's inputs lie between, as functions of the move d away from the image.

    Input j lies below ``upper_values[j] + upper_rows[j] . d_j + kappa[j] |d_j|^2`` and above
    ``lower_values[j] + lower_rows[j] . d_j``, d_j being d on its own pixels.

    Attributes:
        pixels: (m, s) int64, the pixels of each input.
        groups: (m,) int64: inputs with the same pixels have the same number.
        upper_rows, lower_rows: (m, s) float64.
        upper_values, lower_values, kappa: (m,) float64.
    """

    pixels: IntArray
    groups: IntArray
    upper_rows: FloatArray
    upper_values: FloatArray
    kappa: FloatArray
    lower_rows: FloatArray
    lower_values: FloatArray

    @classmethod
    def image(cls, centre: FloatArray) -> InputLines:
        """The image's own pixels: each is exactly what it is."""
        at, ones = np.arange(len(centre)), np.ones((len(centre), 1))
        return cls(at[:, None], at, ones, centre, np.zeros(len(centre)), ones, centre)

    @classmethod
    def after(cls, patches: Patches, planes: Planes, centre: FloatArray) -> InputLines:
        """The outputs of a first stage, between its planes."""
        local = patches.inputs, patches.weight, patches.bias
        upper_rows, upper_values = _line_rows(*local, planes.above, planes.constant, centre)
        lower_rows, lower_values = _line_rows(*local, planes.below, np.zeros(len(planes.below)), centre)
        return cls(patches.inputs, patches.groups, upper_rows, upper_values, planes.kappa, lower_rows, lower_values)

    @property
    def arguments(self) -> tuple[IntArray | FloatArray, ...]:
        """The lines as the kernels take them."""
        return (
            self.pixels, self.groups, self.upper_rows, self.upper_values,
            self.kappa, self.lower_rows, self.lower_values,
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
def _price(here, linear, square, low, high, spend):  # type: ignore[no-untyped-def]  # compiled
    """The quadratic price kappa at which a function's best move on a patch has the length ``spend``."""
    least, most = 0.0, 0.0
    total = 0.0
    for t in range(len(here)):
        if here[t] >= 0:
            total += linear[here[t]] ** 2
    price = 0.5 * np.sqrt(total) / spend + 1e-12
    for _step in range(30):
        used = 0.0
        for t in range(len(here)):
            at = here[t]
            if at >= 0:
                _, d = _peak(linear[at], price - square[at], low[at], high[at])
                used += d * d
        if used > spend * spend:
            least = price
            price = 2.0 * price if most == 0.0 else 0.5 * (least + most)
        else:
            most = price
            price = 0.5 * (least + most)
        if most > 0.0 and most - least <= 0.02 * most:
            break
    return most if most > 0.0 else price


@jit
def _member(  # type: ignore[no-untyped-def]  # compiled
    w, i, v, plane, inputs, weight, bias, here,
    input_pixels, groups, upper_rows, upper_values, input_kappa, lower_rows, lower_values,
    gathered, linear, square,
):  # fmt: skip
    """``(e_i - v).z`` of one window as constant (returned) and linear and square parts (written) in the pixels."""
    size, patch = inputs.shape[1], input_pixels.shape[1]
    value = bias[w, i] if i >= 0 else 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            value -= v[k] * bias[w, k]
    for t in range(len(here)):
        if here[t] >= 0:
            linear[here[t]] = square[here[t]] = 0.0
    # Sums over inputs with the same pixels are formed in a short array, then added where they belong.
    group, leader, bend = -1, 0, 0.0
    for s in range(size + 1):
        j = inputs[w, s] if s < size else 0
        if s == size or groups[j] != group:
            if group >= 0:
                for q in range(patch):
                    linear[input_pixels[leader, q]] += gathered[q]
                if bend > 0.0:
                    for q in range(patch):
                        square[input_pixels[leader, q]] += bend
            if s == size:
                break
            group, leader, bend = groups[j], j, 0.0
            gathered[:] = 0.0
        r = (weight[w, i, s] if i >= 0 else 0.0) - plane[s]
        if r > 0.0:
            value += r * upper_values[j]
            bend += r * input_kappa[j]
            for q in range(patch):
                gathered[q] += r * upper_rows[j, q]
        elif r < 0.0:
            value += r * lower_values[j]
            for q in range(patch):
                gathered[q] += r * lower_rows[j, q]
    return value


@jit
def fit_planes(  # type: ignore[no-untyped-def]  # compiled
    inputs, weight, bias, pixels, rectified, low, high, radius, share, middles, starts, steps,
    input_pixels, groups, upper_rows, upper_values, input_kappa, lower_rows, lower_values,
):  # fmt: skip
    """Planes above the maxima of a stage's windows, low where the members are at their ``middles``.

    Args:
        inputs, weight, bias, pixels: the stage's patches.
        rectified: whether 0 takes part in the maxima.
        low, high: (pixels,) the region's box as moves away from the image.
        radius: in L2 the ball's radius, else 0.
        share: in L2 the part of the radius that each window is taken to spend.
        middles: (p, k) values of the members; -inf where a window has none.
        starts: (p, k) weights to start from.
        steps: subgradient steps.
        input_pixels, ...: the ``arguments`` of the inputs' lines.

    Returns:
        (p, k) weights, (p,) constants, slack included, (p,) quadratic coefficients.
    """
    windows, members, size = weight.shape
    patch, total_pixels = input_pixels.shape[1], len(low)
    above, constants, kappas = np.zeros((windows, members)), np.zeros(windows), np.zeros(windows)
    v, best_v, slope_v = np.zeros(members), np.zeros(members), np.empty(members)
    linear, square = np.zeros(total_pixels), np.zeros(total_pixels)
    moves, worst_moves = np.zeros(total_pixels), np.zeros(total_pixels)
    plane, gathered = np.empty(size), np.empty(patch)
    for w in range(windows):
        here, middle = pixels[w], middles[w]
        top = np.argmax(middle)
        best, pace, kappa = np.inf, 1.0, 0.0
        # Two planes come first: 0, which is exact where no member rises above it, and the member that leads.
        for step in range(-2, steps):
            if step <= 0:
                v[:] = 0.0
                if step == -1:
                    v[top] = 1.0
                elif step == 0:
                    v[:] = starts[w]
            plane[:] = 0.0
            for k in range(members):
                if v[k] != 0.0:
                    for s in range(size):
                        plane[s] += v[k] * weight[w, k, s]
            spend = 0.0
            if radius > 0.0 and step <= 0:
                spend = radius if step < 0 else share * radius
            # With a price to be found, the first pass finds the worst member for a first price, the second uses it.
            for priced in range(1 if spend == 0.0 else 0, 2):
                c, worst, size_of_sum = -np.inf, 0, 0.0
                for i in range(-1 if rectified else 0, members):
                    if i >= 0 and bias[w, i] == -np.inf:
                        continue
                    value = _member(
                        w, i, v, plane, inputs, weight, bias, here, input_pixels, groups, upper_rows, upper_values,
                        input_kappa, lower_rows, lower_values, gathered, linear, square,
                    )  # fmt: skip
                    if priced == 0:
                        price = _price(here, linear, square, low, high, spend)
                        total = value
                        for t in range(len(here)):
                            at = here[t]
                            if at >= 0:
                                peak, _ = _peak(linear[at], price - square[at], low[at], high[at])
                                total += peak
                        total += price * spend * spend
                        if total > c:
                            c, kappa = total, price
                        continue
                    total = abs(value)
                    for t in range(len(here)):
                        at = here[t]
                        if at >= 0:
                            peak, moves[at] = _peak(linear[at], kappa - square[at], low[at], high[at])
                            value += peak
                            total += abs(linear[at]) + square[at]
                    if value > c:
                        c, worst, size_of_sum = value, i, total
                        for t in range(len(here)):
                            if here[t] >= 0:
                                worst_moves[here[t]] = moves[here[t]]
            if step < 0:
                # Whatever a window spends, it cannot spend more than the radius.
                excess = c + kappa * radius * radius
                if excess + SLACK * (1.0 + size_of_sum) <= 2.0 * SLACK * (1.0 + size_of_sum) and (
                    rectified or step == -1
                ):
                    best_v[:] = v
                    constants[w], kappas[w] = 2.0 * SLACK * (1.0 + size_of_sum), 0.0
                    break
                continue
            height = c + kappa * (share * radius) ** 2
            for k in range(members):
                if v[k] != 0.0:
                    height += v[k] * middle[k]
            if height < best:
                best = height
                best_v[:] = v
                constants[w], kappas[w] = c + SLACK * (1.0 + size_of_sum), kappa
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
                        p += input_kappa[j] * d * d
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
    return above, constants, kappas
