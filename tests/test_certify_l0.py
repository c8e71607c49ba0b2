"""L0: single values, branching on values, brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from certified import convolutional, dense
from torch import nn

from bench.certify import regions
from bench.certify.dense import cuts, propagation
from bench.certify.dense.search import Bounder
from bench.certify.effort import DenseEffort
from bench.certify.l0.pixels import PixelSearch, losses
from bench.certify.l0.sweep import LineSweep
from bench.norms import Norm
from bench.specs import Kind


@pytest.mark.parametrize("seed", range(10, 16))
def test_l0_agrees_with_brute_force(seed: int) -> None:
    case = dense(seed, (8, 8, 3))
    lower, upper = case.bound(Norm.L0)
    assert lower == upper
    values = np.linspace(0, 1, 6)
    fewest = np.inf
    for count in (1, 2, 3):
        for pixels in itertools.combinations(range(8), count):
            tried = np.repeat(case.centre[None], 6**count, axis=0)
            tried[:, pixels] = np.array(list(itertools.product(values, repeat=count)))
            if (case.excess(tried) > 0).any():
                fewest = min(fewest, count)
    assert fewest < np.inf
    assert lower <= fewest


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_single_pixels_agree_with_brute_force(seed: int, pool: type[nn.Module]) -> None:
    case = convolutional(seed, pool)
    incumbent = case.incumbent(Norm.L0)
    excluded = LineSweep(case.plain).run(incumbent, lambda: True)
    values = np.linspace(0, 1, 101)
    tried = np.repeat(case.centre[None], 64 * 101, axis=0)
    tried[np.arange(64 * 101), np.repeat(np.arange(64), 101)] = np.tile(values, 64)
    found = bool((case.excess(tried) > 0).any())
    assert excluded == (not found)
    assert (incumbent.distance == 1) == found


def test_the_sweep_finds_pixels_and_excludes_them() -> None:
    """The brute force above sees both answers."""
    answers = {
        convolutional(seed, pool).bound(Norm.L0, Kind.LOWER)[0] > 1
        for seed in range(8)
        for pool in (nn.MaxPool2d, nn.AvgPool2d)
    }
    assert answers == {True, False}


@pytest.mark.parametrize("left", [0, 1, 3, 9])
@pytest.mark.parametrize("seed", range(3))
def test_parts_over_pixels_cover_the_whole(seed: int, left: int) -> None:
    case = dense(seed, (9, 12, 12, 4))
    plain = case.plain
    incumbent = case.incumbent(Norm.L0)
    bounder = Bounder(propagation.DenseNetwork.of(plain), incumbent, DenseEffort())
    random = np.random.default_rng(seed)
    whole = regions.Region.ball(Norm.L0, case.centre, float(left))
    whole.chosen[random.choice(9, 2, replace=False)] = True
    out = random.choice(np.flatnonzero(~whole.chosen))
    whole.low[out] = whole.high[out] = 0.0
    node = bounder.root((case.label + 1) % 4, 9.0, cuts.first_bounds(bounder.network, bounder.region(9.0)))
    parts = PixelSearch(bounder, [node.target]).parts(whole, node, bounder.margin(whole, node, 0))
    for _ in range(300):
        others = np.flatnonzero(~whole.chosen)
        moved = np.append(np.flatnonzero(whole.chosen), random.permutation(others)[: random.integers(0, left + 1)])
        move = np.zeros(9)
        move[moved] = random.uniform(whole.low[moved], whole.high[moved])
        assert any(
            ((move >= part.low) & (move <= part.high)).all() and np.count_nonzero(move[~part.chosen]) <= part.radius
            for part in parts
        )


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_what_is_lost_without_a_pixel_is_a_difference_of_suprema(count: int) -> None:
    random = np.random.default_rng(count)
    centre, rows, weights = random.uniform(0, 1, 9), random.normal(size=(5, 9)), random.uniform(0, 1, 5)
    region = regions.Region.ball(Norm.L0, centre, float(count))
    region.chosen[3] = True
    whole, _ = region.suprema(rows, np.zeros(5))
    found = losses(region, rows, weights)
    for pixel in np.flatnonzero(~region.chosen):
        less = replace(region, low=region.low.copy(), high=region.high.copy())
        less.low[pixel] = less.high[pixel] = 0.0
        without, _ = less.suprema(rows, np.zeros(5))
        assert found[pixel] == pytest.approx(weights @ (whole - without), abs=1e-9)
    assert found[3] == 0
