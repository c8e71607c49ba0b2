"""Small random networks with an image each, points of balls, and what the verifier says of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import milp
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from bench import data, networks
from bench.certify.incumbent import Incumbent
from bench.certify.layers import PlainNetwork
from bench.certify.reading import in_double, read
from bench.certify.verifier import VERIFIER
from bench.domain import Domain
from bench.norms import FloatArray, Norm
from bench.problem import Bounds, problem
from bench.specs import Kind, VerifierSpec

NORMS = (Norm.L0, Norm.L1, Norm.L2, Norm.LINF)
GAP = 1e-4
SEEDS = st.integers(0, 2**32 - 1)
every_norm = pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.value)


def spec(norm: Norm, kind: Kind = Kind.EXACT, seconds: float = 20.0) -> VerifierSpec:
    return VerifierSpec(slug=kind.value, title=kind.value, norm=norm, kind=kind, seconds=seconds, gap=GAP)


def unit_domain(shape: tuple[int, ...], classes: int) -> Domain:
    return Domain(shape=tuple(shape), classes=classes, low=0.0, high=1.0)


def bound(
    row: VerifierSpec, network: nn.Module, images: Tensor, labels: Tensor, domain: Domain | None = None
) -> Bounds:
    """Bounds in the unit box; the domain is [0, 1] unless another is given."""
    if domain is None:
        with torch.no_grad():
            domain = unit_domain(images.shape[1:], in_double(network)(images[:1].double()).shape[1])
    return VERIFIER.bound(row, problem(network, images, labels, domain))


@dataclass(frozen=True)
class Instance:
    """A network and an image that it puts, not too far from another class, in class ``label``."""

    network: nn.Sequential
    image: Tensor
    label: int

    @property
    def centre(self) -> FloatArray:
        return self.image.double().flatten().numpy()

    @property
    def plain(self) -> PlainNetwork:
        return read(self.network, self.image[None])

    def incumbent(self, norm: Norm) -> Incumbent:
        domain = unit_domain(self.image.shape, len(self.plain.bias))
        return Incumbent(in_double(self.network), self.image, self.label, norm, domain)

    def bound(self, norm: Norm, kind: Kind = Kind.EXACT, seconds: float = 20.0) -> tuple[float, float]:
        """The certified bound and the distance of the adversarial example that came with it."""
        bounds = bound(spec(norm, kind, seconds), self.network, self.image[None], torch.tensor([self.label]))
        candidate = bounds.candidates[0].ravel()
        if np.isnan(candidate).any():
            return float(bounds.lower[0]), np.inf
        assert self.excess(candidate[None])[0] > 0
        assert candidate.min() >= 0
        assert candidate.max() <= 1
        return float(bounds.lower[0]), float(norm.of((candidate - self.centre)[None])[0])

    def excess(self, points: FloatArray) -> FloatArray:
        """How far the best other class lies above the label's, (n,)."""
        return excess(self.network, torch.from_numpy(points).reshape(-1, *self.image.shape), self.label)


def excess(network: nn.Module, inputs: Tensor, label: int) -> FloatArray:
    """How far the best other class lies above the label's, (n,), in float64."""
    with torch.no_grad():
        logits = in_double(network)(inputs.double()).numpy()
    values: FloatArray = np.delete(logits, label, axis=1).max(axis=1) - logits[:, label]
    return values


def instance(build: Callable[[], nn.Sequential], shape: tuple[int, ...], seed: int, rank: int = 100) -> Instance:
    """A random network with a random image, some of whose values are at the ends of the box.

    Of 200 images it is that of the given ``rank`` by how far the label's logit lies above the second.
    """
    torch.manual_seed(seed)
    network = build().eval().requires_grad_(False)
    images = (torch.rand(200, *shape) * 1.6 - 0.3).clamp(0, 1)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    # No class is everywhere: all have the same logit on average.
    last.bias.copy_(last.bias - network(images).mean(0))
    logits = network(images)
    first, second = logits.topk(2, dim=1).values.T
    chosen = int((first - second).argsort()[rank])
    return Instance(network, images[chosen], int(logits[chosen].argmax()))


