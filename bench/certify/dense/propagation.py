"""Backward bound propagation in dense ReLU networks (CROWN with alpha and beta).

Over ``low <= z <= high`` a ReLU lies between lines (CROWN, arXiv:1811.00866): below its chord
``high / (high - low) * (z - low)`` where its coefficient is positive, above ``alpha z`` with any alpha in [0, 1]
where it is negative (alpha-CROWN, arXiv:2011.13824). A unit whose sign ``s`` is fixed by branching adds
``beta s z`` with any ``beta >= 0`` (beta-CROWN, arXiv:2103.06624): a Lagrange multiplier of ``s z >= 0``.
Every choice of alpha and beta gives a valid bound, so they are improved by a few steps of Adam and the best bound
is kept.

The hidden units of all layers stand one after another in flat arrays; ``DenseNetwork.layers`` has the slices.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bench.certify.layers import FloatArray, IntArray, PlainNetwork, dense
from bench.certify.regions import SLACK, Region, jit, size_of, supremum

SignArray = NDArray[np.int8]

_ALPHA_RATE, _BETA_RATE, _DECAY = 0.3, 0.1, 0.93


class Packed(NamedTuple):
    """The hidden layers of a network, as kernels take them.

    Attributes:
        weights: (sum of units * inputs,) float64, the weights of all layers, row by row, one after another.
        sizes: (hidden layers + 1,) int64: inputs, then the units of each layer.
        bias: (N,) float64, of all hidden units.
    """

    weights: FloatArray
    sizes: IntArray
    bias: FloatArray


class Units(NamedTuple):
    """What is known of the hidden units in a part of a region.

    Attributes:
        low, high: (N,) float64 bounds.
        sign: (N,) int8, +1 or -1 where a unit's sign is fixed, else 0.
    """

    low: FloatArray
    high: FloatArray
    sign: SignArray


class Multipliers(NamedTuple):
    """What the bound of a margin may choose.

    Attributes:
        alpha: (N,) float64 in [0, 1], slopes of the lines below.
        beta: (N,) float64, not negative, of the signs that are fixed.
    """

    alpha: FloatArray
    beta: FloatArray


@dataclass(frozen=True, slots=True)
class DenseNetwork:
    """A network of dense layers, each followed by a ReLU, and a last affine map.

    Attributes:
        plain: the same as plain arrays.
        weights: for each hidden layer (units, inputs) float64.
        bias: (N,) float64, of all hidden units.
        layers: where each layer's units stand among them.
        packed: all of them, as kernels take them.
    """

    plain: PlainNetwork
    weights: tuple[FloatArray, ...]
    bias: FloatArray
    layers: tuple[slice, ...]
    packed: Packed

    @classmethod
    def of(cls, plain: PlainNetwork) -> Self:
        """The same network, its matrices dense; every stage must be a plain ReLU layer."""
        assert all(stage.is_relu for stage in plain.stages)
        weights = tuple(np.ascontiguousarray(dense(stage.weight)) for stage in plain.stages)
        ends = np.cumsum([0, *(len(weight) for weight in weights)])
        layers = tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))
        sizes = np.array([plain.inputs, *(len(weight) for weight in weights)], dtype=np.int64)
        # An empty array in front: a linear network has no hidden layers to join.
        packed = np.concatenate([np.zeros(0), *(weight.ravel() for weight in weights)])
        bias = np.concatenate([np.zeros(0), *(stage.bias for stage in plain.stages)])
        return cls(plain, weights, bias, layers, Packed(packed, sizes, bias))


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines around the ReLUs of one layer.

    Attributes:
        slope, intercept: (m,) of the lines above.
        alpha: (m,) slopes of the lines below, which pass through 0.
    """

    slope: FloatArray
    intercept: FloatArray
    alpha: FloatArray

    @classmethod
    def around(cls, low: FloatArray, high: FloatArray) -> Self:
        """The lines over ``low <= z <= high``, (m,) float64; stable units are exact, alpha is 1 where high > -low."""
        active, unstable = low >= 0, (low < 0) & (high > 0)
        chord = np.where(unstable, high / np.where(unstable, high - low, 1.0), active)
        return cls(chord, np.where(unstable, -chord * low, 0.0), np.where(unstable, high > -low, active).astype(float))


