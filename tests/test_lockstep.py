"""Attacks side by side: each image's candidate is the one that it gets alone, whatever runs beside it."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import rows
import torch
from torch import Tensor, nn

from adapters import lockstep
from bench import data, networks
from bench.engine.queries import CountedNetwork
from bench.problem import Problem
from bench.specs import Access, AttackSpec, Coupling

every_row = rows.every_attack(twice=False, only=lambda row: row.coupling is Coupling.LOCKSTEP)


class Grey(nn.Module):
    """Small smooth network on 3 x 5 images, with an odd number of values."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = nn.Parameter(torch.randn(15, 12, generator=generator), requires_grad=False)
        self.second = nn.Parameter(torch.randn(12, 4, generator=generator), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh((images.flatten(1) - 0.5) @ self.first) @ self.second


class Another(nn.Module):
    """Rounds otherwise in every batch, as far as float32 may; counts the images of each batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.sizes: list[int] = []
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        logits: Tensor = self.network(images)
        return logits * (1 + 1e-6 * torch.tensor([1.0, -1.0, 1.0, -1.0]) * (len(images) % 7 - 3) / 3)


def synthetic(network: nn.Module, count: int) -> Problem:
    images = torch.rand(40, 1, 3, 5, generator=torch.Generator().manual_seed(1))
    labels = network(images).argmax(1)
    starts = torch.stack([images[labels != label][:4] for label in labels])
    return rows.unit(network, images[:count], labels[:count], starts=starts[:count], seed=5)


def together(row: AttackSpec, given: Problem, *parts: list[int]) -> Tensor:
    """The candidates of all images, attacked in parts."""
    found = torch.full_like(given.images, torch.nan)
    for part in parts:
        found[part] = torch.as_tensor(rows.attacker(row).attack(row, given.select(torch.tensor(part))))
    return found


@every_row
def test_candidates_depend_on_no_other_image(row: AttackSpec) -> None:
    row = rows.shortened(row)
    given = synthetic(Another(Grey().eval()), 7)
    alone = together(row, given, *([i] for i in range(7)))
    assert not torch.equal(alone, given.images)
    for parts in ([[0, 1, 2], [3, 4, 5], [6]], [[0, 1, 2, 3, 4, 5, 6]], [[6, 2, 4, 0, 5, 1, 3]]):
        assert torch.equal(together(row, given, *parts), alone)


@pytest.mark.parametrize("name", ["MLP", "CNN"])
@every_row
def test_the_same_on_real_networks(row: AttackSpec, name: str) -> None:
    row = rows.shortened(row)
    network = networks.load(name)
    images, labels = data.tensors("mnist", "test", 9)
    right = network(images).argmax(1) == labels
    images, labels = images[right][:5], labels[right][:5]
    pool, classes = data.tensors("mnist", "train", 200)
    starts = torch.stack([pool[classes != label][:4] for label in labels])
    given = rows.unit(network, images, labels, starts=starts)
    alone = together(row, given, [0], [1], [2], [3], [4])
    assert torch.equal(together(row, given, [3, 1, 4, 0, 2]), alone)
    with torch.no_grad():
        assert (network.double()(alone.double()).argmax(1) != labels).all()
        network.float()


@every_row
def test_what_the_process_draws_is_left_alone(row: AttackSpec) -> None:
    given = synthetic(Grey().eval(), 3)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002 - what libraries draw from
    np.random.randn()  # noqa: NPY002 - its second number waits
    generator = np.random.mtrand.get_bit_generator()
    states = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()  # noqa: NPY002
    rows.attacker(row).attack(rows.shortened(row), given)
    assert random.getstate() == states[0]
    assert np.random.mtrand.get_bit_generator() is generator
    np.testing.assert_equal(np.random.get_state(legacy=False), states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.is_grad_enabled()


def test_queries_share_forward_passes() -> None:
    network = Another(Grey().eval())
    counted = CountedNetwork(network)
    given = dataclasses.replace(synthetic(network, 8), network=counted)
    network.sizes.clear()

    def attack(part: Problem, begin: Tensor | None) -> int:
        assert begin is None
        with torch.no_grad():
            for points in (2, 3):
                assert part.network(part.images.expand(points, -1, -1, -1)).argmax(1).eq(part.labels).all()
            part.network(part.images.expand(lockstep.SMALL + 1, -1, -1, -1))
        return int(part.labels)

    assert lockstep.run(given, None, attack) == given.labels.tolist()
    assert network.sizes == [1] * 8 + [16, 24] + [lockstep.SMALL + 1] * 8
    assert counted.forwards == 8 * (1 + 2 + 3 + lockstep.SMALL + 1)


def test_a_decision_in_doubt_is_asked_again_alone() -> None:
    network = Another(Threshold().eval())
    given = rows.unit(network, torch.zeros(3, 1, 1, 2), torch.zeros(3, dtype=torch.int64))
    network.sizes.clear()

    def attack(part: Problem, _: Tensor | None) -> list[bool]:
        # The threshold is at 0.5 + 1e-5 / 2 of the first value.
        points = torch.tensor([0.4, 0.6, 0.5 + 0.52e-5]).view(3, 1, 1, 1).expand(3, 1, 1, 2)
        return [bool(part.network(point.unsqueeze(0)).argmax() != part.labels) for point in points]

    assert lockstep.run(given, None, attack) == [[False, True, True]] * 3
    assert network.sizes == [1, 1, 1, 3, 3, 3, 1, 1, 1]


class Threshold(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        first = images[:, 0, 0, :1]
        return torch.cat([1 - first, first, first * 0 - 1, first * 0 - 1], 1)


def test_an_error_ends_all_and_leaves_the_process_as_it_was() -> None:
    given = synthetic(Grey().eval(), 4)
    ended: list[Any] = []

    def attack(part: Problem, _: Tensor | None) -> Tensor:
        try:
            with torch.no_grad():
                for step in range(3):
                    part.network(part.images)
                    if step == 1 and torch.equal(part.images, given.images[2:3]):
                        raise ZeroDivisionError("this image")
        finally:
            ended.append(part)
        return part.images

    generator = np.random.mtrand.get_bit_generator()
    with pytest.raises(ZeroDivisionError, match="this image"):
        lockstep.run(given, None, attack)
    assert len(ended) == 4
    assert torch.is_grad_enabled()
    assert np.random.mtrand.get_bit_generator() is generator
    # The next call knows nothing of it, as when the engine tries the images one by one.
    assert torch.equal(lockstep.run(given.select(slice(0, 1)), None, attack)[0], given.images[:1])


def test_logits_that_are_not_finite_are_not_adversarial() -> None:
    class Holes(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            first = images[:, 0, 0, :1]
            return torch.cat([1 - first, first], 1).where(first < 0.8, torch.nan)

    given = rows.unit(Holes().eval(), torch.zeros(2, 1, 1, 2), torch.zeros(2, dtype=torch.int64))

    def attack(part: Problem, _: Tensor | None) -> list[int]:
        points = torch.tensor([0.6, 0.9]).view(2, 1, 1, 1).expand(2, 1, 1, 2)
        return [int(found) for found in part.network(points).argmax(1)]

    assert lockstep.run(given, None, attack) == [[1, 0]] * 2


def test_decisions_need_a_run() -> None:
    given = synthetic(Grey().eval(), 1)
    with pytest.raises(RuntimeError, match="outside"):
        lockstep.Decisions(given)(given.images)


@every_row
def test_lockstep_is_for_attacks_that_see_decisions(row: AttackSpec) -> None:
    assert row.method.access is Access.DECISION
