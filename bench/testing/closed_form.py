"""Networks whose minimal distances are known exactly, to test attacks against the truth.

On a linear network the nearest image of another class lies in the half-space z_k >= z_y of some class k, so that the
minimal distance is the smallest over k of the distance to that half-space inside the box. Each is solved in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.domain import Domain
from bench.norms import Norm
from bench.problem import Problem, problem

FloatArray = NDArray[np.float64]

SHAPE = (1, 8, 8)


@dataclass(frozen=True)
class Case:
    """A linear network and correctly classified inputs of its domain.

    Attributes:
        name: how tests call it.
        domain: of the inputs.
        network: of inputs in the domain's box.
        inputs: (n, *shape) float32.
        labels: (n,) int64.
        weights, bias: (classes, d) and (classes,) of the same network in the unit box.
    """

    name: str
    domain: Domain
    network: nn.Sequential
    inputs: Tensor
    labels: Tensor
    weights: FloatArray
    bias: FloatArray

    def __str__(self) -> str:
        return self.name

    @property
    def images(self) -> Tensor:
        """The inputs in the unit box, (n, *shape) float32."""
        return torch.from_numpy(self.domain.to_unit(self.inputs.numpy())).float()

    def problem(self, seed: int = 0) -> Problem:
        """What an attacker is given: copies, so that one that changes them spoils no other's."""
        network = copy.deepcopy(self.network)
        return problem(network, self.inputs.clone(), self.labels.clone(), self.domain, seed=seed)

    def optimum(self, norm: Norm) -> FloatArray:
        """(n,) minimal distances in a norm, in the units of the domain's distances."""
        points = self.domain.to_unit(self.inputs.numpy()).reshape(len(self.inputs), -1)
        nearest = [
            min(
                half_space(self.weights[k] - self.weights[y], self.bias[k] - self.bias[y], x, norm)
                for k in range(len(self.weights))
                if k != y
            )
            for x, y in zip(points, self.labels.tolist(), strict=True)
        ]
        return np.array(nearest) * self.domain.scale(norm)


def half_space(normal: FloatArray, offset: float, x: FloatArray, norm: Norm) -> float:
    """The distance from ``x`` to normal . x' + offset >= 0 for x' in [0, 1]; infinite where there is no such x'.

    Args:
        normal: (d,).
        offset: a scalar.
        x: (d,) in [0, 1], outside the half-space.
        norm: any.
    """
    missing = -(normal @ x + offset)
    room = np.where(normal > 0, 1 - x, x)  # how far each value can go in the direction that helps
    gains = np.abs(normal) * room
    if gains.sum() < missing:
        return np.inf
    if norm is Norm.L0:
        return float(np.searchsorted(np.cumsum(np.sort(gains)[::-1]), missing) + 1)
    if norm is Norm.L1:
        # What gains most for its length goes first, the last one a part of its way.
        order = np.argsort(-np.abs(normal))
        gained = np.cumsum(gains[order])
        last = int(np.searchsorted(gained, missing))
        rest = missing - (gained[last - 1] if last else 0.0)
        return float(room[order][:last].sum() + rest / np.abs(normal)[order][last])
    # The change is |d_i| = min(room_i, t |w_i|) in L2 (the KKT conditions) and min(room_i, t) in Linf. Its gain is
    # piecewise linear and increasing in t, with kinks where a value reaches the end of the box.
    slope = np.abs(normal) if norm is Norm.L2 else np.ones_like(normal)
    kinks = np.sort(np.divide(room, slope, out=np.zeros_like(room), where=slope > 0))
    gain_at = np.array([(np.abs(normal) * np.minimum(room, kink * slope)).sum() for kink in kinks])
    after = int(np.searchsorted(gain_at, missing))
    low, gain_low = (kinks[after - 1], gain_at[after - 1]) if after else (0.0, 0.0)
    t = low + (missing - gain_low) / (gain_at[after] - gain_low) * (kinks[after] - low)
    change = np.minimum(room, t * slope)
    return float(np.linalg.norm(change) if norm is Norm.L2 else change.max())


def case(
    name: str,
    classes: int,
    *,
    shape: tuple[int, ...] = SHAPE,
    low: float | Sequence[float] = 0.0,
    high: float | Sequence[float] = 1.0,
    channel_axis: int | None = 0,
    seed: int = 0,
) -> Case:
    """A random linear network, two inputs amid the box and two at its ends.

    From the middle no end of the box is reached in L2 and Linf; from the ends half of all directions leave it. All lie
    a few values from another class, as MNIST's images do.

    Args:
        name: how tests call it.
        classes: how many logits.
        shape, low, high, channel_axis: of the domain.
        seed: of weights and inputs.
    """
    random = np.random.default_rng(seed)
    ends: Any = {"low": low, "high": high}  # a domain takes any sequence
    domain = Domain(shape=shape, classes=classes, channel_axis=channel_axis, **ends)
    size = domain.size
    weights = random.standard_normal((classes, size)) * 0.5
    bias = -weights.sum(1) / 2  # the middle of the box is on the boundary of all classes
    labels = random.integers(0, classes, 200)
    towards = weights[labels] - weights.mean(0)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    grey = 0.45 + 0.1 * random.random((100, size)) + 0.5 * towards[:100]
    extreme = np.round(np.clip(random.random((100, size)) + towards[100:], 0, 1))
    points = np.concatenate([grey, extreme]).clip(0, 1)

    start, width = (np.broadcast_to(end, shape).ravel() for end in (domain.ends[0], domain.width))
    layer = nn.Linear(size, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights / width))
        layer.bias.copy_(torch.from_numpy(bias - weights @ (start / width)))
    network = nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)
    # The truth is that of the float32 weights.
    weights = layer.weight.double().numpy() * width
    bias = layer.bias.double().numpy() + layer.weight.double().numpy() @ start
    inputs = torch.from_numpy(domain.checked((start + width * points).reshape(-1, *shape)))
    with torch.no_grad():
        predicted = network(inputs).argmax(1)
    pool = Case(name, domain, network, inputs, predicted, weights, bias)
    distance = pool.optimum(Norm.L2) / domain.scale(Norm.L2)
    chosen = torch.tensor([*_nearest(distance[:100], 0.6), *(100 + _nearest(distance[100:], 0.9))])
    return Case(name, domain, network, inputs[chosen], predicted[chosen], weights, bias)


def _nearest(values: FloatArray, target: float) -> NDArray[np.intp]:
    """Where the two values nearest to the target are."""
    return np.argsort(np.abs(values - target))[:2]


CASES = (case("two classes", 2), case("ten classes", 10))
"""In the unit box."""

BOXES = (
    case("grey levels", 2, shape=(3, 4, 4), low=0.0, high=255.0),
    case(
        "features",
        3,
        shape=(30,),
        low=[-3.0] * 10 + [0.0] * 10 + [1e3] * 10,
        high=[5.0] * 10 + [1.0] * 10 + [9e3] * 10,
        channel_axis=None,
    ),
)
"""In boxes of their own, the second one's inputs no images."""
