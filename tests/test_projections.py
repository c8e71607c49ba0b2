"""Nearest points and proximal steps, against closed forms, solvers and the definition."""

from __future__ import annotations

import closed_form
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.paper import projections
from bench.norms import Norm

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
    points = projections.on_hyperplane(*map(torch.from_numpy, (start, normal, needed)), norm).numpy()
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