def dense(seed: int, sizes: Sequence[int] = (6, 8, 8, 3), rank: int = 100) -> Instance:
    def build() -> nn.Sequential:
        made: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            nn.init.normal_(layer.weight, std=1.5 / np.sqrt(inputs))
            made += [layer, nn.ReLU()]
        return nn.Sequential(*made[:-1])

    return instance(build, (sizes[0],), seed, rank)


@functools.cache
def solved(seed: int, norm: Norm) -> float:
    """The minimal distance of ``dense(seed)``."""
    case = dense(seed)
    return milp.minimal_distance(case.plain, case.centre, case.label, norm)


def convolutional(seed: int, pool: type[nn.Module] = nn.MaxPool2d, *, deep: bool = False) -> Instance:
    """Like the bench's CNNs, of a size that a test can afford; ``deep`` has everything a user may bring."""

    def build() -> nn.Sequential:
        if not deep:
            return nn.Sequential(
                *(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(3, 4, 2), pool(2), nn.ReLU()),
                *(nn.Flatten(), nn.Dropout(0.4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
            )
        normal, flat = nn.BatchNorm2d(3), nn.BatchNorm1d(12)
        for layer in (normal, flat):
            for values, low, high in (
                *((layer.running_mean, -0.2, 0.2), (layer.running_var, 0.5, 2.0)),
                *((layer.weight, 0.5, 2.0), (layer.bias, -0.2, 0.2)),
            ):
                assert values is not None
                nn.init.uniform_(values, low, high)
        first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, stride=1), normal, nn.ReLU(), nn.AvgPool2d(2))
        second = nn.Sequential(nn.Conv2d(3, 3, 2, groups=3), nn.ReLU(), nn.MaxPool2d(2, stride=1, padding=1))
        third = nn.Sequential(nn.Conv2d(3, 3, 2), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.ReLU(), nn.Identity())
        return nn.Sequential(first, second, third, nn.Flatten(), flat, nn.ReLU(), nn.Linear(12, 3))

    return instance(build, (1, 8, 8), seed)


def in_ball(norm: Norm, centre: FloatArray, radius: float, count: int, seed: int = 0) -> FloatArray:
    """Random points of the ball and the box, most of them at their ends; for L0 ``radius`` values change."""
    random = np.random.default_rng(seed)
    shape = count, len(centre)
    if norm is Norm.LINF:
        moves = radius * np.where(
            random.random(shape) < 0.7, random.choice([-1.0, 1.0], shape), random.uniform(-1, 1, shape)
        )
    elif norm in {Norm.L1, Norm.L2}:
        moves = random.standard_normal(shape) * (random.random(shape) < random.random((count, 1)))
        points = np.clip(centre + moves / (norm.of(moves)[:, None] + 1e-12) * radius, 0, 1)
        moves = points - centre
    else:
        ranks = random.random(shape).argsort(axis=1).argsort(axis=1)
        ends = np.where(random.random(shape) < 0.7, random.choice([0.0, 1.0], shape), random.random(shape))
        moves = np.where(ranks < radius, ends - centre, 0.0)
    return np.clip(centre + moves, 0.0, 1.0)


INSTANCES = {
    "dense": dense(1),
    "deeper": dense(4, (10, 12, 12, 12, 4)),
    "max-pooled": convolutional(1),
    "average-pooled": convolutional(2, nn.AvgPool2d),
    "everything": convolutional(3, deep=True),
}
every_instance = pytest.mark.parametrize("case", INSTANCES.values(), ids=INSTANCES.keys())


def zoo(name: str) -> nn.Module:
    """A network of the bench."""
    return networks.load(name)


def mnist(count: int) -> tuple[Tensor, Tensor]:
    """The first images of MNIST's test split, and their labels."""
    images, labels = data.tensors(n=count)
    return images, labels
