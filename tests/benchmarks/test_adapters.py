"""Every row of the grid as we run it and as its library alone does, in one run.

The library alone: its own classifier, its own class of the attack, and its own number of images in a call, where that
is an argument. What it cannot do without is given to it too: float32 for ART, and a start for each image. The ratios
are of processor time, the best of a few rounds that alternate between the two; the found rate and the median norm of
both stand beside them, so that speed cannot be bought with worse norms.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import foolbox
import numpy as np
import pytest
import rows
import torch
from art.estimators.classification import PyTorchClassifier
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

import suites
from adapters.art import attacker as art_attacker
from adapters.foolbox import attacker as foolbox_attacker
from adapters.layout import laid_out
from adapters.lockstep import Decisions
from bench import data, libraries, networks
from bench.norms import L0_TOLERANCE, Norm
from bench.specs import AttackSpec

ROWS = tuple(
    row
    for row in suites.load("minimal_norm").rows
    if isinstance(row, AttackSpec) and not libraries.load(row.library).ours
)
NETWORKS = ("MLP", "CNN")
ROUNDS = 3

FEWER = {
    "max_iter": 10,
    "steps": 30,
    "max_eval": 1000,
    "binary_search_steps": 2,
    "passes": 3,
    "inner_steps": 10,
    "max_queries": 200,
}
"""Steps enough to measure the cost of one; what an attack finds with them is the same for both."""

IMAGES = {"art-cw-l0": 1}
"""How many images, where it is not ten or the row's block."""

GOALS = {("art", "MLP"): 3.0, ("art", "CNN"): 2.0, ("foolbox", "MLP"): 1.2, ("foolbox", "CNN"): 2.0}
"""Geometric mean of stock over ours, for each library and network."""

SLOWEST = 0.95
"""No row may be slower than this, stock over ours."""


class AsFloat32(nn.Module):
    """The one thing ART's stock classifier needs to survive NumPy 2."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(torch.float32))
        return logits


def stock_art(
    network: nn.Module, shape: tuple[int, ...], box: tuple[float, float] = (0.0, 1.0), loss: Any = None
) -> PyTorchClassifier:
    loss = loss or nn.CrossEntropyLoss()
    return PyTorchClassifier(AsFloat32(trainable(network)), loss, shape, 10, clip_values=box, device_type="cpu")


def stock_like(given: PyTorchClassifier, model: nn.Module, *, loss: Any = None, shape: Any = None) -> PyTorchClassifier:
    return stock_art(model, shape or given.input_shape, loss=loss or given.loss)


def stock_foolbox(network: nn.Module, bounds: tuple[float, float]) -> PyTorchModel:
    return PyTorchModel(trainable(network), bounds=bounds, device="cpu")


def trainable(network: nn.Module) -> nn.Module:
    """The network as its owner has it: attackers freeze what they attack."""
    # One that waits for its answers must be the one that gets them.
    return network if isinstance(network, Decisions) else copy.deepcopy(network).requires_grad_()


def as_stock(row: AttackSpec) -> AttackSpec:
    """The row as its library alone would run it; as it is where the library has no such class."""
    if row.library == "art" and row.variant is None:
        return replace(row, params={name: value for name, value in row.params.items() if name != "batch_size"})
    module, _, name = row.target.partition(":")
    if module == "adapters.foolbox.attacks" and hasattr(foolbox.attacks, name):
        return replace(row, target=f"foolbox.attacks:{name}")
    return row


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: seconds of processor time, and what was found."""

    seconds: float
    found: float
    median: float


@pytest.fixture(scope="module")
def ratios(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], dict[str, float]]]:
    """Stock over ours by (library, network) and row; prints the table at the end and checks the goals."""
    collected: dict[tuple[str, str], dict[str, float]] = {}
    yield collected
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for (library, network), of_rows in sorted(collected.items()):
            print(f"\n{library} on {network}: processor time, stock over ours")
            for name, ratio in sorted(of_rows.items()):
                print(f"  {name:28}{ratio:6.2f}")
            print(f"  {'geometric mean':28}{mean(of_rows):6.2f}  goal {GOALS[library, network]:.2f}")
    for (library, network), of_rows in collected.items():
        if len(of_rows) == sum(row.library == library for row in ROWS):
            assert mean(of_rows) >= GOALS[library, network], (library, network)


