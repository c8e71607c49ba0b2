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

_RATE, _MATRIX_RATE = 1e9, 1e10
"""Products summed in a second, by one core of an ordinary machine; and where large matrices are multiplied."""

MOST_GAPS = 16_000_000
"""The most gaps that are kept of the lines of single values, two numbers each, where pairs are excluded."""

_MOST_MOVED = 32_000_000
"""Of one stage, the most pairs of a value and a unit that it can move."""

_ATTACK_PASSES, _RADII, _MARGIN_STEPS, _CUT_EVALUATIONS = 60 * 3, 12, 14, 8 * 16
_POOLED_ROUNDS, _PLANE_STEPS, _ROWS_AT_ONCE = 13, 60, 256
_L0_ROWS = 40

_BYTES_OF_ENTRY, _COPIES = 12, 5
"""What a number of a sparse matrix takes: a float64 and its column; and how often it is kept: transposed, and by its sign."""

_BYTES_OF_MOVED, _BYTES_OF_GAP = 20, 16


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
    memory = 8.0 * rows * (8 * inputs + 4 * units) + _COPIES * _BYTES_OF_ENTRY * every
    if norm is Norm.L0:
        products += 8.0 * inputs * every
        memory += 8.0 * 192 * 6 * max(len(stage.bias) for stage in plain.stages) if plain.stages else 0.0
    if is_dense(plain):
        return _dense(plain, products, memory)
    if norm is Norm.L0:
        return Cost(products / _RATE, memory + _pairs(plain))
    return _pooled(plain, entries, products, memory)


def _dense(plain: PlainNetwork, products: float, memory: float) -> Cost:
    """With the bounds of a dense network, every unit's carried back to the image at every radius."""
    inputs, units = plain.inputs, sum(len(stage.bias) for stage in plain.stages)
    carried, multiplied = 0, 0.0
    for stage in plain.stages:
        multiplied += 2.0 * _RADII * len(stage.bias) * carried
        carried += len(stage.bias) * stage.weight.shape[1]
    full = carried + inputs
    products += 2.0 * _RADII * _MARGIN_STEPS * (len(plain.bias) - 1) * full
    products += 2.0 * _CUT_EVALUATIONS * units * inputs
    memory += 8.0 * (2 * full + 3 * 2 * units * inputs)
    return Cost(products / _RATE + multiplied / _MATRIX_RATE, memory)


def _pooled(plain: PlainNetwork, entries: list[int], products: float, memory: float) -> Cost:
    """With the bounds of windows, of the units behind them and of the margins."""
    targets, inputs = len(plain.bias) - 1, plain.inputs
    carried, reach, kept, held = 0.0, 1.0, 0.0, 0.0
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
        # Every row has lines of its own in all stages before, and room to compute in.
        held = max(
            held, 8.0 * max(columns, targets) * (kept + 3 * stage.windows.size + 2 * len(stage.bias) + 4 * inputs)
        )
        kept += 2 * stage.windows.size + 3 * len(stage.bias) + 3 * len(stage.windows)
        carried += weights
    products += 2.0 * _POOLED_ROUNDS * targets * sum(entries, plain.weight.size)
    return Cost(products / _RATE, memory + max(held, 8.0 * targets * kept))


def _pairs(plain: PlainNetwork) -> float:
    """Bytes of what pairs of values are excluded with: what each value moves, and the gaps on its line."""
    moved, gaps, reach = 0.0, 0.0, 1.0
    for stage in plain.stages:
        reach = min(reach * _entries(stage.weight) / max(len(stage.bias), 1), float(plain.inputs))
        moved += min(len(stage.bias) * reach, _MOST_MOVED) + min(len(stage.windows) * reach, _MOST_MOVED)
        gaps += 2 * stage.windows.size * reach
    return _BYTES_OF_MOVED * moved + _BYTES_OF_GAP * min(gaps, MOST_GAPS)


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
    layers, classes = _layers(network, images[:1])
    entries = sum(weights for _, weights in layers)
    products = float(_ATTACK_PASSES * (_L0_ROWS if norm is Norm.L0 else classes - 1) * entries)
    if norm is not Norm.L0 and sum(units for units, _ in layers[:-1]) > MOST_DENSE_UNITS:
        carried = np.cumsum([0, *(weights for _, weights in layers)])
        products += sum(
            4.0 * _POOLED_ROUNDS * units * carried[at] for at, (units, _) in enumerate(layers[:-1]) if at > 1
        )
    seconds, memory = products / _RATE, float(_COPIES * _BYTES_OF_ENTRY * entries)
    if seconds > _MOST_SECONDS or memory > _MOST_BYTES:
        raise _too_large(f"{classes - 1:,} margins of layers that are matrices of {entries:,} numbers", seconds, memory)


def _layers(network: nn.Module, image: Tensor) -> tuple[list[tuple[int, int]], int]:
    """How many numbers each convolution and linear layer gives, and its matrix has; and how many classes there are."""
    found: list[tuple[int, int]] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]  # of a layer that is known
        found.append((output.numel(), output.numel() * (weight.numel() // len(weight))))

    try:
        copied = guard.copied(network)
        for layer in copied.modules():
            if type(layer) in (nn.Conv2d, nn.Linear):
                layer.register_forward_hook(count)
        with torch.no_grad():
            classes = int(copied(image.clone()).shape[1])
    except Exception:
        return [], 1
    return found, classes


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