def backwards(
    network: DenseNetwork, layers: list[Lines], rows: FloatArray, constants: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Linear functions of the image that lie above ``row . relu(z) + constant`` for the last of some layers.

    Args:
        network: the network.
        layers: the lines of its first layers; the rows apply to the last of them, or to the image where there is none.
        rows: (n, m) float64.
        constants: (n,) float64.

    Returns:
        (n, inputs) rows and (n,) constants.
    """
    for index in range(len(layers) - 1, -1, -1):
        lines = layers[index]
        above = np.maximum(rows, 0.0)
        constants = constants + above @ lines.intercept
        slopes = above * lines.slope + (rows - above) * lines.alpha
        live = np.flatnonzero(lines.slope)
        slopes = slopes[:, live]
        constants = constants + slopes @ network.bias[network.layers[index]][live]
        rows = slopes @ network.weights[index][live]
    return rows, constants


@dataclass(frozen=True, slots=True)
class MarginBound:
    """An upper bound of the margin, and what gave it.

    Attributes:
        value: the bound over the region, slack included.
        row, constant: (inputs,) and the linear function of the image that lies above the margin.
        point: (inputs,) where in the region it is largest.
        alpha, beta: (N,) the multipliers.
        coefficients: (N,) on the ReLUs.
    """

    value: float
    row: FloatArray
    constant: float
    point: FloatArray
    alpha: FloatArray
    beta: FloatArray
    coefficients: FloatArray


def margin_bound(
    network: DenseNetwork,
    region: Region,
    margin: tuple[FloatArray, float],
    units: Units,
    multipliers: Multipliers,
    steps: int,
) -> MarginBound:
    """An upper bound of the margin, alpha and beta improved by Adam.

    Args:
        network: the network.
        region: where the image may be.
        margin: row and constant on the last hidden layer.
        units: what is known of the hidden units.
        multipliers: to start from.
        steps: how many steps to take; it stops early once the bound is negative.

    Returns:
        The best bound met.
    """
    value, row, constant, move, alpha, beta, coefficients = best_margin(
        network.packed, region.centre, *margin, units, multipliers, region.arguments, steps
    )
    return MarginBound(value, row, constant, region.centre + move, alpha, beta, coefficients)


@jit
def _backward(packed, row, constant, known, multipliers, coefficients):  # type: ignore[no-untyped-def]  # compiled
    """The margin's line in the image: carried through every layer, the last first."""
    weights, sizes, bias = packed
    low, high, sign = known
    alpha, beta = multipliers
    unit, weight = len(bias), len(weights)
    for layer in range(len(sizes) - 1, 0, -1):
        units, inputs = sizes[layer], sizes[layer - 1]
        unit -= units
        weight -= units * inputs
        slopes = np.empty(units)
        for j in range(units):
            i, c = unit + j, row[j]
            coefficients[i] = c
            if low[i] >= 0.0:
                slope = c
            elif high[i] <= 0.0:
                slope = 0.0
            elif c > 0.0:
                slope = c * (high[i] / (high[i] - low[i]))
                constant -= slope * low[i]
            else:
                slope = c * alpha[i]
            slope += beta[i] * sign[i]
            constant += slope * bias[i]
            slopes[j] = slope
        row = _combination(weights[weight : weight + units * inputs].reshape((units, inputs)), slopes)
    return row, constant


@jit
def _combination(rows, factors):  # type: ignore[no-untyped-def]  # compiled
    """``factors @ rows``; most factors are 0, and four rows at a time save reading and writing the sum."""
    total = np.zeros(rows.shape[1])
    live = np.flatnonzero(factors)
    whole = len(live) - len(live) % 4
    for at in range(0, whole, 4):
        a, b, c, d = live[at], live[at + 1], live[at + 2], live[at + 3]
        row_a, row_b, row_c, row_d = rows[a], rows[b], rows[c], rows[d]
        factor_a, factor_b, factor_c, factor_d = factors[a], factors[b], factors[c], factors[d]
        for i in range(len(total)):
            total[i] += factor_a * row_a[i] + factor_b * row_b[i] + factor_c * row_c[i] + factor_d * row_d[i]
    for a in live[whole:]:
        total += factors[a] * rows[a]
    return total


@jit
def forward(packed, values, known, alpha, coefficients, units_seen):  # type: ignore[no-untyped-def]  # compiled
    """Values of the units, and of the lines in their place, at the point where the bound is largest; they are written."""
    weights, sizes, bias = packed
    low, high, _ = known
    unit = weight = 0
    for layer in range(1, len(sizes)):
        units, inputs = sizes[layer], sizes[layer - 1]
        z = np.dot(weights[weight : weight + units * inputs].reshape((units, inputs)), values)
        following = np.empty(units)
        for j in range(units):
            i = unit + j
            z[j] += bias[i]
            units_seen[i] = z[j]
            if low[i] >= 0.0:
                following[j] = z[j]
            elif high[i] <= 0.0:
                following[j] = 0.0
            elif coefficients[i] > 0.0:
                following[j] = high[i] / (high[i] - low[i]) * (z[j] - low[i])
            else:
                following[j] = alpha[i] * z[j]
        values = following
        unit += units
        weight += units * inputs


@jit
def excesses(known, alpha, coefficients, units):  # type: ignore[no-untyped-def]  # compiled
    """By how much the line in place of each ReLU lies off it at some values, weighted by its coefficient; 0 where it is stable."""
    low, high, _ = known
    found = np.zeros(len(units))
    for i in range(len(units)):
        if low[i] < 0.0 and high[i] > 0.0:
            line = high[i] / (high[i] - low[i]) * (units[i] - low[i]) if coefficients[i] > 0.0 else alpha[i] * units[i]
            found[i] = abs(coefficients[i] * (line - max(units[i], 0.0)))
    return found


@jit
def _adam(values, gradients, first, second, step, rate, most):  # type: ignore[no-untyped-def]  # compiled
    """One step of Adam, downwards and held within [0, most]; without branches, for the processor's vector units."""
    correct_first, correct_second = 1.0 - 0.8 ** (step + 1), 1.0 - 0.9 ** (step + 1)
    for i in range(len(values)):
        gradient = gradients[i]
        first[i] += 0.2 * (gradient - first[i])
        second[i] += 0.1 * (gradient * gradient - second[i])
        pace = first[i] / correct_first / (np.sqrt(second[i] / correct_second) + 1e-12)
        values[i] = min(max(values[i] - rate * pace, 0.0), most)


@jit
def best_margin(packed, centre, margin_row, margin_constant, known, start, ball, steps):  # type: ignore[no-untyped-def]  # compiled
    """The best bound met, its row and constant, the move that reaches it, and its alpha, beta and coefficients.

    Args:
        packed: the :class:`Packed` network.
        centre: (inputs,) float64, the image.
        margin_row, margin_constant: on the last hidden layer.
        known: the :class:`Units`.
        start: the :class:`Multipliers` to start from.
        ball: the :class:`bench.certify.regions.support.Ball`.
        steps: of Adam.
    """
    low, high, sign = known
    total = len(packed.bias)
    alpha, beta = start.alpha.copy(), start.beta.copy()
    multipliers = Multipliers(alpha, beta)
    first, second, gradients = np.zeros((2, total)), np.zeros((2, total)), np.empty((2, total))
    coefficients, units = np.empty(total), np.empty(total)
    move = np.empty(len(centre))
    best = np.inf
    best_row, best_constant, best_move = np.empty(len(centre)), 0.0, np.empty(len(centre))
    best_alpha, best_beta, best_coefficients = alpha.copy(), beta.copy(), coefficients.copy()
    rate = 1.0
    for step in range(steps + 1):
        row, constant = _backward(packed, margin_row, margin_constant, known, multipliers, coefficients)
        value = supremum(ball, row, move)
        value += np.dot(row, centre) + constant
        value += SLACK * (1.0 + size_of(row) + abs(constant))
        if value < best:
            best, best_constant = value, constant
            best_row[:], best_move[:], best_coefficients[:] = row, move, coefficients
            best_alpha[:], best_beta[:] = alpha, beta
        if best < 0.0 or step == steps:
            break
        # A minimum over the multipliers of a maximum over x: at the maximiser the slopes can be read off.
        forward(packed, centre + move, known, alpha, coefficients, units)
        for i in range(total):
            free = low[i] < 0.0 and high[i] > 0.0 and coefficients[i] < 0.0
            gradients[0, i] = coefficients[i] * units[i] if free else 0.0
            gradients[1, i] = sign[i] * units[i]
        _adam(alpha, gradients[0], first[0], second[0], step, _ALPHA_RATE * rate, 1.0)
        _adam(beta, gradients[1], first[1], second[1], step, _BETA_RATE * rate, np.inf)
        rate *= _DECAY
    return best, best_row, best_constant, best_move, best_alpha, best_beta, best_coefficients