def mean(ratios: dict[str, float]) -> float:
    return math.exp(sum(map(math.log, ratios.values())) / len(ratios))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_ours_against_stock(
    row: AttackSpec,
    name: str,
    benchmark: Any,
    ratios: dict[tuple[str, str], dict[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = replace(
        row, params={**row.params, **{k: min(n, int(str(row.params[k]))) for k, n in FEWER.items() if k in row.params}}
    )
    network = networks.load(name)
    ours, theirs = laid_out(network), copy.deepcopy(network).requires_grad_()
    images, labels = data.tensors("mnist", "test", 20)
    right = ours(images).argmax(1) == labels
    count = IMAGES.get(row.name, min(10, row.block))
    images, labels = images[right][:count], labels[right][:count]
    pool, classes = data.tensors("mnist", "train", 5000)
    starts = torch.stack([nearest(image, pool[classes != label]) for image, label in zip(images, labels, strict=True)])

    def lean() -> Tensor:
        return rows.attack(short, rows.unit(ours, images, labels, starts=starts))

    def stock() -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(art_attacker, "classifier", stock_art)
            patch.setattr(PyTorchClassifier, "like", stock_like, raising=False)
            patch.setattr(foolbox_attacker, "LeanModel", stock_foolbox)
            return rows.attack(as_stock(short), rows.unit(theirs, images, labels, starts=starts))

    lean()  # compiles what is to be compiled
    sides = compare(lean, stock, lambda candidates: judged(row.norm, ours, images, labels, candidates))
    benchmark.group = f"{row.name} on {name}"
    benchmark.pedantic(lean, rounds=1)
    ratio = sides[1].seconds / sides[0].seconds
    ratios.setdefault((row.library, name), {})[row.name] = ratio
    benchmark.extra_info |= {
        "network": name,
        "row": row.name,
        "images": len(images),
        "stock over ours": ratio,
        "found": sides[0].found,
        "found by stock": sides[1].found,
        "median": sides[0].median,
        "median of stock": sides[1].median,
    }
    assert sides[0].found >= sides[1].found - 1 / len(images)
    assert sides[0].median <= 1.1 * sides[1].median or math.isinf(sides[1].median)
    assert ratio >= SLOWEST


def compare(
    lean: Callable[[], Tensor], stock: Callable[[], Tensor], judge: Callable[[Tensor], tuple[float, float]]
) -> tuple[Side, Side]:
    sides: list[Side | None] = [None, None]
    for _ in range(ROUNDS):
        for index, run in enumerate((lean, stock)):
            begin = time.process_time()
            candidates = run()
            seconds = time.process_time() - begin
            previous = sides[index]
            sides[index] = Side(seconds if previous is None else min(seconds, previous.seconds), *judge(candidates))
    assert sides[0] is not None
    assert sides[1] is not None
    return sides[0], sides[1]


def judged(norm: Norm, network: nn.Module, images: Tensor, labels: Tensor, candidates: Tensor) -> tuple[float, float]:
    """Found rate and median norm, what is not found being infinitely far."""
    witnesses = candidates.double()
    if norm is Norm.L0:
        witnesses = torch.where((witnesses - images).abs() <= L0_TOLERANCE, images.double(), witnesses)
    with torch.no_grad():
        wrong = copy.deepcopy(network).double()(witnesses).argmax(1) != labels
    found = (wrong & ~candidates.flatten(1).isnan().any(1)).numpy()
    distances = np.where(found, norm.of((witnesses - images).nan_to_num().numpy()), np.inf)
    return float(found.mean()), float(np.quantile(distances, 0.5, method="lower"))


def nearest(image: Tensor, pool: Tensor) -> Tensor:
    """The 16 images of a pool that are nearest in L2."""
    return pool[(pool - image).flatten(1).norm(dim=1).argsort()[:16]]
