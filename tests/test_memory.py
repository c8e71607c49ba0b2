"""Large inputs and many images: what a run holds in memory has a limit that none of them moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_worker import MNIST, row, task
from torch import Tensor, nn

from adapters import own
from bench import data, networks
from bench.certify import verifier
from bench.data.starts import Pool
from bench.domain import VALUES, Domain
from bench.engine import images as engine_images
from bench.engine import manifest, worker
from bench.engine.images import Images
from bench.engine.plan import Plan
from bench.engine.queries import CountedNetwork
from bench.engine.task import Expected
from bench.judge import Judge
from bench.networks.spec import NetworkSpec
from bench.problem import Unsupported, problem
from bench.records import Status
from bench.specs import AttackSpec, Coupling, Suite

WIDE = Domain(shape=(3, 400, 400), classes=2, low=0.0, high=1.0)
"""Two inputs of it have nearly as many values as a call may have."""


class Bright(nn.Module):
    """Class 1 where the first value is above a half; it notes how many inputs each call has."""

    calls: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.calls = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        first = images.flatten(1)[:, 0] - 0.5
        return torch.stack([-first, first], 1)


def test_as_many_inputs_go_together_as_there_is_room_for() -> None:
    assert WIDE.at_once(50) == 2
    assert MNIST.domain.at_once(1_000) == 1_000
    assert WIDE.at_once(50, values=1) == 1


def test_the_judge_takes_large_inputs_a_few_at_a_time() -> None:
    judge = Judge(Bright().eval(), WIDE)
    inputs = np.zeros((5, *WIDE.shape), dtype=np.float32)
    inputs[3] = 1.0
    assert [decision.wrong for decision in judge.decide(inputs, [0] * 5)] == [False, False, False, True, False]
    calls: Any = judge._network.network.calls
    assert max(calls) == 2


def test_what_asks_for_no_gradient_passes_a_part_at_a_time() -> None:
    plain = Bright().eval()
    network = CountedNetwork(plain)
    images = torch.rand(5, *WIDE.shape)
    with torch.no_grad():
        assert torch.equal(network(images), Bright()(images))
    assert plain.calls == [2, 2, 1]
    network(images.requires_grad_())
    assert plain.calls[3:] == [5]
    assert network.forwards == 10


@pytest.mark.parametrize("coupling", list(Coupling))
def test_an_attack_takes_large_inputs_a_few_at_a_time(coupling: Coupling) -> None:
    calls: list[int] = []

    def brighten(network: nn.Module, images: Tensor, labels: Tensor, **_: Any) -> Tensor:
        calls.append(len(images))
        return torch.ones_like(images)

    own.LIVE["live:brighten-linf"] = brighten
    spec = NetworkSpec("bright", "live:bright")
    with networks.live({"bright": Bright().eval()}):
        made = task(own.row("live:brighten-linf", norm="linf", coupling=coupling), 5)
        part = worker.run(
            replace(
                made,
                block=replace(made.block, network=spec),
                inputs=np.zeros((5, *WIDE.shape), dtype=np.float32),
                labels=np.zeros(5, dtype=np.int64),
                starts=np.empty((5, 0, *WIDE.shape), dtype=np.float32),
                domain=WIDE,
                expected=Expected(networks.source(spec).identity(WIDE)),
            )
        )
    assert [record.status for record in part.records] == [Status.FOUND] * 5
    assert calls == ([1] * 5 if coupling.alone else [2, 2, 1])


def test_a_process_keeps_no_image_of_the_blocks_it_has_seen() -> None:
    made = task(row("foolbox-deepfool-l2"), 3)
    worker.run(made)
    model = worker.MODELS_OF_THIS_PROCESS.of(made)
    assert len(model.decisions) >= 3
    assert all(len(image) == 32 for image, _ in model.decisions)


def test_starts_of_all_images_are_kept_as_places(monkeypatch: pytest.MonkeyPatch) -> None:
    near = row("foolbox-boundary-l2")
    made = plan(near, 4)
    images = Images(MNIST, "test", made)
    (block,) = made.blocks()
    expected = Expected(networks.source("MLP").identity(MNIST.domain))
    given = images.task(block, "cpu", expected).starts
    assert given.shape == (4, 16, 1, 28, 28)
    inputs, labels = MNIST.load("test", range(4))
    pool = Pool(MNIST.pool("test"), MNIST.domain)
    assert (given == pool.starts(inputs, pool.nearest(inputs, labels, 16))).all()
    assert (images.task(block, "cpu", expected).starts == given).all()
    assert sum(places.nbytes for places in images._starts.values()) == 4 * 16 * 8
    # Of large images a task carries fewer, the nearest.
    monkeypatch.setattr(engine_images, "STARTS_VALUES", 3 * 784)
    fewer = Images(MNIST, "test", made).task(block, "cpu", expected).starts
    assert (fewer == given[:, :3]).all()


def plan(spec: Any, samples: int) -> Plan:
    return Plan(
        suite=Suite(name="one", description="", rows=(spec,), samples=samples),
        rows=(spec,),
        holes=(),
        networks=(NetworkSpec("MLP"),),
        indices=tuple(range(samples)),
        seed=0,
        time_limit=60.0,
    )


def test_clean_accuracy_is_that_of_the_whole_split_read_a_part_at_a_time() -> None:
    source = networks.source("MLP")
    loaded = manifest.Loaded(source, source.identity(MNIST.domain), (), ())
    inputs, labels = MNIST.load("test")
    whole = networks.evaluate(source.module, torch.from_numpy(inputs), torch.from_numpy(labels))[1]
    read: list[int] = []

    class Split:
        """In place of a job: notes how many images are read at once."""

        split = "test"
        dataset: Any

        def load(self, split: str, indices: range) -> tuple[Any, Any]:
            read.append(len(indices))
            return MNIST.load(split, indices)

    job = Split()
    job.dataset = job
    few = Images(MNIST, "test", plan(row("foolbox-ddn-l2"), 10))
    assert manifest._accuracy(loaded, 10_000, job, few) == whole  # type: ignore[arg-type]
    assert read == [1_000] * 10
    of_the_run = networks.evaluate(source.module, torch.from_numpy(inputs[:10]), torch.from_numpy(labels[:10]))[1]
    assert manifest._accuracy(loaded, 10, None, few) == of_the_run


def test_a_network_whose_matrices_are_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier, "read", lambda *_: pytest.fail("it was read"))
    network = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))
    domain = Domain(shape=(3, 64, 64), classes=1000, low=0.0, high=1.0)
    asked = problem(network.eval(), torch.rand(2, *domain.shape), torch.zeros(2, dtype=torch.int64), domain)
    spec = row("certify-lower-linf")
    # 64 x 62 x 62 outputs of 27 numbers each, and the last layer.
    with pytest.raises(Unsupported, match=r"999 margins of layers that are matrices of 6,706,432 numbers .* minutes"):
        verifier.VERIFIER.bound(spec, asked)  # type: ignore[arg-type]
    few = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)).eval()
    monkeypatch.setattr(verifier, "read", lambda *_: (_ for _ in ()).throw(Unsupported("read")))
    with pytest.raises(Unsupported, match=r"^read$"):
        verifier.VERIFIER.bound(spec, replace(asked, network=few))  # type: ignore[arg-type]


def test_no_row_on_mnist_is_cut() -> None:
    """The limits are for larger inputs: a block of any row goes through the network as it always did."""
    import suites  # noqa: PLC0415 - here alone

    blocks = [each.block for name in suites.names() for each in suites.load(name).rows if isinstance(each, AttackSpec)]
    assert max(blocks) * MNIST.domain.size <= VALUES
    assert len(data.find("mnist").pool("test")[0]) == 5_000
