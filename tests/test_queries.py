"""Passes through a network are counted per image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from bench.engine.queries import CountedNetwork, CurveNetwork, PointsNetwork
from bench.norms import L0_TOLERANCE, Norm
from bench.records import query_counts


def test_forward_and_backward_passes_are_counted_per_image() -> None:
    network = CountedNetwork(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).requires_grad_(requires_grad=False))
    images = torch.rand(5, 1, 2, 2)
    with torch.no_grad():
        network(images)
    assert (network.forwards, network.backwards) == (5, 0)
    inputs = images.clone().requires_grad_()
    logits = network(inputs)
    assert (network.forwards, network.backwards) == (10, 0)
    for i in range(3):
        torch.autograd.grad(logits[:, i].sum(), inputs, retain_graph=True)
    assert (network.forwards, network.backwards) == (10, 15)


def test_logits_and_gradients_are_those_of_the_network() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    network = CountedNetwork(plain)
    assert not network.training
    images = torch.rand(2, 1, 2, 2, requires_grad=True)
    assert torch.equal(network(images), plain(images))
    (counted,) = torch.autograd.grad(network(images).sum(), images)
    (bare,) = torch.autograd.grad(plain(images).sum(), images)
    assert torch.equal(counted, bare)


class Brightest(nn.Module):
    """Class 1 for images with a value above a half."""

    def forward(self, images: Tensor) -> Tensor:
        top = images.flatten(1).amax(1)
        return torch.stack([0.5 - top, top - 0.5], 1)


IMAGES = torch.tensor([[0.0, 0.0, 0.1], [0.4, 0.4, 0.4]])
LABELS = torch.zeros(2, dtype=torch.int64)


def watched(norm: Norm) -> PointsNetwork:
    return PointsNetwork(Brightest(), IMAGES, LABELS, norm)


@pytest.mark.parametrize(
    ("norm", "nearest"), [(Norm.L2, [0.45, 0.45, 0.55]), (Norm.LINF, [0.45, 0.45, 0.55]), (Norm.L0, [0.0, 0.0, 1.0])]
)
def test_the_nearest_adversarial_point_is_kept_in_the_rows_norm(norm: Norm, nearest: list[float]) -> None:
    network = watched(norm)
    for values in ([0.7, 0.7, 0.8], [0.0, 0.0, 1.0], [0.45, 0.45, 0.55], [0.9, 0.9, 0.9]):
        network(torch.stack([torch.tensor(values), IMAGES[1]]))
    expected = torch.tensor(nearest)
    assert torch.equal(network.points[0], expected)
    assert network.points[1].isnan().all(), "the clean image is of its class"
    assert network.lengths[0] == pytest.approx(norm.of((expected - IMAGES[0])[None])[0], rel=1e-6)
    assert network.lengths[1] == np.inf


def test_points_of_some_images_only_count_for_the_nearest_image() -> None:
    network = watched(Norm.L2)
    network(torch.tensor([[0.4, 0.4, 0.6]]))
    network(torch.tensor([[0.4, 0.4, 0.9], [0.0, 0.0, 0.7], [0.4, 0.4, 0.55]]))
    assert torch.equal(network.points, torch.tensor([[0.0, 0.0, 0.7], [0.4, 0.4, 0.55]]))


def test_what_leaves_the_box_or_has_no_finite_logits_is_not_kept() -> None:
    network = watched(Norm.LINF)
    network(torch.tensor([[1.5, 0.0, 0.1], [0.4, 0.4, torch.nan]]))
    assert np.isinf(network.lengths).all()


def test_a_point_that_is_changed_afterwards_stays_what_it_was() -> None:
    network = watched(Norm.LINF)
    points = torch.tensor([[0.9, 0.0, 0.1], [0.4, 0.4, 0.9]], requires_grad=True)
    logits = network(points)
    with torch.no_grad():
        points.zero_()
    assert logits.requires_grad
    assert torch.equal(network.points, torch.tensor([[0.9, 0.0, 0.1], [0.4, 0.4, 0.9]]))


def asked(norm: Norm, calls: list[Tensor]) -> CurveNetwork:
    """A network that was asked about the points of some calls."""
    network = CurveNetwork(Brightest(), IMAGES, LABELS, norm)
    for points in calls:
        before = points.clone()
        network(points)
        assert torch.equal(points, before)
        points.zero_()  # whoever asks may write into its points afterwards
    return network


def test_a_curve_holds_the_nearest_distance_after_so_many_queries_of_each_image() -> None:
    tops = [0.9, 0.3, 0.75, 0.8, 0.7, 0.6]
    calls = [torch.tensor([[0.0, 0.0, top], [0.4, 0.4, 0.4]]) for top in tops]
    network = asked(Norm.LINF, calls)
    away = (torch.tensor(tops) - IMAGES[0, 2]).double().numpy()
    expected = [away[0], away[0], away[2], away[5]]
    np.testing.assert_allclose(network.curve[:, 0], expected, rtol=1e-6)
    assert np.isinf(network.curve[:, 1]).all(), "nothing adversarial was asked about"
    assert network.forwards == 12


def test_points_of_one_call_count_up_to_the_count_that_they_reach() -> None:
    tops = (0.75, 0.72, 0.7, 0.68, 0.66, 0.64, 0.62)
    network = asked(Norm.L2, [torch.tensor([[0.0, 0.0, top] for top in tops])])
    np.testing.assert_allclose(network.curve[:, 0], [0.62, 0.58, 0.54], rtol=1e-6)


def test_of_ten_thousand_points_the_curve_is_that_of_each_looked_at_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand((3000, 3), generator=generator) * 0.7
    points[::7] += 0.6  # some leave the box
    for norm in Norm:
        curve = asked(norm, list(points.clone().split(1))).curve
        owners = ((points[:, None] - IMAGES) ** 2).sum(2).argmin(1).numpy()
        wrong = ((points.amax(1) > 0.5001) & (points <= 1).all(1)).numpy()
        changes = points.double().numpy() - IMAGES.double().numpy()[owners]
        lengths = norm.of(np.where(np.abs(changes) <= L0_TOLERANCE, 0, changes) if norm.counts else changes)
        for count, line in zip(query_counts(1500), curve, strict=True):
            early = np.arange(len(points)) < 2 * count
            for image in range(2):
                of_image = lengths[early & wrong & (owners == image)]
                assert line[image] == of_image.min(initial=np.inf)


@given(
    st.lists(st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=5), max_size=12)
)
def test_a_curve_never_rises_and_has_a_value_for_each_count(calls: list[list[list[float]]]) -> None:
    network = asked(Norm.L1, [torch.tensor(call) for call in calls])
    assert network.curve.shape == (len(query_counts(network.forwards / 2)), 2)
    assert (network.curve[1:] <= network.curve[:-1]).all()
    assert (network.curve > 0).all()


@pytest.mark.parametrize("norm", Norm)
def test_no_change_is_no_adversarial_point(norm: Norm) -> None:
    network = CurveNetwork(Brightest(), IMAGES, LABELS + 1, norm)
    network(IMAGES)
    network(IMAGES)
    assert np.isinf(network.lengths).all()
    network(IMAGES / 2)
    assert np.isfinite(network.lengths).all()


def test_calls_that_hold_no_images_count_and_are_not_looked_at() -> None:
    network = CurveNetwork(nn.Flatten(0), IMAGES, LABELS, Norm.L2)
    network(torch.rand(6, 5))
    assert np.isinf(network.curve).all()
    assert network.curve.shape == (3, 2)


def test_what_a_curve_costs_is_counted_apart_and_its_own_question_is_not() -> None:
    network = asked(Norm.L2, [torch.tensor([[0.9, 0.0, 0.1], [0.4, 0.4, 0.9]])] * 2)
    assert (network.forwards, network.backwards) == (4, 0)
    assert network.spent > 0
