"""Passes through a network are counted per image."""

from __future__ import annotations

import torch
from torch import nn

from bench.engine.queries import CountedNetwork


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
