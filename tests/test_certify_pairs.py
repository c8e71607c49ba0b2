"""L0, pairs of values: brute force, bounds at sampled points, other boxes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from certified import Instance, bound, convolutional, instance, spec
from torch import nn

from bench.certify.l0.lines import at_image
from bench.certify.l0.pairs import PairSearch, Rectangles, _Bounder
from bench.certify.l0.sweep import LineSweep
from bench.certify.l0.wiring import wire
from bench.domain import Domain
from bench.norms import FloatArray, Norm


def small(seed: int) -> Instance:
    """A pooled network of 25 values, some of its units dead and some tied, with an image that is far from other classes."""
    pool = nn.AvgPool2d if seed % 4 == 3 else nn.MaxPool2d

    def build() -> nn.Sequential:
        first = nn.Conv2d(1, 3, 2)
        if seed % 2:
            with torch.no_grad():
                assert first.bias is not None
                first.weight[1], first.bias[1] = first.weight[0], first.bias[0]
                first.bias[2] -= 20.0
        layers: list[nn.Module] = [first, nn.MaxPool2d(2, stride=1 + seed % 2), nn.ReLU(), nn.Conv2d(3, 4, 2), pool(1)]
        outputs = 4 * (2 if seed % 2 == 0 else 1) ** 2
        return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(outputs, 5), nn.ReLU(), nn.Linear(5, 3))

    return instance(build, (1, 5, 5), seed, rank=80 + 12 * (seed % 10))


def tried(case: Instance, count: int, values: FloatArray) -> FloatArray:
    """All images in which a number of values is one of those given."""
    grid = np.array(list(itertools.product(values, repeat=count)))
    points = []
    for pixels in itertools.combinations(range(len(case.centre)), count):
        points.append(np.repeat(case.centre[None], len(grid), axis=0))
        points[-1][:, pixels] = grid
    return np.concatenate(points)


def between(seed: int, above: float) -> Instance:
    """A case whose label is moved: 0 puts it where a single value suffices on a grid, 1 where a pair does."""
    case = small(seed)
    grid = np.linspace(0, 1, 11)
    one, two = (case.excess(tried(case, count, grid)).max() for count in (1, 2))
    last = case.network[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[case.label] += one + above * (two - one)
    return Instance(case.network, case.image, case.label)


@pytest.mark.parametrize("above", [0.5, 0.9, 1.15])
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5, 6, 8, 10, 12])
def test_pairs_agree_with_brute_force(seed: int, above: float) -> None:
    case = between(seed, above)
    incumbent = case.incumbent(Norm.L0)
    assert LineSweep(case.plain).run(incumbent, lambda: True)
    excluded = PairSearch(case.plain).run(incumbent, lambda: True)
    assert excluded == (above > 1)
    assert incumbent.distance == (np.inf if excluded else 2)


@pytest.mark.parametrize("case", [*(small(seed) for seed in range(6)), convolutional(1), convolutional(3, deep=True)])
def test_bounds_hold_at_sampled_points_and_close_on_narrow_rectangles(case: Instance) -> None:
    plain, centre = case.plain, case.centre
    wiring = wire(plain)
    assert wiring is not None
    bounder = _Bounder(wiring, at_image(plain, wiring, centre, case.label))
    random = np.random.default_rng(0)
    pixels = np.array([random.choice(len(centre), 2, replace=False) for _ in range(300)])
    for width in (1.0, 0.3, 1e-6):
        ends = np.stack([centre[pixels], random.random((300, 2)).round(1)])
        low, high = ends.min(axis=0), ends.max(axis=0)
        middle = low + random.random((300, 2)) * (high - low)
        low, high = middle - width * (middle - low), middle + width * (high - middle)
        found = bounder.bounds(Rectangles(pixels, low, high))
        for _ in range(30):
            points = np.repeat(centre[None], 300, axis=0)
            part = random.choice([0.0, 1.0, 0.5, random.random()], (300, 2))
            points[np.arange(300)[:, None], pixels] = low + part * (high - low)
            assert (case.excess(points) <= found).all()
    # The last ones are nearly points: the bound is the margin.
    assert case.excess(points) == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize("missing", [0.9, 1.1])
def test_one_pair_of_windows_among_many(missing: float) -> None:
    """Only a value of each of two windows together raise the margin by 1, every other pair by 3/4 at most."""
    convolution, last = nn.Conv2d(1, 1, 1), nn.Linear(16, 2)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        last.weight.zero_()
        last.weight[1] = 0.25
        last.weight[1, 3] = last.weight[1, 9] = 0.5
        assert convolution.bias is not None
        convolution.bias.zero_()
        last.bias.copy_(torch.tensor([missing, 0.0]))
    network = nn.Sequential(convolution, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), last).eval().requires_grad_(False)
    case = Instance(network, torch.zeros(1, 8, 8), 0)
    lower, upper = case.bound(Norm.L0)
    assert lower == (2 if missing < 1 else 3)
    assert (upper == 2) == (missing < 1)


@pytest.mark.parametrize("seed", [0, 4, 9])
def test_pairs_in_another_box(seed: int) -> None:
    """The same network on a box of other units has the same bounds."""
    case = small(seed)
    low, high = -3.0, 5.0
    inner = case.network[0]
    assert isinstance(inner, nn.Conv2d)
    expected = case.bound(Norm.L0)
    with torch.no_grad():
        assert inner.bias is not None
        inner.bias += (inner.weight * (-low / (high - low))).sum(dim=(1, 2, 3))
        inner.weight /= high - low
    domain = Domain(shape=case.image.shape, classes=3, low=low, high=high)
    image = (low + (high - low) * case.image)[None]
    bounds = bound(spec(Norm.L0), case.network, image, torch.tensor([case.label]), domain)
    assert bounds.lower[0] == expected[0]


def test_a_search_that_is_stopped_excludes_nothing() -> None:
    """However early."""
    case = small(0)
    search = PairSearch(case.plain)
    asked = 0

    def going() -> bool:
        nonlocal asked
        asked += 1
        return asked <= allowed

    for allowed in range(0, 45, 11):
        asked = 0
        excluded = search.run(case.incumbent(Norm.L0), going)
        assert not excluded or asked <= allowed
