"""The judge against attackers that lie, return nonsense, or leave the box."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from fakes import LinearNetwork
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.domain import Domain
from bench.judge import BATCH, Judge
from bench.norms import L0_TOLERANCE, Norm
from bench.records import Status

SHAPE = (1, 2, 2)
DOMAIN = Domain(shape=SHAPE, classes=2, low=0.0, high=1.0, channel_axis=0)


@pytest.fixture
def judge() -> Judge:
    return Judge(LinearNetwork(threshold=1.0), DOMAIN)


def images(*values: float) -> Tensor:
    return torch.stack([torch.full(SHAPE, value) for value in values])


def test_an_adversarial_candidate_is_measured_in_every_norm(judge: Judge) -> None:
    candidate = torch.tensor([[[[0.5, 0.75], [0.0, 0.0]]]])
    (judgement,) = judge.judge(images(0.0), [0], candidate)
    assert judgement.status is Status.FOUND
    assert judgement.adversarial_class == 1
    assert judgement.distances == pytest.approx(
        {Norm.L0: 2, Norm.L1: 1.25, Norm.L2: math.hypot(0.5, 0.75), Norm.LINF: 0.75}
    )


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(images(0.0), id="the clean image"),
        pytest.param(images(0.1), id="not adversarial"),
        pytest.param(images(0.25), id="exactly on the boundary"),
    ],
)
def test_what_is_not_adversarial_is_not_found(judge: Judge, lie: Tensor) -> None:
    (judgement,) = judge.judge(images(0.0), [0], lie)
    assert judgement.status is Status.NOT_FOUND
    assert set(judgement.distances.values()) == {math.inf}
    assert judgement.candidate is None


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        (torch.full((1, *SHAPE), math.nan), "4 of 4 values are not finite"),
        (torch.full((1, *SHAPE), math.inf), "4 of 4 values are not finite"),
        (images(1.25), r"left the box \[0, 1\] by up to 0.25 at 4 of 4 values"),
        (images(-0.5), r"left the box \[0, 1\] by up to 0.5"),
        (torch.ones(1, 4), r"shape \(1, 4\), not \(1, 1, 2, 2\)"),
        (torch.ones(3, *SHAPE), r"shape \(3, 1, 2, 2\)"),
        (None, r"shape \(\)"),
        ("adversarial", "str"),
    ],
)
def test_nonsense_is_invalid_with_its_reason(judge: Judge, nonsense: object, reason: str) -> None:
    (judgement,) = judge.judge(images(0.0), [0], nonsense)
    assert judgement.status is Status.INVALID
    assert re.search(reason, judgement.message)


def test_rounding_at_the_box_is_forgiven_and_judged_inside(judge: Judge) -> None:
    (judgement,) = judge.judge(images(0.0), [0], images(1.0 + 5e-7))
    assert judgement.status is Status.FOUND
    assert judgement.candidate is not None
    assert judgement.candidate.max() == 1.0
    assert judgement.distances[Norm.LINF] == 1.0


def test_one_bad_candidate_does_not_spoil_its_neighbours(judge: Judge) -> None:
    candidates = torch.cat([images(0.5), torch.full((1, *SHAPE), math.nan), images(0.5)])
    judgements = judge.judge(images(0.0, 0.0, 0.0), [0, 0, 0], candidates)
    assert [j.status for j in judgements] == [Status.FOUND, Status.INVALID, Status.FOUND]


def test_l0_puts_back_small_changes_when_the_image_stays_adversarial(judge: Judge) -> None:
    small = L0_TOLERANCE / 2
    candidate = torch.tensor([[[[0.6, 0.6], [small, small]]]])
    (judgement,) = judge.judge(images(0.0), [0], candidate)
    assert judgement.distances[Norm.L0] == 2


def test_l0_counts_small_changes_that_make_it_adversarial(judge: Judge) -> None:
    small = L0_TOLERANCE / 2
    candidate = torch.tensor([[[[0.5, 0.5], [small, 0.0]]]])
    (judgement,) = judge.judge(images(0.0), [0], candidate)
    assert judgement.status is Status.FOUND
    assert judgement.distances[Norm.L0] == 3


class NanNetwork(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.where(images.flatten(1)[:, :2] > 0.5, math.nan, images.flatten(1)[:, :2])


def test_logits_that_are_not_finite_are_never_adversarial() -> None:
    judge = Judge(NanNetwork(), DOMAIN)
    (judgement,) = judge.judge(images(0.0), [0], images(0.9))
    assert judgement.status is Status.INVALID
    assert "not finite" in judgement.message
    (decision,) = judge.decide(images(0.9), [0])
    assert not decision.finite
    assert not decision.wrong


def test_the_network_given_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    judge = Judge(network, DOMAIN)
    first, second = (judge.decide(images(0.3, 0.7), [0, 1]) for _ in range(2))
    assert first == second
    assert network.training
    assert all(parameter.dtype is torch.float32 and parameter.requires_grad for parameter in network.parameters())


@given(seed=st.integers(0, 1000), size=st.integers(1, 40))
def test_decisions_do_not_depend_on_the_batch(seed: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(4, 3)
    network = nn.Sequential(nn.Flatten(), linear)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        # Two classes with the same weights: every decision between them is a tie, up to rounding.
        linear.weight[2] = linear.weight[1]
        linear.bias[2] = linear.bias[1]
    judge = Judge(network, DOMAIN)
    batch = torch.rand(size, *SHAPE, generator=generator)
    labels = torch.arange(size) % 3
    together = [(d.predicted, d.wrong) for d in judge.decide(batch, labels)]
    alone = [(d.predicted, d.wrong) for i in range(size) for d in judge.decide(batch[i : i + 1], labels[i : i + 1])]
    assert together == alone


def test_more_images_than_a_batch(judge: Judge) -> None:
    many = torch.zeros(2 * BATCH + 1, *SHAPE)
    judgements = judge.judge(many, np.zeros(len(many), dtype=int), many + 0.5)
    assert {j.status for j in judgements} == {Status.FOUND}
    assert len(judgements) == len(many)


BOXES = [
    Domain(shape=SHAPE, classes=2, low=0.0, high=255.0, channel_axis=0),
    Domain(shape=SHAPE, classes=2, low=-1.0, high=2.0, channel_axis=0),
    Domain(shape=SHAPE, classes=2, low=(0.0, 1.0, -3.0, 5.0), high=(1.0, 5.0, -3.0, 50.0)),
]


class Behind(nn.Module):
    """The linear network of the unit box, of another domain."""

    def __init__(self, domain: Domain) -> None:
        super().__init__()
        self.network = LinearNetwork(threshold=1.0)
        self.low, self.width = (
            torch.from_numpy(np.broadcast_to(end, SHAPE).copy()) for end in (domain.ends[0], domain.width)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network((inputs - self.low) / self.width)
        return logits


@pytest.mark.parametrize("domain", BOXES, ids=lambda domain: f"{domain.low} to {domain.high}")
def test_a_candidate_is_judged_in_the_units_and_the_box_of_its_domain(domain: Domain) -> None:
    judge = Judge(Behind(domain), domain)
    low, high = (np.broadcast_to(end, SHAPE) for end in domain.ends)
    clean = low[None].astype(np.float32)
    moved = np.array([[[[0.75, 0.5], [0.0, 0.0]]]])
    candidate = low + (high - low) * moved
    (judgement,) = judge.judge(clean, [0], candidate)
    assert judgement.status is Status.FOUND
    unit = {Norm.L0: 2, Norm.L1: 1.25, Norm.L2: math.hypot(0.5, 0.75), Norm.LINF: 0.75}
    expected = {norm: value * domain.scale(norm) for norm, value in unit.items()}
    assert judgement.distances == pytest.approx(expected, rel=1e-6)
    assert judgement.pixels == 2
    (outside,) = judge.judge(clean, [0], candidate - 2e-3 * domain.width)
    assert outside.status is Status.INVALID
    assert "left" in outside.message
    (rounded,) = judge.judge(clean, [0], candidate - 5e-7 * domain.width * (moved == 0))
    assert rounded.distances[Norm.L0] == 2


def test_a_pixel_counts_once_for_all_its_channels() -> None:
    domain = Domain(shape=(3, 2, 2), classes=2, low=0.0, high=1.0, channel_axis=0)
    judge = Judge(LinearNetwork(threshold=1.0), domain)
    candidate = np.zeros((1, 3, 2, 2), dtype=np.float32)
    candidate[0, :, 0, 0] = 0.5
    candidate[0, 1, 1, 1] = 0.25
    (judgement,) = judge.judge(np.zeros_like(candidate), [0], candidate)
    assert (judgement.distances[Norm.L0], judgement.pixels) == (4, 2)
