"""Networks whose minimal distances are known exactly, to test attacks against the truth.

On a linear network the nearest image of another class lies in the half-space z_k >= z_y of some class k, so that the
minimal distance is the smallest over k of the distance to that half-space inside the box. Each is solved in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.norms import Norm

FloatArray = NDArray[np.float64]

SHAPE = (1, 8, 8)


@dataclass(frozen=True)
class Case:
    """A linear network and correctly classified images."""

    name: str
    network: nn.Sequential
    images: Tensor
    labels: Tensor

    def __str__(self) -> str:
        return self.name

    def optimum(self, norm: Norm) -> FloatArray:
        """(n,) minimal distances in a norm."""
        layer = self.network[1]
        assert isinstance(layer, nn.Linear)
        weights, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
        points = self.images.flatten(1).double().numpy()
        return np.array(
            [
                min(
                    half_space(weights[k] - weights[y], bias[k] - bias[y], x, norm)
                    for k in range(len(weights))
                    if k != y
                )
                for x, y in zip(points, self.labels.tolist(), strict=True)
            ]
        )


def half_space(normal: FloatArray, offset: float, x: FloatArray, norm: Norm) -> float:
    """The distance from ``x`` to normal . x' + offset >= 0 for x' in [0, 1]; infinite where there is no such x'.

    Args:
        normal: (d,).
        offset: a scalar.
        x: (d,) in [0, 1], outside the half-space.
        norm: L0, L2 or Linf.
    """
    missing = -(normal @ x + offset)
    room = np.where(normal > 0, 1 - x, x)  # how far each value can go in the direction that helps
    gains = np.abs(normal) * room
    if gains.sum() < missing:
        return np.inf
    if norm is Norm.L0:
        return float(np.searchsorted(np.cumsum(np.sort(gains)[::-1]), missing) + 1)
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


def case(name: str, classes: int, seed: int = 0) -> Case:
    """A random linear network, two grey images and two of black and white pixels.

    From the grey ones no end of the box is reached in L2 and Linf; from the black and white ones half of all
    directions leave it. All lie a few pixels from another class, as MNIST's do.

    Args:
        name: how tests call it.
        classes: how many logits.
        seed: of weights and images.
    """
    random = np.random.default_rng(seed)
    size = int(np.prod(SHAPE))
    weights = random.standard_normal((classes, size)) * 0.5
    layer = nn.Linear(size, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(-weights.sum(1) / 2))  # grey is on the boundary of all classes
    network = nn.Sequential(nn.Flatten(), layer).eval().requires_grad_(False)
    labels = random.integers(0, classes, 200)
    towards = weights[labels] - weights.mean(0)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    grey = 0.45 + 0.1 * random.random((100, size)) + 0.5 * towards[:100]
    extreme = np.round(np.clip(random.random((100, size)) + towards[100:], 0, 1))
    points = np.concatenate([grey, extreme])
    pixels = torch.from_numpy(points).float().view(-1, *SHAPE)
    with torch.no_grad():
        predicted = network(pixels).argmax(1)
    pool = Case(name, network, pixels, predicted)
    distance = pool.optimum(Norm.L2)
    chosen = torch.tensor([*_nearest(distance[:100], 0.6), *(100 + _nearest(distance[100:], 0.9))])
    return Case(name, network, pixels[chosen], predicted[chosen])


def _nearest(values: FloatArray, target: float) -> NDArray[np.intp]:
    """Where the two values nearest to the target are."""
    return np.argsort(np.abs(values - target))[:2]


CASES = (case("two classes", 2), case("ten classes", 10))
