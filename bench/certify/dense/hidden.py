"""Bounds of hidden units by branch and bound of their own, over the signs of the units before them.

A unit of a second or later hidden layer is a small network itself, whose margin is the unit. Its linear bound is loose
by what the chords of earlier units cost at the point where it is largest; splitting those units one after the other, up
to a thousand parts for each bound, removes about half of that. All parts together hold every image, so the largest of their
bounds is valid whatever was split. The bounds serve a whole search: every node inherits them from its root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from bench.certify.dense.propagation import DenseNetwork, Multipliers, Packed, Units, best_margin, excesses, forward
from bench.certify.layers import FloatArray, IntArray
from bench.certify.regions import BoolArray, Region, jit

_FIRST_STEPS, _STEPS = 6, 1
"""Steps of Adam for the whole region, and for each part of it, which starts from the multipliers of what it is part of."""

_TINY = 1e-9
"""A cut whose row is no larger than this is not scaled."""


def strengthen(
    network: DenseNetwork,
    region: Region,
    cut: tuple[FloatArray, float],
    known: Units,
    useful: BoolArray,
    parts: int,
    going: Callable[[], bool] = lambda: True,
) -> bool:
    """Bound unstable units of the second and later hidden layers by branching, layer by layer, in place.

    Args:
        network: the network.
        region: where the image may be.
        cut: (inputs,) row and constant of a function that is not negative at any adversarial example.
        known: of the units; bounds are overwritten where tighter ones are found.
        useful: (N,) the units to look at.
        parts: into how many parts the region may be split for each bound.
        going: asked before each unit whether there is time for it.

    Returns:
        Whether a unit's bounds crossed: then no adversarial example is left in the region.
    """
    low, high, _ = known
    for index in range(1, len(network.layers)):
        units = network.layers[index]
        unstable = units.start + np.flatnonzero((useful & (low < 0) & (high > 0))[units])
        before = _Before.layer(network, index, cut, known)
        for unit in unstable:
            if not going():
                break
            row = np.zeros(before.packed.sizes[-1])
            row[: len(before.last)] = network.weights[index][unit - units.start, before.last]
            bias = network.bias[unit]
            upper, lower = _branched(
                before.packed, region.centre, np.vstack([row, -row]), np.array([bias, -bias]),
                before.known, region.arguments, parts,
            )  # fmt: skip
            high[unit], low[unit] = min(high[unit], upper), max(low[unit], -lower)
            if low[unit] > high[unit]:
                return True
    return False


@dataclass(frozen=True, slots=True)
class _Before:
    """The layers before one, without units that are always 0; the cut is one more unit of the first, known to be active.

    The multiplier beta of its sign is then the cut's multiplier.

    Attributes:
        packed: the layers.
        known: of their units.
        last: which units of the last layer are left.
    """

    packed: Packed
    known: Units
    last: IntArray

    @classmethod
    def layer(
        cls,
        network: DenseNetwork,
        index: int,
        cut: tuple[FloatArray, float],
        known: Units,
    ) -> Self:
        """The layers before that of an index."""
        low, high, sign = known
        lives = [np.flatnonzero(high[units] > 0) for units in network.layers[:index]]
        kept = np.concatenate([units.start + live for units, live in zip(network.layers, lives, strict=False)])
        # A cut of the size of the unit's own rows has a multiplier of the size of weights.
        size = float(np.abs(cut[0]).sum())
        scale = float(np.abs(network.weights[0]).sum(axis=1).mean()) / size if size > _TINY else 1.0
        weights = [np.vstack([network.weights[0][lives[0]], scale * cut[0]])]
        for weight, columns, rows in zip(network.weights[1:index], lives, lives[1:], strict=False):
            weights.append(np.zeros((len(rows), weights[-1].shape[0])))
            weights[-1][:, : len(columns)] = weight[np.ix_(rows, columns)]
        place = len(lives[0])
        packed = Packed(
            np.concatenate([weight.ravel() for weight in weights]),
            np.array([network.plain.inputs, *(len(weight) for weight in weights)], dtype=np.int64),
            np.insert(network.bias[kept], place, scale * cut[1]),
        )
        units = Units(
            np.insert(low[kept], place, 0.0), np.insert(high[kept], place, np.inf), np.insert(sign[kept], place, 1)
        )
        return cls(packed, units, lives[-1])


@jit
def _branched(packed, centre, rows, constants, known, ball, parts):  # type: ignore[no-untyped-def]  # compiled
    """Upper bounds of ``row . relu(z) + constant`` over a region, slack included: the largest of its parts."""
    low, high, sign = known
    total = len(low)
    values, bounds = np.empty(len(rows)), np.empty(parts)
    signs, splits = np.zeros((parts, total), dtype=np.int8), np.empty(parts, dtype=np.int64)
    alphas, betas = np.empty((parts, total)), np.empty((parts, total))
    part_low, part_high, units = np.empty(total), np.empty(total), np.empty(total)
    for r in range(len(rows)):
        signs[0], betas[0], bounds[0] = sign, 0.0, np.inf
        for i in range(total):
            alphas[0, i] = 1.0 if high[i] > -low[i] else 0.0
        worst, count, steps = 0, 1, _FIRST_STEPS
        while True:
            for at in (worst, count - 1):
                for i in range(total):
                    part_low[i] = max(low[i], 0.0) if signs[at, i] > 0 else low[i]
                    part_high[i] = min(high[i], 0.0) if signs[at, i] < 0 else high[i]
                part = Units(part_low, part_high, signs[at])
                start = Multipliers(alphas[at], betas[at])
                value, _, _, move, alpha, beta, coefficients = best_margin(
                    packed, centre, rows[r], constants[r], part, start, ball, steps
                )
                alphas[at], betas[at], bounds[at] = alpha, beta, min(bounds[at], value)
                forward(packed, centre + move, part, alpha, coefficients, units)
                # The unit whose line is furthest from the ReLU there; none where all are exact.
                excess = excesses(part, alpha, coefficients, units)
                splits[at] = np.argmax(excess) if excess.max() > 0.0 else -1
                if count == 1:
                    break
            worst = int(np.argmax(bounds[:count]))
            if count == parts or bounds[worst] < 0.0 or splits[worst] < 0:
                break
            # The two halves of a part: one takes its place, the other is new.
            signs[count], alphas[count], betas[count] = signs[worst], alphas[worst], betas[worst]
            bounds[count] = bounds[worst]
            signs[worst, splits[worst]], signs[count, splits[worst]] = 1, -1
            count, steps = count + 1, _STEPS
        values[r] = bounds[worst]
    return values
