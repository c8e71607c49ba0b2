"""What tightens: bounds of the hidden units over the part of a region where an adversarial example can still be.

Every adversarial x for the target satisfies ``a.x + c >= 0``, the margin's own linear bound. So a unit's bound
need hold only where that half-space meets the region; the multiplier of the half-space is found in one dimension
(``support.cut_suprema``). Tighter units give a tighter margin, whose bound is a tighter cut, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.propagation import Lines, backwards
from bench.certify.support import Region, cut_suprema


def first_bounds(network: PlainNetwork, region: Region) -> tuple[list[FloatArray], list[FloatArray]]:
    """Bounds of every hidden unit over a region, layer by layer.

    Returns:
        Lists of (m,) float64 low and high, slack included.
    """
    lows: list[FloatArray] = []
    highs: list[FloatArray] = []
    for stage in network.stages:
        layers = [Lines.around(low, high) for low, high in zip(lows, highs, strict=True)]
        assert isinstance(stage.weight, np.ndarray)
        rows, constants, _ = backwards(
            network, layers, np.vstack([stage.weight, -stage.weight]), np.concatenate([stage.bias, -stage.bias])
        )
        values, _ = region.suprema(rows, constants)
        lows.append(-values[len(stage.bias) :])
        highs.append(values[: len(stage.bias)])
    return lows, highs


def tighten(
    network: PlainNetwork,
    region: Region,
    cut: tuple[FloatArray, float],
    lows: Sequence[FloatArray],
    highs: Sequence[FloatArray],
    gammas: Sequence[FloatArray],
    evaluations: int = 8,
) -> bool:
    """Tighten the bounds of all unstable units with one cut, layer by layer, in place.

    Args:
        network: a dense ReLU network.
        region: where the image may be.
        cut: (inputs,) row and constant of a function that is not negative at any adversarial example.
        lows, highs: for each layer (m,) bounds, overwritten where tighter ones are found.
        gammas: for each layer (2, m), the cut's multipliers for high and low: where to start, overwritten.
        evaluations: most multipliers to try for each bound.

    Returns:
        Whether a unit's bounds crossed: then no adversarial example is left in the region.
    """
    row, constant = cut
    cut_constant = float(constant + row @ region.centre)
    layers: list[Lines] = []
    for stage, low, high, gamma in zip(network.stages, lows, highs, gammas, strict=True):
        units = np.flatnonzero((low < 0) & (high > 0))
        if len(units):
            assert isinstance(stage.weight, np.ndarray)
            weight, bias = stage.weight[units], stage.bias[units]
            rows, constants, _ = backwards(
                network, layers, np.vstack([weight, -weight]), np.concatenate([bias, -bias])
            )
            multipliers = gamma[:, units].ravel()
            values = cut_suprema(
                *region.arguments, rows, constants + rows @ region.centre, row, cut_constant, multipliers, evaluations
            )
            gamma[:, units] = multipliers.reshape(2, -1)
            high[units] = np.minimum(high[units], values[: len(units)])
            low[units] = np.maximum(low[units], -values[len(units) :])
            if (low[units] > high[units]).any():
                return True
        layers.append(Lines.around(low, high))
    return False
