"""What bounding one image would cost, reckoned from the sizes of a network before any memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench import guard
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
_L0_ROWS = 40

_BYTES_OF_ENTRY = 12
"""What a number of a sparse matrix takes: a float64 and its column."""


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
    rows = targets if norm is not Norm.L0 else _L0_ROWS
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


def check_size(network: nn.Module, images: Tensor, norm: Norm) -> None:
    """Refuse a network that is too large by far before it is read: its matrices alone would take gigabytes.

    Args:
        network: (n, *shape) images to (n, classes) logits; what cannot be called is left for the reading to refuse.
        images: (n, *shape), n at least 1; one of them goes through a copy of the network.
        norm: that is to be bounded.

    Raises:
        Unsupported: its convolutions and linear layers, written as matrices, are more than can be kept, or more than
            can be gone through in time.
    """
    entries, classes = _entries_of_layers(network, images[:1])
    seconds = _ATTACK_PASSES * (_L0_ROWS if norm is Norm.L0 else classes - 1) * entries / _RATE
    memory = _BYTES_OF_ENTRY * entries
    if seconds > _MOST_SECONDS or memory > _MOST_BYTES:
        raise _too_large(f"{classes - 1:,} margins of layers that are matrices of {entries:,} numbers", seconds, memory)


def _entries_of_layers(network: nn.Module, image: Tensor) -> tuple[int, int]:
    """How many numbers the matrices of all convolutions and linear layers have, and how many classes there are."""
    found: list[int] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]  # of a layer that is known
        found.append(output.numel() * (weight.numel() // len(weight)))

    try:
        copied = guard.copied(network)
        for layer in copied.modules():
            if type(layer) in (nn.Conv2d, nn.Linear):
                layer.register_forward_hook(count)
        with torch.no_grad():
            classes = int(copied(image.clone()).shape[1])
    except Exception:
        return 0, 1
    return sum(found), classes


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
    raise _too_large(what, cost.seconds, cost.memory)


def _too_large(what: str, seconds: float, memory: float) -> Unsupported:
    return Unsupported(
        f"no verifier for a network of this size: bounding {what} would take about {seconds / 60:,.0f} minutes and "
        f"{memory / 2**30:,.1f} GiB an image; at most {_MOST_SECONDS / 60:.0f} minutes and "
        f"{_MOST_BYTES / 2**30:.0f} GiB are possible"
    )


def _entries(weight: object) -> int:
    return int(weight.size if isinstance(weight, np.ndarray) else getattr(weight, "nnz", 0))
