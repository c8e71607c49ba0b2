"""Planes above and lines below a maximum over a window, computed on the window's own patch of the image.

ReLU and max-pooling commute, so a pooled unit is ``p = max(z_1, ..., z_k, 0)``. Any v gives a plane above it,
``p <= v.z + c`` with ``c = max over i of sup (e_i - v).z`` (e_0 = 0 stands for the zero): the supremum is taken over the
region and the whole window at once, so differences inside a window count, which independent intervals of the
z_i would lose. c is convex in v; v is improved by subgradient steps that lower the plane at the region's middle.

In L2, L1 and L0 such a constant would count the budget once per window. Instead each window is charged per pixel, so that all
windows share one budget: ``p <= v.z + c + sum_j h_j |d_j|`` with d the move away from the image. With
``(e_i - v).z <= c_i + sum_j g_ij |d_j|`` and r_i the supremum of that sum over the ball, let

    c >= max_i c_i,   t_i = 1 - (c - c_i) / r_i in [0, 1],   h_j = max_i t_i g_ij:

then ``c_i + sum_j (g_ij - h_j) |d_j| <= c_i + (1 - t_i) r_i <= c`` for every i. What is summed up in the end is
``constant + a.d + sum_j h_j |d_j|``. (A diagonal quadratic ``kappa |d|^2`` in the
place of ``h |d|`` is never lower: ``g |d| = min over kappa of g^2 / (4 kappa) + kappa d^2``.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray, Stage
from bench.certify.regions import BALL, BOX, DIAMOND, SLACK, jit

_FITTED = 3.0
"""Planes are fitted to a window's own worst moves, and those go further than the moves that all windows share."""


class Patches(NamedTuple):
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


class Ball(NamedTuple):
    """A region as the kernels here take it.

    Attributes:
        code: the norm's, see :data:`bench.certify.regions.CODES`.
        low, high: (pixels,) the box as moves away from the image.
        size: the radius.
    """

    code: int
    low: FloatArray
    high: FloatArray
    size: float


class Fit(NamedTuple):
    """What planes are fitted to.

    Attributes:
        rectified: whether 0 takes part in the maxima.
        typical: (pixels,) how far each pixel is taken to move; for Linf the radius.
        middles: (p, k) values of the members; -inf where a window has none.
        starts: (p, k) weights to start from.
        steps: subgradient steps.
    """

    rectified: bool
    typical: FloatArray
    middles: FloatArray
    starts: FloatArray
    steps: int


class InputLines(NamedTuple):
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
        upper_rows, upper_values = _line_rows(patches, planes.above, planes.constant, centre)
        lower_rows, lower_values = _line_rows(patches, planes.below, np.zeros(len(planes.below)), centre)
        return cls(patches.inputs, patches.groups, upper_rows, upper_values, spread, lower_rows, lower_values)


@jit
def _line_rows(patches, lines, constants, centre):  # type: ignore[no-untyped-def]  # compiled
    """Lines on a first stage's members as rows over each window's pixels: (p, s) rows and (p,) values at the image."""
    inputs, weight, bias = patches.inputs, patches.weight, patches.bias
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


class _Window(NamedTuple):
    """Room to compute in, for one window at a time.

    Attributes:
        linear, spread: (all pixels,) of the function at hand: slopes in d, and what it pays for |d|.
        moves, worst: (all pixels,) where in its box the function at hand is largest, and the highest of all functions.
        plane: (s,) the row ``v . weight`` on the window's inputs.
        gathered: (2, patch) sums over inputs with the same pixels.
        steepest, room: (t,) for each of the window's pixels the slope that is paid, and how far it can move.
    """

    linear: FloatArray
    spread: FloatArray
    moves: FloatArray
    worst: FloatArray
    plane: FloatArray
    gathered: FloatArray
    steepest: FloatArray
    room: FloatArray


@jit
def _member(w, i, v, patches, lines, here):  # type: ignore[no-untyped-def]  # compiled
    """``(e_i - v).z`` of one window: its constant (returned), slopes and what it pays for moves (both written)."""
    inputs, linear, spread, gathered = patches.inputs, here.linear, here.spread, here.gathered
    patch = lines.pixels.shape[1]
    value = patches.bias[w, i] if i >= 0 else 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            value -= v[k] * patches.bias[w, k]
    for at in patches.pixels[w]:
        if at >= 0:
            linear[at] = spread[at] = 0.0
    # Sums over inputs with the same pixels are formed in a short array, then added where they belong.
    group, leader, size = -1, 0, inputs.shape[1]
    for s in range(size + 1):
        j = inputs[w, s] if s < size else 0
        if s == size or lines.groups[j] != group:
            if group >= 0:
                for q in range(patch):
                    linear[lines.pixels[leader, q]] += gathered[0, q]
                    spread[lines.pixels[leader, q]] += gathered[1, q]
            if s == size:
                break
            group, leader = lines.groups[j], j
            gathered[:] = 0.0
        r = (patches.weight[w, i, s] if i >= 0 else 0.0) - here.plane[s]
        if r > 0.0:
            value += r * lines.upper_values[j]
            for q in range(patch):
                gathered[0, q] += r * lines.upper_rows[j, q]
                gathered[1, q] += r * lines.spread[j, q]
        elif r < 0.0:
            value += r * lines.lower_values[j]
            for q in range(patch):
                gathered[0, q] += r * lines.lower_rows[j, q]
    return value


