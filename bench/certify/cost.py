"""What bounding one image would cost, reckoned from the sizes of a network before any memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.certify.layers import PlainNetwork
from bench.norms import Norm
from bench.problem import Unsupported

MOST_DENSE_UNITS = 4096
"""Networks of plain ReLUs with more units than this are bounded like pooled ones, without branching."""

_MOST_SECONDS, _MOST_BYTES = 600.0, 3 * 2**30

_RATE = 1e9
"""Products summed in a second, by one core of an ordinary machine."""

_ATTACK_PASSES, _RADII, _MARGIN_STEPS, _CUT_EVALUATIONS = 60 * 3, 12, 14, 8 * 16
_POOLED_ROUNDS, _PLANE_STEPS, _ROWS_AT_ONCE = 13, 60, 256


@dataclass(frozen=True, slots=True)
class Cost:
    """A rough forecast for one image.

    Attributes:
        seconds: of one core, for an attack and the bounds of one search for a radius.
        memory: bytes held at once.
    """

    seconds: float
    memory: float


def is_dense(plain: PlainNetwork) -> bool:
    """Whether the network is bounded as a dense ReLU network: by branch and bound over the signs of its units."""
    units = sum(len(stage.bias) for stage in plain.stages)
    return units <= MOST_DENSE_UNITS and all(stage.is_relu for stage in plain.stages)


def forecast(plain: PlainNetwork, norm: Norm) -> Cost:
    """What bounding one image in a norm takes at most, to within a factor of a few."""
    targets, inputs = len(plain.bias) - 1, plain.inputs
    entries = [_entries(stage.weight) for stage in plain.stages]
    every = sum(entries) + plain.weight.size
    units = sum(len(stage.bias) for stage in plain.stages)
    rows = targets if norm is not Norm.L0 else 40
    products = float(_ATTACK_PASSES * rows * every)
    memory = 8.0 * rows * (8 * inputs + 4 * units)
    if norm is Norm.L0:
        products += 8.0 * inputs * every
        memory += 8.0 * 192 * 6 * max(len(stage.bias) for stage in plain.stages) if plain.stages else 0.0
    if is_dense(plain):
        full = sum(len(stage.bias) * stage.weight.shape[1] for stage in plain.stages) + inputs
        products += _RADII * (2.0 * units * full + 2.0 * _MARGIN_STEPS * targets * full)
        products += 2.0 * _CUT_EVALUATIONS * units * inputs
        memory += 8.0 * (2 * full + 3 * 2 * units * inputs)
        return Cost(products / _RATE, memory)
    if norm is Norm.L0:
        return Cost(products / _RATE, memory)
    carried, reach = 0.0, 1.0
    for index, (stage, weights) in enumerate(zip(plain.stages, entries, strict=True)):
        columns = 0
        if index < 2 and not isinstance(stage.weight, np.ndarray):
            # Planes are fitted on the windows' patches; each member's inputs see patches in turn.
            seen = weights / max(len(stage.bias), 1)
            products += _PLANE_STEPS * stage.windows.size * seen * reach
            memory += 8.0 * 2 * stage.windows.size * seen
            reach = seen
        else:
            columns = min(2 * len(stage.bias), _ROWS_AT_ONCE)
            products += 2.0 * _POOLED_ROUNDS * 2 * len(stage.bias) * carried
        memory = max(memory, 8.0 * max(columns, targets) * (5 * stage.windows.size + 4 * len(stage.bias) + 4 * inputs))
        carried += weights
    products += 2.0 * _POOLED_ROUNDS * targets * every
    return Cost(products / _RATE, memory)


def check(plain: PlainNetwork, norm: Norm) -> None:
    """Refuse what cannot be bounded here.

    Raises:
        Unsupported: bounding one image would take too long, or too much memory.
    """
    cost = forecast(plain, norm)
    if cost.seconds <= _MOST_SECONDS and cost.memory <= _MOST_BYTES:
        return
    units = sum(len(stage.bias) for stage in plain.stages)
    weights = sum(_entries(stage.weight) for stage in plain.stages) + plain.weight.size
    what = f"{len(plain.bias) - 1:,} margins of {units:,} units and {weights:,} weights"
    raise Unsupported(
        f"no verifier for a network of this size: bounding {what} would take about {cost.seconds / 60:,.0f} minutes and "
        f"{cost.memory / 2**30:,.1f} GiB an image; at most {_MOST_SECONDS / 60:.0f} minutes and "
        f"{_MOST_BYTES / 2**30:.0f} GiB are possible"
    )


def _entries(weight: object) -> int:
    return int(weight.size if isinstance(weight, np.ndarray) else getattr(weight, "nnz", 0))
