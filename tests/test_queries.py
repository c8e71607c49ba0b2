"""Passes through a network are counted per image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.engine.queries import CountedNetwork, WatchedNetwork
from bench.norms import Norm


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


def watched(norm: Norm) -> WatchedNetwork:
    return WatchedNetwork(Brightest(), IMAGES, LABELS, norm)


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