@jit
def _paid(pixels, ball, here):  # type: ignore[no-untyped-def]  # compiled
    """What the function at hand pays for each of a window's pixels, and their room (both written)."""
    for t in range(len(pixels)):
        at = pixels[t]
        here.steepest[t] = here.room[t] = 0.0
        if at >= 0:
            here.steepest[t] = _steepest(here.linear[at], here.spread[at], ball.low[at], ball.high[at])
            here.room[t] = max(ball.high[at], -ball.low[at])


@jit
def _rise(ball, slopes, room):  # type: ignore[no-untyped-def]  # compiled
    """The supremum of ``sum slopes |d|`` over a ball: slopes not negative, |d| at most ``room``."""
    if ball.code == BALL:
        total = 0.0
        for t in range(len(slopes)):
            total += slopes[t] * slopes[t]
        return ball.size * np.sqrt(total)
    if ball.code == DIAMOND:
        return ball.size * slopes.max()
    gains = np.sort(slopes * room)
    return gains[max(len(gains) - int(ball.size), 0) :].sum()


@jit
def fit_planes(patches, lines, ball, fit):  # type: ignore[no-untyped-def]  # compiled
    """Planes above the maxima of a stage's windows, low where the members are at the ``middles`` of a fit.

    Args:
        patches: the stage's windows.
        lines: around their inputs.
        ball: the region.
        fit: what the planes are fitted to.

    Returns:
        (p, k) weights, (p,) constants, slack included, (p, t) what the planes pay on the patches' pixels; 0 for Linf.
    """
    windows, members, size = patches.weight.shape
    near_low = np.maximum(ball.low, -_FITTED * fit.typical)
    near_high = np.minimum(ball.high, _FITTED * fit.typical)
    above, constants, paid = np.zeros((windows, members)), np.zeros(windows), np.zeros(patches.pixels.shape)
    total, reached = len(ball.low), patches.pixels.shape[1]
    here = _Window(
        np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total), np.empty(size),
        np.empty((2, lines.pixels.shape[1])), np.empty(reached), np.zeros(reached),
    )  # fmt: skip
    for w in range(windows):
        constants[w], exact = _fit_window(w, patches, lines, ball, fit, near_low, near_high, above[w], here)
        if not exact and ball.code != BOX:
            constants[w] = _charge(w, above[w], patches, lines, ball, fit, paid[w], here)
    return above, constants, paid


@jit
def _fit_window(w, patches, lines, ball, fit, near_low, near_high, best_v, here):  # type: ignore[no-untyped-def]  # compiled
    """The plane of one window (written to ``best_v``): its constant, and whether it is as low as the maximum itself."""
    members, middle = len(best_v), fit.middles[w]
    v, slope = np.zeros(members), np.empty(members)
    top, constant = np.argmax(middle), np.inf
    best, pace = np.inf, 1.0
    # Two planes come first: 0, which is exact where no member rises above it, and the member that leads.
    for step in range(-2, fit.steps):
        if step <= 0:
            v[:] = 0.0
            if step == -1:
                v[top] = 1.0
            elif step == 0:
                v[:] = fit.starts[w]
        if step == -2 and not fit.rectified:
            continue
        _plane(w, v, patches.weight, here.plane)
        if step < 0:
            highest, size = _ceiling(w, v, patches, lines, ball, fit, near_low, near_high, here)
            if highest <= SLACK * (1.0 + size):
                best_v[:] = v
                return 2.0 * (SLACK * (1.0 + size)), True
            continue
        highest, worst, size = _highest(w, v, patches, lines, fit, near_low, near_high, here)
        height = highest
        for k in range(members):
            if v[k] != 0.0:
                height += v[k] * middle[k]
        if height < best:
            best = height
            best_v[:] = v
            constant = highest + SLACK * (1.0 + size)
        _slope_in_v(w, worst, middle, patches, lines, here, slope)
        length = 0.0
        for k in range(members):
            length += slope[k] * slope[k]
        if length <= 1e-24:
            break
        for k in range(members):
            v[k] -= 0.4 * pace / np.sqrt(length) * slope[k]
        pace *= 0.85
    return constant, False


@jit
def _rise_nearby(w, value, pixels, near_low, near_high, here):  # type: ignore[no-untyped-def]  # compiled
    """The function at hand at its largest in the near box, where that is (written), and its size."""
    size = abs(value)
    for at in pixels[w]:
        if at >= 0:
            linear, spread = here.linear[at], here.spread[at]
            at_high, at_low = (linear + spread) * near_high[at], (spread - linear) * -near_low[at]
            value += max(at_high, at_low)
            here.moves[at] = near_high[at] if at_high >= at_low else near_low[at]
            size += abs(linear) + spread
    return value, size


