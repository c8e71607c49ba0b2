"""Foolbox: the lean model is the library's to the bit, and changes nothing of the network."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import rows
import torch
from foolbox.attacks import LinfPGD
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from adapters import foolbox_model
from adapters.foolbox import attacker as foolbox_attacker
from adapters.foolbox.attacker import ATTACKER
from adapters.layout import laid_out
from adapters.lockstep import Decisions
from bench.specs import AttackSpec

SHAPE = (1, 6, 6)
CLASSES = 4
BOX = (0.0, 1.0)


@pytest.fixture(params=["mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(5)
    layers = {
        "mlp": lambda: [nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, CLASSES)],
        "cnn": lambda: [
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, CLASSES)
        ],
    }[request.param]()  # fmt: skip
    module = nn.Sequential(*layers).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.0)
    return module


def some(network: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    images = torch.rand((count, *SHAPE))
    return images, network(images).argmax(1)


def stock(network: nn.Module, bounds: tuple[float, float] = BOX, **options: Any) -> PyTorchModel:
    """The library's model, with parameters that ask for gradients as a user's do."""
    # One that waits for its answers must be the one that gets them.
    own = network if isinstance(network, Decisions) else copy.deepcopy(network).requires_grad_()
    return PyTorchModel(own, bounds=bounds, device="cpu", **options)


@rows.every_attack(only=lambda row: row.library == "foolbox", twice=False)
def test_every_row_is_the_stock_models_to_the_bit(
    row: AttackSpec, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = rows.unit(laid_out(network), *some(network, 3))
    # FMN in L1 finds too little in a few steps to compare.
    short = row if row.name == "foolbox-fmn-l1" else rows.shortened(row)
    lean = ATTACKER.attack(short, problem)
    monkeypatch.setattr(foolbox_attacker, "LeanModel", stock)
    assert torch.equal(lean, ATTACKER.attack(short, problem))
    assert not torch.equal(lean, problem.images)


PREPROCESSING = [
    None,
    {"mean": 0.3},
    {"mean": [0.3], "std": [0.5], "axis": -3},
    {"mean": np.float32(0.3), "std": 2.0},
    {"flip_axis": -1},
    {"std": 0.5, "flip_axis": -2},
]


@pytest.mark.parametrize("preprocessing", PREPROCESSING, ids=str)
@pytest.mark.parametrize("bounds", [None, (0, 255), (-1.0, 1.0), (0, 1)], ids=str)
@pytest.mark.parametrize("way", [{}, {"inplace": True}, {"wrapper": True}], ids=str)
def test_logits_and_gradients_are_the_stock_ones(
    network: nn.Module, preprocessing: Any, bounds: tuple[float, float] | None, way: dict[str, bool]
) -> None:
    if preprocessing is not None:
        preprocessing = {
            key: torch.tensor(value) if key in ("mean", "std") else value for key, value in preprocessing.items()
        }
    images, _ = some(network, 5)
    sides = []
    for model in (
        foolbox_model(network, box=BOX, preprocessing=preprocessing),
        stock(network, preprocessing=preprocessing),
    ):
        given = model if bounds is None else model.transform_bounds(bounds, **way)
        assert tuple(given.bounds) == (BOX if bounds is None else bounds)
        low, high = given.bounds
        variable = (low + (high - low) * images).requires_grad_()
        logits = given(variable)
        (gradient,) = torch.autograd.grad(logits.square().sum(), variable)
        sides.append((logits.detach(), gradient))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*sides, strict=True))
    assert sides[0][0].shape == (5, CLASSES)


def test_it_has_what_the_librarys_has(network: nn.Module) -> None:
    ours, theirs = foolbox_model(network, box=(0, 255), device="cpu"), stock(network, (0, 255))
    assert isinstance(ours, PyTorchModel)
    assert (ours.bounds, ours.device, ours.data_format) == (theirs.bounds, theirs.device, theirs.data_format)
    assert type(ours.dummy) is type(theirs.dummy)
    assert ours.dummy.shape == theirs.dummy.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preprocessing": {"mena": 0.5}}, "unknown preprocessing key"),
        ({"preprocessing": {"mean": 0.5, "axis": 1}}, "axis"),
        ({"device": "meta"}, "the network is on cpu, and the model is to be on meta; move the network there first"),
    ],
)
def test_what_cannot_be_is_refused(network: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        foolbox_model(network, box=BOX, **options)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the network is a builtin_function_or_method; it must be a torch\.nn\.Module"
    ):
        foolbox_model(torch.relu, box=BOX)  # type: ignore[arg-type]  # what is tested


def test_it_can_be_pickled(network: nn.Module) -> None:
    model = foolbox_model(network, box=BOX)
    images, _ = some(network, 2)
    assert torch.equal(pickle.loads(pickle.dumps(model))(images), model(images))


def test_an_attack_leaves_no_gradients_behind(network: nn.Module) -> None:
    images, labels = some(network, 3)
    network.train()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    LinfPGD(steps=2)(foolbox_model(network, box=BOX), images, labels, epsilons=0.1)
    assert network.training
    assert all(p.requires_grad and p.grad is not None and bool((p.grad == 1).all()) for p in network.parameters())
