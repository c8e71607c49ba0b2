"""The layout of convolutions changes how they are computed, and not what."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from adapters.layout import GreyConv2d, lay_out
from bench import data, networks


def differentiated(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    variable = images.clone().requires_grad_()
    values = network(variable)
    (gradient,) = torch.autograd.grad(values.square().sum(), variable)
    return values.detach(), gradient


@pytest.mark.parametrize("padding", [0, 2, "same"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 7])
def test_a_convolution_of_one_channel_computes_the_same(padding: int | str, bias: bool, count: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(1, 6, 3, padding=padding, bias=bias)
    laid = copy.deepcopy(plain)
    lay_out(laid)
    assert isinstance(laid, GreyConv2d) == isinstance(padding, int)
    images = torch.rand((count, 1, 8, 9))
    for ours, theirs in zip(differentiated(laid, images), differentiated(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(laid(images[0]), plain(images[0]), rtol=1e-5, atol=1e-5)  # without a batch


@pytest.mark.parametrize("name", ["CNN", "CNN_d"])
def test_shipped_networks_compute_the_same(name: str) -> None:
    plain, laid = networks.load(name), networks.load(name)
    parameters = list(laid.parameters())
    lay_out(laid)
    images, _ = data.test(5)
    for ours, theirs in zip(differentiated(laid, images), differentiated(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert all(now is before for now, before in zip(laid.parameters(), parameters, strict=True))
    assert networks.fingerprint(laid) == networks.fingerprint(plain)


def test_it_is_a_rule_and_done_once() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 3), nn.Conv2d(1, 2, 3, dilation=2), nn.ConvTranspose2d(2, 2, 3)
    )
    lay_out(network)
    strides = [parameter.stride() for parameter in network.parameters()]
    assert [isinstance(layer, GreyConv2d) for layer in network] == [True, False, False, False]
    weights = [parameter for parameter in network.parameters() if parameter.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    lay_out(network)
    assert [parameter.stride() for parameter in network.parameters()] == strides


def test_a_class_of_somebody_elses_keeps_its_forward() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return 2 * super().forward(images)

    layer = Doubled(1, 2, 3)
    lay_out(layer)
    assert type(layer) is Doubled
