"""Nearest points and proximal steps, against closed forms, solvers and the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.paper import projections
from adapters.paper.attacks import PDPGD
from bench.norms import Norm
from bench.testing import closed_form

seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@settings(max_examples=60, deadline=None)
@given(seed=seeds, digits=st.integers(0, 3), part=st.floats(0.01, 0.99), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_the_nearest_point_of_a_hyperplane_in_the_box(
    norm: str, seed: int, digits: int, part: float, scale: float
) -> None:
    random = np.random.default_rng(seed)
    start = np.round(random.random((3, 12)), digits)
    normal = random.standard_normal((3, 12)) * (random.random((3, 12)) < 0.8) * scale
    needed = part * np.maximum(normal * (1 - start), -normal * start).sum(1)
    points = projections.on_hyperplane(
        torch.from_numpy(start), torch.from_numpy(normal), torch.from_numpy(needed), norm
    ).numpy()
    assert points.min() >= 0
    assert points.max() <= 1
    assert ((points - start) * normal).sum(1) == pytest.approx(needed, rel=1e-6, abs=1e-12)
    for row in range(3):
        least = closed_form.half_space(normal[row], -normal[row] @ start[row] - needed[row], start[row], Norm(norm))
        assert Norm(norm).of(points - start)[row] == pytest.approx(least, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_hyperplane_out_of_reach_gives_the_corner_and_one_without_normal_the_point(norm: str) -> None:
    start = torch.tensor([[0.2, 0.8, 0.5], [0.2, 0.8, 0.5]])
    normal = torch.tensor([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    points = projections.on_hyperplane(start, normal, torch.tensor([9.0, 1.0]), norm)
    torch.testing.assert_close(points, torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.8, 0.5]]))


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
@settings(max_examples=40, deadline=None)
@given(seed=seeds, weight=st.floats(1e-3, 3.0))
def test_a_proximal_step_is_a_minimum(norm: str, seed: int, weight: float) -> None:
    random = np.random.default_rng(seed)
    points = torch.from_numpy(random.standard_normal((2, 8)))
    weights = torch.full((2,), weight, dtype=torch.float64)

    def value(r: torch.Tensor) -> torch.Tensor:
        size = r.abs().pow(2 / 3).sum(1) if norm == "l0" else projections.length(r, norm)
        return (r - points).square().sum(1) / 2 + weight * size

    least = projections.proximal(points, weights, norm)
    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            tried = least + scale * torch.from_numpy(random.standard_normal((2, 8)))
            assert (value(least) <= value(tried) + 1e-6).all()
            sparse = torch.where(torch.from_numpy(random.random((2, 8)) < 0.3), 0.0, tried)
            assert (value(least) <= value(sparse) + 1e-6).all()
            assert (value(least) <= value((1 - scale) * least) + 1e-6).all()
    assert (value(least) <= value(torch.zeros_like(points)) + 1e-6).all()


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@settings(max_examples=20, deadline=None)
@given(seed=seeds, weight=st.floats(1e-3, 0.3), spread=st.floats(0.0, 0.7))
def test_many_inner_steps_of_pdpgd_end_at_the_minimum_in_the_metric(
    norm: str, seed: int, weight: float, spread: float
) -> None:
    random = np.random.default_rng(seed)
    points = torch.from_numpy(random.uniform(-0.4, 0.4, (2, 8)))
    metric = torch.from_numpy(np.exp(spread * random.standard_normal((2, 8))))
    attack = PDPGD(norm=norm, inner=2000)
    weights = torch.full((2,), weight, dtype=torch.float64)
    least = attack._proximal(torch.full_like(points, 0.5), points, metric, weights)

    def value(r: torch.Tensor) -> torch.Tensor:
        return (metric * (r - points).square()).sum(1) / 2 + weight * projections.length(r, norm)

    for scale in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            tried = least + scale * torch.from_numpy(random.standard_normal((2, 8)))
            sparse = torch.where(torch.from_numpy(random.random((2, 8)) < 0.3), 0.0, tried)
            for other in (tried, sparse, (1 - scale) * least):
                assert (value(least) <= value(other) + 1e-6).all()


def test_a_value_of_small_gradient_moves_in_few_inner_steps() -> None:
    images, target, metric = torch.full((1, 2), 0.5), torch.tensor([[0.3, 0.3]]), torch.tensor([[1e-3, 1.0]])
    weights = torch.tensor([0.02])
    few, many = (PDPGD(norm="l1", inner=n)._proximal(images, target, metric, weights) for n in (5, 20_000))
    assert few[0].tolist() == pytest.approx([0.2, 0.28], abs=1e-3)
    assert many[0].tolist() == pytest.approx([0.0, 0.28], abs=1e-3), "its minimum is at 0"


@settings(max_examples=60, deadline=None)
@given(seed=seeds, radius=st.floats(0.0, 6.0), digits=st.integers(0, 3))
def test_the_nearest_change_of_ball_and_box(seed: int, radius: float, digits: int) -> None:
    random = np.random.default_rng(seed)
    images = torch.from_numpy(np.round(random.random((2, 9)), digits))
    changes = torch.from_numpy(np.round(random.standard_normal((2, 9)), digits))
    for norm in ("l1", "l2", "linf"):
        inside = projections.in_ball(images, changes, torch.full((2,), radius, dtype=torch.float64), norm)
        assert (projections.length(inside, norm) <= radius + 1e-9).all()
        assert ((images + inside).clamp(0, 1) - images - inside).abs().max() < 1e-12
        if norm == "l2":
            continue
        # No other change of both lies nearer: the way there leads away from the one given (the projection theorem).
        for _ in range(20):
            other = (images + torch.from_numpy(random.standard_normal((2, 9)))).clamp(0, 1) - images
            other *= (radius / projections.length(other, norm).clamp(min=1e-9)).clamp(max=1).unsqueeze(1)
            assert (((changes - inside) * (other - inside)).sum(1) <= 1e-9).all()


def test_a_change_in_ball_and_box_is_kept() -> None:
    images, changes = torch.full((1, 3), 0.5), torch.tensor([[0.1, -0.2, 0.0]])
    for norm in ("l1", "l2", "linf"):
        torch.testing.assert_close(projections.in_ball(images, changes, torch.tensor([0.4]), norm), changes)


@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_a_direction_keeps_the_values_that_can_move_along_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = torch.from_numpy(np.round(random.random((3, 8)), 0 if seed % 2 else 2))
    direction = torch.from_numpy(random.standard_normal((3, 8)) * (random.random((3, 8)) < 0.8))
    expected = ((points + 1e-9 * direction).clamp(0, 1) == points) & (direction != 0)
    assert torch.equal(projections.leaves_box(points, direction), expected)
