"""Tighten bounds of hidden units with the margin cut: only where an adversarial example can still be do they have to hold.

Every adversarial x for the target satisfies ``a.x + c >= 0``, the margin's own linear bound. So a unit's bound
need hold only where that half-space meets the region; the multiplier of the half-space is found in one dimension
(:func:`bench.certify.regions.cut_suprema`). Tighter units give a tighter margin, whose bound is a tighter cut, and so on.
"""

from __future__ import annotations

import numpy as np

from bench.certify.dense.propagation import DenseNetwork, Lines, backwards
from bench.certify.layers import FloatArray
from bench.certify.regions import BoolArray, Region, cut_suprema


def first_bounds(network: DenseNetwork, region: Region) -> tuple[FloatArray, FloatArray]:
    """Bounds of every hidden unit over a region, layer by layer.

    Returns:
        (N,) float64 low and high, slack included.
    """
    low, high = np.empty_like(network.bias), np.empty_like(network.bias)
    layers: list[Lines] = []
    for weight, units in zip(network.weights, network.layers, strict=True):
        bias = network.bias[units]
        rows, constants = backwards(network, layers, np.vstack([weight, -weight]), np.concatenate([bias, -bias]))
        values, _ = region.suprema(rows, constants)
        high[units], low[units] = values[: len(bias)], -values[len(bias) :]
        layers.append(Lines.around(low[units], high[units]))
    return low, high


def tighten(
    network: DenseNetwork,
    region: Region,
    cut: tuple[FloatArray, float],
    low: FloatArray,
    high: FloatArray,
    gamma: FloatArray,
    useful: BoolArray,
    evaluations: int = 8,
) -> bool:
    """Tighten the bounds of unstable units with one cut, layer by layer, in place.

    Args:
        network: the network.
        region: where the image may be.
        cut: (inputs,) row and constant of a function that is not negative at any adversarial example.
        low, high: (N,) bounds, overwritten where tighter ones are found.
        gamma: (2, N) the cut's multipliers for high and for low: where to start, overwritten.
        useful: (N,) the units to look at.
        evaluations: maximum multipliers to try for each bound.

    Returns:
        Whether a unit's bounds crossed: then no adversarial example is left in the region.
    """
    row, constant = cut
    cut_constant = float(constant + row @ region.centre)
    layers: list[Lines] = []
    for weight, units in zip(network.weights, network.layers, strict=True):
        unstable = (low[units] < 0) & (high[units] > 0)
        free = np.flatnonzero(unstable & useful[units])
        if len(free):
            at = units.start + free
            rows, constants = backwards(
                network,
                layers,
                np.vstack([weight[free], -weight[free]]),
                np.concatenate([network.bias[at], -network.bias[at]]),
            )
            multipliers = gamma[:, at].ravel()
            values = cut_suprema(
                region.arguments, rows, constants + rows @ region.centre, row, cut_constant, multipliers, evaluations
            )
            gamma[:, at] = multipliers.reshape(2, -1)
            high[at] = np.minimum(high[at], values[: len(free)])
            low[at] = np.maximum(low[at], -values[len(free) :])
            if (low[at] > high[at]).any():
                return True
        layers.append(Lines.around(low[units], high[units]))
    return False
