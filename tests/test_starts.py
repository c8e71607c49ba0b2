"""Starting points, and the seeds of everything that is drawn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import rows
import torch
from torch import Tensor, nn

from adapters import starts
from adapters.seeding import derived, seeded
from bench.problem import Problem
from bench.specs import Start


class Bright(nn.Module):
    """Class 1 for images whose mean is above a half, else class 0."""

    def forward(self, images: Tensor) -> Tensor:
        excess = images.flatten(1).mean(1) - 0.5
        return torch.stack([-excess, excess], 1)


def given(offered: list[float], seed: int = 0) -> Problem:
    """Two dark images of class 0, each with grey images to start from."""
    images = torch.full((2, 3, 4), 0.2)
    pool = torch.tensor(offered).view(1, -1, 1, 1).repeat(2, 1, 3, 4)
    return rows.unit(Bright().eval(), images, torch.zeros(2, dtype=torch.int64), starts=pool, seed=seed)


def found(start: Start, problem: Problem) -> Tensor:
    points = starts.points(start, problem)
    assert points is not None
    assert points.shape == problem.images.shape
    return points


def test_the_first_adversarial_one_that_is_offered_is_the_nearest() -> None:
    points = found(Start.NEAREST, given([0.1, 0.4, 0.3, 0.2, 0.45, 0.6, 0.9]))
    assert (points == 0.6).all()


def test_noise_stands_in_for_the_nearest_and_the_other_way_round() -> None:
    for problem in (given([0.1, 0.2]), given([])):
        points = found(Start.NEAREST, problem)
        assert torch.equal(points, found(Start.NOISE, problem))
        assert (Bright()(points).argmax(1) == 1).all()
        assert set(points.unique().tolist()) <= {0.0, 1.0, points.new_tensor(0.2).item()}

    class Grey(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            extreme = ((images - 0.5).abs() - 0.45).flatten(1).amax(1)
            bright = images.flatten(1).mean(1) - 0.5
            return torch.stack([torch.zeros_like(bright), torch.where(extreme < 0, bright, -1.0)], 1)

    problem = rows.unit(Grey().eval(), torch.full((1, 5), 0.2), torch.tensor([0]), starts=torch.full((1, 1, 5), 0.7))
    assert (found(Start.NOISE, problem) == 0.7).all(), "no noise is adversarial"


def test_the_image_itself_needs_none() -> None:
    assert starts.points(Start.IMAGE, given([0.9])) is None


def test_no_start_is_said_and_the_others_are_found() -> None:
    problem = given([0.9])
    problem.starts[1] = 0.1

    class Never(Bright):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return torch.where((images.flatten(1).std(1) > 1e-6).unsqueeze(1), logits.new_tensor([1.0, 0.0]), logits)

    points = found(Start.NEAREST, rows.unit(Never().eval(), problem.images, problem.labels, starts=problem.starts))
    assert starts.found(points).tolist() == [True, False]


def test_noise_depends_on_the_seed_and_the_image_alone() -> None:
    first = found(Start.NOISE, given([], seed=1))
    torch.manual_seed(5)
    assert torch.equal(first, found(Start.NOISE, given([], seed=1)))
    assert torch.equal(first[:1], found(Start.NOISE, given([], seed=1).select(slice(0, 1))))
    assert not torch.equal(first, found(Start.NOISE, given([], seed=2)))


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the global state is what is tested


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**32 + 5])
def test_a_seed_decides_and_what_was_before_goes_on(seed: int) -> None:
    with seeded(99):
        expected = drawn(), drawn()
    with seeded(99):
        before = drawn()
        with seeded(seed):
            first = drawn()
        with seeded(seed):
            assert drawn() == first
        assert (before, drawn()) == expected


def test_the_state_is_put_back_when_an_attack_raises() -> None:
    with seeded(99):
        expected = drawn()
    with seeded(99):
        with pytest.raises(ZeroDivisionError), seeded(1):
            _ = 1 / 0
        assert drawn() == expected


def test_derived_seeds_differ_by_content() -> None:
    seeds = {derived(seed, content) for seed in range(20) for content in (b"", b"a", b"b")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert derived(3, b"x") == derived(3, b"x")
