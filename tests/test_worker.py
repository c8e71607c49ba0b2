"""One task: what becomes of bounds, of rows that cannot run, of calls that are cut, and of a network that changed."""

from __future__ import annotations

from dataclasses import replace

import fakes
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import suites
from adapters import own
from bench import data, networks
from bench.engine import worker
from bench.engine.images import Images
from bench.engine.plan import Plan
from bench.engine.task import Expected, Task
from bench.errors import NetworkError
from bench.networks.spec import NetworkSpec
from bench.norms import Norm
from bench.records import Status
from bench.specs import AttackSpec, Row, Suite

MNIST = data.find("mnist")


def task(row: Row, samples: int, spec: NetworkSpec | None = None) -> Task:
    """The first block of a row on MNIST's first test images."""
    spec = spec or NetworkSpec("MLP")
    made = Plan(
        suite=Suite(name="one", description="", rows=(row,), samples=samples),
        rows=(row,),
        holes=(),
        networks=(spec,),
        indices=tuple(range(samples)),
        seed=0,
        time_limit=60.0,
    )
    expected = Expected(networks.source(spec).identity(MNIST.domain))
    return Images(MNIST, "test", made).task(made.blocks()[0], "cpu", expected)


def row(name: str) -> Row:
    (found,) = suites.rows(name=name)
    return found


def test_records_hold_bounds_and_the_examples_that_a_verifier_found() -> None:
    part = worker.run(task(row("certify-lower-linf"), 2))
    for record in part.records:
        assert record.status is Status.FOUND
        assert 0.5 * record.distances[Norm.LINF] < record.lower <= record.distances[Norm.LINF]
        assert part.candidates[record.image].shape == (1, 28, 28)


class Squared(nn.Module):
    """A network that no verifier here reads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = networks.load("MLP")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images.square().sqrt())
        return logits


class Returns:
    """An attack that sees the negative of each image, at two lengths, and returns the farther one, or none."""

    def __init__(self, kept: bool) -> None:
        self.kept = kept

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        for part in (0.9, 1.0):
            network(images + part * (1 - 2 * images))
        return 1 - images if self.kept else images


@pytest.mark.parametrize("kept", [True, False])
def test_the_nearest_point_that_the_network_saw_is_judged_and_is_no_candidate(kept: bool) -> None:
    own.LIVE["live:returns-linf"] = Returns(kept)
    part = worker.run(task(own.row("live:returns-linf", norm="linf"), 4))
    negatives = [record for record in part.records if record.best_seen is not None and np.isfinite(record.best_seen)]
    assert negatives, "the negative of a digit is in another class"
    for record in negatives:
        assert record.status is (Status.FOUND if kept else Status.NOT_FOUND)
        assert record.best_seen == pytest.approx(0.9)
        assert (record.image in part.candidates) == kept
    other = worker.run(task(own.row("live:returns-linf", norm="linf", access="decision"), 4))
    assert [record.best_seen for record in other.records] == [None] * 4


def test_a_decision_based_attack_has_a_curve_in_the_units_of_the_data() -> None:
    own.LIVE["live:returns-linf"] = Returns(kept=True)
    blind = own.row("live:returns-linf", norm="linf", access="decision")
    part = worker.run(task(blind, 4))
    for record in part.records:
        assert record.forwards == 2
        assert record.curve is not None
        far, near = record.curve
        assert (far, near) == pytest.approx((0.9, 0.9)) or np.isinf(record.distance)
    seen = worker.run(task(own.row("live:returns-linf", norm="linf"), 4))
    assert [record.curve for record in seen.records] == [None] * 4


def test_what_no_verifier_can_bound_is_recorded_as_unsupported() -> None:
    with networks.live({"squared": Squared()}):
        part = worker.run(task(row("certify-lower-l2"), 2, NetworkSpec("squared", "live:squared")))
    assert [record.status for record in part.records] == [Status.UNSUPPORTED] * 2
    assert all("no verifier" in record.message for record in part.records)
    assert all(record.lower == 0 for record in part.records)


@pytest.mark.parametrize("name", ["foolbox-ddn-l2", "foolbox-fmn-linf", "paper-sparsefool-l0"])
def test_the_most_images_of_a_call_change_no_record(name: str) -> None:
    whole = row(name)
    assert isinstance(whole, AttackSpec)
    together = worker.run(task(whole, 7))
    cut = worker.run(task(replace(whole, batch=3), 7))
    for one, other in zip(together.records, cut.records, strict=True):
        assert (one.status, one.adversarial_class) == (other.status, other.adversarial_class)
        assert one.distance == pytest.approx(other.distance, rel=1e-3)


def test_another_network_than_the_run_began_with_is_refused() -> None:
    made = task(fakes.row("noise"), 2)
    other = Expected(replace(made.expected.identity, state="0" * 64))
    with pytest.raises(NetworkError, match="network MLP is not the one that the run began with: its weights"):
        worker.run(replace(made, expected=other))


def test_the_network_is_the_same_after_an_attack_that_writes_into_it() -> None:
    before = networks.fingerprint(networks.load("MLP"))
    part = worker.run(task(fakes.row("vandal"), 3))
    assert {record.status for record in part.records} <= {Status.FOUND, Status.NOT_FOUND}
    assert networks.fingerprint(networks.load("MLP")) == before


def test_candidates_come_back_in_the_units_of_the_data() -> None:
    images, labels = MNIST.load("test", range(3))
    grey = data.from_arrays((images * 255).astype(np.uint8), labels, classes=10)
    made = task(row("foolbox-ddn-l2"), 3)

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = networks.load("MLP")

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.inner(inputs / 255)
            return logits

    spec = NetworkSpec("scaled", "live:scaled")
    inputs, _ = grey.load("all")
    with networks.live({"scaled": Scaled()}):
        expected = Expected(networks.source(spec).identity(grey.domain))
        block = replace(made.block, network=spec)
        there = worker.run(replace(made, block=block, inputs=inputs, domain=grey.domain, expected=expected))
    here = worker.run(made)
    for one, other in zip(here.records, there.records, strict=True):
        assert other.distance == pytest.approx(255 * one.distance, rel=1e-3)
        assert torch.from_numpy(there.candidates[one.image]).max() > 2