@jit
def _there(w, i, patches, rectified):  # type: ignore[no-untyped-def]  # compiled
    """Whether a window has a member; -1 is 0."""
    return rectified if i < 0 else patches.bias[w, i] != -np.inf


@jit
def _highest(w, v, patches, lines, fit, near_low, near_high, here):  # type: ignore[no-untyped-def]  # compiled
    """The highest of all ``(e_i - v).z`` in the near box, which one it is, and the largest size; where is written."""
    highest, worst, size = -np.inf, 0, 0.0
    for i in range(-1, len(v)):
        if _there(w, i, patches, fit.rectified):
            value = _member(w, i, v, patches, lines, here)
            value, own = _rise_nearby(w, value, patches.pixels, near_low, near_high, here)
            size = max(size, own)
            if value > highest:
                highest, worst = value, i
                for at in patches.pixels[w]:
                    if at >= 0:
                        here.worst[at] = here.moves[at]
    return highest, worst, size


@jit
def _ceiling(w, v, patches, lines, ball, fit, near_low, near_high, here):  # type: ignore[no-untyped-def]  # compiled
    """The highest of all ``(e_i - v).z`` over the region itself, and the largest size."""
    highest, size = -np.inf, 0.0
    for i in range(-1, len(v)):
        if _there(w, i, patches, fit.rectified):
            value = _member(w, i, v, patches, lines, here)
            near, own = _rise_nearby(w, value, patches.pixels, near_low, near_high, here)
            if ball.code != BOX:
                _paid(patches.pixels[w], ball, here)
                near = value + _rise(ball, here.steepest, here.room)
            highest, size = max(highest, near), max(size, own)
    return highest, size


@jit
def _slope_in_v(w, worst, middle, patches, lines, here, slope):  # type: ignore[no-untyped-def]  # compiled
    """The slope of a plane's height in v (written): the members' values at the worst point, on the lines used there."""
    members, patch = len(slope), lines.pixels.shape[1]
    for k in range(members):
        slope[k] = 0.0 if patches.bias[w, k] == -np.inf else middle[k] - patches.bias[w, k]
    for s in range(patches.inputs.shape[1]):
        r = (patches.weight[w, worst, s] if worst >= 0 else 0.0) - here.plane[s]
        if r == 0.0:
            continue
        j = patches.inputs[w, s]
        value = lines.upper_values[j] if r > 0.0 else lines.lower_values[j]
        for q in range(patch):
            d = here.worst[lines.pixels[j, q]]
            value += d * (lines.upper_rows[j, q] if r > 0.0 else lines.lower_rows[j, q])
            if r > 0.0:
                value += lines.spread[j, q] * abs(d)
        for k in range(members):
            slope[k] -= patches.weight[w, k, s] * value


@jit
def _charge(w, v, patches, lines, ball, fit, paid, here):  # type: ignore[no-untyped-def]  # compiled
    """A plane's constant where it is charged for moves, and what it pays for each pixel (written)."""
    members, pixels = len(v), patches.pixels[w]
    slopes, values, rises = np.zeros((members + 1, len(pixels))), np.full(members + 1, -np.inf), np.empty(members + 1)
    _plane(w, v, patches.weight, here.plane)
    base, ceiling, size = -np.inf, -np.inf, 0.0
    for i in range(-1, members):
        if not _there(w, i, patches, fit.rectified):
            continue
        m = i + 1
        values[m] = _member(w, i, v, patches, lines, here)
        own = abs(values[m])
        for at in pixels:
            if at >= 0:
                own += abs(here.linear[at]) + here.spread[at]
        _paid(pixels, ball, here)
        slopes[m] = here.steepest
        rises[m] = _rise(ball, slopes[m], here.room)
        base, ceiling = max(base, values[m]), max(ceiling, values[m] + rises[m])
        size = max(size, own)
    # Between paying for every move and for none: the constant that is lowest at the typical moves.
    best, constant, trial = np.inf, np.inf, np.zeros(len(pixels))
    for fraction in (0.0, 0.125, 0.25, 0.5, 1.0):
        c = base + fraction * (ceiling - base)
        trial[:] = 0.0
        for m in range(members + 1):
            if values[m] > -np.inf and rises[m] > 0.0:
                part = min(max(1.0 - (c - values[m]) / rises[m], 0.0), 1.0)
                for t in range(len(pixels)):
                    trial[t] = max(trial[t], part * slopes[m, t])
        height = c
        for t in range(len(pixels)):
            if pixels[t] >= 0:
                height += trial[t] * min(fit.typical[pixels[t]], here.room[t])
        if height < best:
            best, constant = height, c + SLACK * (1.0 + size)
            paid[:] = trial
    return constant


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
