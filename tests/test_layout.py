"""The layout of convolutions changes how they are computed, and not what; the network itself stays as it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adapters.layout import GreyConv2d, laid_out
from bench import networks


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
    laid = laid_out(plain)
    assert isinstance(laid, GreyConv2d) == isinstance(padding, int)
    images = torch.rand((count, 1, 8, 9))
    for ours, theirs in zip(differentiated(laid, images), differentiated(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(laid(images[0]), plain(images[0]), rtol=1e-5, atol=1e-5)  # without a batch


@pytest.mark.parametrize("name", ["CNN", "CNN_d"])
def test_shipped_networks_compute_the_same(name: str) -> None:
    plain = networks.load(name)
    laid = laid_out(plain)
    assert any(isinstance(layer, GreyConv2d) for layer in laid.modules())
    images = torch.rand((5, 1, 28, 28))
    for ours, theirs in zip(differentiated(laid, images), differentiated(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3))


def test_the_network_itself_is_left_alone() -> None:
    network = small().train()
    printed, state = repr(network), copy.deepcopy(network.state_dict())
    laid = laid_out(network)
    assert not laid.training
    assert not any(parameter.requires_grad for parameter in laid.parameters())
    assert repr(network) == printed
    assert network.training
    assert type(network[0]) is nn.Conv2d
    assert network[0].weight.is_contiguous()
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())
    images = torch.rand((2, 1, 8, 8))
    torch.func.vmap(torch.func.grad(lambda image: network.eval()(image[None])[0, 0]))(images)
    torch.export.export(network, (images,))


def test_it_is_a_rule() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 1, 3), nn.Conv2d(1, 2, 3, dilation=2), nn.ConvTranspose2d(2, 2, 3)
    )
    laid = laid_out(network)
    assert isinstance(laid, nn.Sequential)
    assert [isinstance(layer, GreyConv2d) for layer in laid] == [True, False, False, False]
    weights = [parameter for parameter in laid.parameters() if parameter.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_a_layer_that_occurs_twice_stays_one() -> None:
    layer = nn.Conv2d(1, 1, 3)
    laid = laid_out(nn.Sequential(layer, nn.ReLU(), layer))
    assert isinstance(laid, nn.Sequential)
    assert laid[0] is laid[2]
    assert isinstance(laid[0], GreyConv2d)


class Doubled(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


def hooked() -> nn.Conv2d:
    layer = nn.Conv2d(1, 2, 3)
    layer.register_forward_hook(lambda _, __, features: 2 * features)
    return layer


def parametrised() -> nn.Conv2d:
    layer: nn.Conv2d = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3))
    return layer


@pytest.mark.parametrize("make", [lambda: Doubled(1, 2, 3), hooked, parametrised], ids=["class", "hook", "weight norm"])
def test_what_its_owner_changed_stays_as_it_is(make: Callable[[], nn.Conv2d]) -> None:
    layer = make()
    laid = laid_out(nn.Sequential(layer))
    assert isinstance(laid, nn.Sequential)
    assert type(laid[0]).__name__ == type(layer).__name__
    images = torch.rand((2, 1, 5, 5))
    torch.testing.assert_close(laid(images), layer(images))


def test_a_network_that_cannot_be_copied_is_taken_as_it_is() -> None:
    network = small()
    vars(network)["lock"] = threading.Lock()
    assert laid_out(network) is network
