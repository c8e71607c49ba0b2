"""Foolbox: the lean model is the library's to the bit."""

from __future__ import annotations

import copy

import pytest
import rows
import torch
from foolbox.models.pytorch import PyTorchModel
from torch import nn

from adapters.foolbox import attacker as foolbox_adapter
from adapters.foolbox.attacker import ATTACKER, classifier
from adapters.layout import lay_out
from bench.specs import AttackSpec

SHAPE = (1, 6, 6)
CLASSES = 4


@pytest.fixture(params=["mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(5)
    layers = {
        "mlp": lambda: [nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, CLASSES)],
        "cnn": lambda: [
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, CLASSES)
        ],
    }[request.param]()  # fmt: skip
    module = nn.Sequential(*layers).eval().requires_grad_(requires_grad=False)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.0)
    return module


def some(network: nn.Module, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    images = torch.rand((count, *SHAPE))
    return images, network(images).argmax(1)


def stock(network: nn.Module, bounds: tuple[float, float] = (0.0, 1.0)) -> PyTorchModel:
    """The library's model, on the lean one's layout, with parameters that ask for gradients as a user's do."""
    module = copy.deepcopy(network).requires_grad_()
    lay_out(module)
    return PyTorchModel(module, bounds=bounds, device="cpu")


@rows.every_attack(library="foolbox")
def test_every_row_is_the_stock_models_to_the_bit(
    row: AttackSpec, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = some(network, 3)
    short = rows.shortened(row)
    lean = ATTACKER.attack(short, network, images, labels, seed=1)
    monkeypatch.setattr(foolbox_adapter, "LeanModel", stock)
    assert torch.equal(lean, ATTACKER.attack(short, network, images, labels, seed=1))
    assert not torch.equal(lean, images)


def test_logits_and_gradients_are_the_stock_ones(network: nn.Module) -> None:
    images, _ = some(network, 5)
    sides = []
    for model in (classifier(network), stock(network)):
        variable = images.clone().requires_grad_()
        logits = model(variable)
        (gradient,) = torch.autograd.grad(logits.square().sum(), variable)
        sides.append((logits.detach(), gradient))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*sides, strict=True))


def test_a_network_in_training_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, CLASSES)).train()
    images = torch.rand((2, *SHAPE))
    model = classifier(network)
    assert torch.equal(model(images), model(images)), "dropout is off"
    assert network.training
    assert type(network[0]) is nn.Conv2d
    assert all(parameter.requires_grad for parameter in network.parameters())
