"""The bench from Python: any network, any images, and a network that is as it was before."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import bench
import suites
from bench import networks
from bench.api import InterruptedRunWarning
from bench.engine import worker
from bench.engine.session import How
from bench.engine.task import Task
from bench.errors import BenchError, DataError, NetworkError, UsageError
from bench.records import Status

QUICK: dict[str, Any] = {"workers": 0, "progress": False}
CHEAP = ["foolbox-ddn-l2", "foolbox-fmn-linf", "paper-sigma-zero-l0", "certify-lower-*"]


class Behind(nn.Module):
    """A network of the unit box, taking inputs of another: the affine map written into it by hand."""

    def __init__(self, network: nn.Module, low: Any, high: Any) -> None:
        super().__init__()
        self.network = network
        self.low, self.width = (
            torch.as_tensor(low, dtype=torch.float64),
            torch.as_tensor(high - low, dtype=torch.float64),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(self.low.to(inputs.dtype) + self.width.to(inputs.dtype) * inputs)
        return logits


def centred(network: nn.Sequential, middle: Any = 0.5) -> nn.Module:
    """The network with its first layer's boundaries through the middle of the box, so that it uses several classes."""
    first = next(layer for layer in network if isinstance(layer, nn.Linear))
    with torch.no_grad():
        point = torch.as_tensor(np.broadcast_to(middle, first.in_features).copy(), dtype=torch.float32)
        first.bias.copy_(-first.weight @ point)
        for layer in network:
            if isinstance(layer, nn.Linear):
                layer.weight *= 3
    return network


def folded(network: nn.Module, low: Any, high: Any) -> nn.Module:
    """A network of the unit box as one of another, the map folded into its first layer."""
    first = network[1]  # type: ignore[index]
    with torch.no_grad():
        first.weight /= torch.as_tensor(high - low, dtype=torch.float32)
        first.bias -= first.weight @ torch.as_tensor(low, dtype=torch.float32)
    return network


def conv(classes: int = 10, channels: int = 3, side: int = 32) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * ((side - 1) // 2) ** 2, classes)
    )


def mlp(inputs: int, classes: int, middle: Any = 0.5) -> nn.Module:
    torch.manual_seed(2)
    return centred(nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, classes)), middle)


FEATURES = np.linspace(-3, 2, 30), np.linspace(-2, 40, 30)

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], Any, Any]] = {
    "colour pictures in [0, 255]": (lambda: _scaled(conv(), 255.0), (3, 32, 32), 0.0, 255.0),
    "features with a box each": (lambda: folded(mlp(30, 2), *FEATURES), (30,), *FEATURES),
    "small pictures": (lambda: mlp(64, 10, 8.0), (1, 8, 8), 0.0, 16.0),
    "a thousand classes": (lambda: mlp(12, 1000, 0.0), (12,), -1.0, 1.0),
    "two classes": (lambda: mlp(12, 2, 0.0), (12,), -1.0, 1.0),
}


def _scaled(network: nn.Module, by: float) -> nn.Module:
    first = network[0]  # type: ignore[index]
    with torch.no_grad():
        first.weight /= by
    return network


@pytest.mark.parametrize("name", CASES)
def test_distances_are_those_of_the_network_with_the_map_written_into_it(name: str) -> None:
    make, shape, low, high = CASES[name]
    network = make()
    generator = np.random.default_rng(5)
    unit = generator.random((4, *shape)).astype(np.float32)
    inputs = (low + (high - low) * unit.astype(np.float64)).astype(np.float32)
    unit = ((inputs.astype(np.float64) - low) / (high - low)).astype(np.float32).clip(0, 1)
    with torch.no_grad():
        labels = network(torch.from_numpy(inputs)).argmax(1)
    there = bench.evaluate(network, inputs, labels, box=(low, high), attacks=CHEAP[:3], **QUICK)
    here = bench.evaluate(Behind(network, low, high), unit, labels, box=(0, 1), attacks=CHEAP[:3], **QUICK)
    width = high - low if np.ndim(high) == 0 else 1.0
    for norm, scale in (("l0", 1.0), ("l2", width), ("linf", width)):
        found, expected = there.distances(norm).to_numpy(), here.distances(norm).to_numpy() * scale
        assert np.isfinite(found).all() or norm == "l0"
        # Of inputs up to 255 a float32 holds no less than 1.5e-5.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-7 * scale * (norm != "l0"))
    assert set(there.records["status"]) <= {Status.FOUND.value, Status.NOT_FOUND.value}


def state_of(network: nn.Module) -> list[object]:
    values = [
        (name, value.dtype, value.clone(), value.stride(), value.device) for name, value in network.state_dict().items()
    ]
    return [
        repr(network),
        [type(module) for module in network.modules()],
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad is None for parameter in network.parameters()],
        [id(parameter) for parameter in network.parameters()],
        [
            (name, dtype, tuple(value.flatten().tolist()), stride, str(device))
            for name, dtype, value, stride, device in values
        ],
    ]


@pytest.mark.parametrize("training", [False, True])
def test_a_users_network_and_random_state_are_as_before(training: bool) -> None:
    network = nn.Sequential(conv(channels=1, side=28), nn.Dropout(0.5)).train(training)
    images = np.random.default_rng(0).random((3, 1, 28, 28))
    with torch.no_grad():
        labels = network.eval()(torch.from_numpy(images).float()).argmax(1)
    network.train(training)
    before = state_of(network)
    random_state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    threads = torch.get_num_threads()
    bench.evaluate(network, images, labels, attacks=["foolbox-ddn-l2", "certify-lower-linf"], **QUICK)
    assert state_of(network) == before
    assert random.getstate() == random_state[0]
    assert np.random.get_state()[1].tolist() == random_state[1]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), random_state[2])
    assert torch.get_num_threads() == threads


@pytest.fixture(scope="module")
def two() -> bench.Result:
    """Two networks on a loader of images."""
    images = torch.rand((6, 12), generator=torch.Generator().manual_seed(0))
    network = mlp(12, 3)
    labels = network(images).argmax(1)
    loader = DataLoader(TensorDataset(images, labels), batch_size=4)
    networks_ = {"before": network, "after": mlp(12, 3)}
    return bench.evaluate(networks_, loader, box=(0, 1), attacks=CHEAP, class_names=["a", "b", "c"], **QUICK)


def test_a_result_answers_in_frames_and_figures(two: bench.Result, tmp_path: Path) -> None:
    assert two.networks == ("before", "after")
    assert two.norms == ("l0", "l2", "linf")
    distances = two.distances("L2")
    assert distances.shape == (2, 6)
    best = two.records[two.records["network"] == "before"].groupby("image")["l2"].min()
    np.testing.assert_array_equal(distances.loc["before"], best)
    accuracy = two.robust_accuracy("linf", eps=[0, 0.01, 10])
    assert accuracy.columns.to_numpy(dtype=float).tolist() == [0.0, 0.01, 10.0]
    assert accuracy.to_numpy()[0, [0, 2]].tolist() == [1.0, 0.0]
    assert set(two.summary()["network"]) == {"before", "after"}
    of_one = two.network("before")
    assert of_one.medians["l2"] == pytest.approx(float(np.median(distances.loc["before"])))
    assert {check.network for check in of_one.checks} == {"before"}
    assert two.plot("accuracy", "l2").axes
    assert "before" in repr(two)
    assert "<table" in two._repr_html_()
    page = two.to_html(tmp_path / "report.html").read_text()
    assert "before" in page
    saved = two.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(bench.open_run(saved).records, two.records)
    with pytest.raises(UsageError, match="is there already"):
        two.save(tmp_path / "saved")


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda r: r.distances("l7"), "unknown norm 'l7'; known: l0, l2, linf"),
        (lambda r: r.network("during"), "unknown network 'during'; known: before, after"),
        (lambda r: r.plot("pie"), "unknown plot 'pie'; known: accuracy"),
        (lambda r: r.plot("accuracy", "l1"), "plot 'accuracy' has no data in l1"),
    ],
)
def test_a_question_without_an_answer_says_what_there_is(
    two: bench.Result, ask: Callable[[bench.Result], object], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        ask(two)


IMAGES = np.random.default_rng(3).random((4, 12)).astype(np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"images": IMAGES * 300, "labels": [0] * 4}, DataError, r"give box=\(low, high\)"),
        ({"images": IMAGES}, DataError, "labels"),
        ({"images": IMAGES, "labels": [0] * 3}, DataError, "one integer for each of 4 images"),
        ({"images": IMAGES, "labels": [7] * 4}, NetworkError, "has 3 classes; the dataset has 8"),
        ({"images": IMAGES[:, :5], "labels": [0] * 4}, NetworkError, r"fails on a \(2, 5\) float32 input"),
        ({"images": IMAGES, "labels": [0] * 4, "norms": ["l9"]}, UsageError, "unknown norm 'l9'"),
        ({"images": IMAGES, "labels": [0] * 4, "suite": "huge"}, UsageError, "unknown suite 'huge'"),
        ({"images": IMAGES, "labels": [0] * 4, "colour": True}, UsageError, "unknown argument 'colour'"),
        ({"images": IMAGES, "labels": [0] * 4, "attacks": [3]}, UsageError, "attack 3 is none"),
        ({"images": "mnist", "labels": [0]}, UsageError, "go with images that are given as arrays"),
        ({"images": IMAGES, "labels": [0] * 4, "seed": -1}, UsageError, "--seed -1 is not possible"),
    ],
)
def test_bad_arguments_are_one_line(arguments: dict[str, Any], error: type[BenchError], complaint: str) -> None:
    with pytest.raises(error, match=complaint) as raised:
        bench.evaluate(mlp(12, 3), **arguments, **QUICK)
    assert "\n" not in str(raised.value)


def test_a_networks_name_is_enough() -> None:
    result = bench.evaluate("MLP", "mnist", attacks=["foolbox-ddn-l2"], samples=3, **QUICK)
    found = result.distances("l2").to_numpy()
    assert found.shape == (1, 3)
    assert ((found > 0.1) & (found < 1.5)).all()
    assert result.run.manifest["data"]["title"] == "MNIST"
    assert result.run.manifest["networks"][0]["source"] is None


def shrink(network: nn.Module, images: Tensor, labels: Tensor, *, steps: int = 20) -> Tensor:
    """Bisect towards grey."""
    grey = torch.full_like(images, 0.5)
    low, high = torch.zeros(len(images)), torch.ones(len(images))
    with torch.no_grad():
        for _ in range(steps):
            middle = ((low + high) / 2).view(-1, *[1] * (images.ndim - 1))
            wrong = network(images + middle * (grey - images)).argmax(1) != labels
            low, high = torch.where(wrong, low, middle.flatten()), torch.where(wrong, middle.flatten(), high)
    return images + high.view(-1, *[1] * (images.ndim - 1)) * (grey - images)


def test_a_function_is_an_attack_beside_any_rows() -> None:
    images = np.random.default_rng(8).random((5, 12)).astype(np.float32)
    network = mlp(12, 3)
    labels = network(torch.from_numpy(images)).argmax(1)
    rows = suites.rows(norm="l2", family="DeepFool")
    result = bench.evaluate(network, images, labels, norms=["l2"], attacks=[shrink, *rows], **QUICK)
    assert set(result.records["attack"]) == {"own-shrink-l2", *(row.name for row in rows)}
    own = result.records[result.records["attack"] == "own-shrink-l2"]
    assert set(own["status"]) <= {"found", "not_found"}
    assert (own["forwards"] > 0).all()


class NoCopies(nn.Module):
    """A module that can be neither copied nor sent."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("one of a kind")

    def __reduce__(self) -> Any:
        raise TypeError("one of a kind")

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layer(inputs)
        return logits


def test_a_network_that_cannot_be_copied_is_named() -> None:
    assert "one of a kind" in networks.sendable(NoCopies())
    with pytest.raises(NetworkError, match="network network cannot be copied: TypeError: one of a kind"):
        bench.evaluate(NoCopies(), IMAGES, [0] * 4, **QUICK)


def test_workers_get_a_module_of_this_program(tmp_path: Path) -> None:
    class Local(nn.Module):
        """No file leads here: workers get it by value."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(12, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.inner(inputs)
            return logits

    network = Local()
    labels = network(torch.from_numpy(IMAGES)).argmax(1)
    arguments: dict[str, Any] = {"attacks": ["foolbox-ddn-l2"], "progress": False}
    there = bench.evaluate(network, IMAGES, labels, workers=1, **arguments)
    here = bench.evaluate(network, IMAGES, labels, workers=0, out=tmp_path / "run", **arguments)
    pd.testing.assert_frame_equal(there.records.drop(columns="seconds"), here.records.drop(columns="seconds"))
    again = bench.evaluate(network, IMAGES, labels, workers=0, out=tmp_path / "run", **arguments)
    pd.testing.assert_frame_equal(again.records, here.records)


SCRIPT = """
import numpy as np
import torch
import bench
print("started")
torch.manual_seed(0)
network = torch.nn.Linear(6, 3)
images = np.random.default_rng(0).random((4, 6)).astype("float32")
labels = network(torch.from_numpy(images)).argmax(1)
result = bench.evaluate(network, images, labels, attacks=["foolbox-ddn-l2"], workers=2, progress=False)
print(len(result.records))
"""


@pytest.mark.slow
def test_a_script_needs_no_guard_round_its_main_part(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["started", "4"], done.stderr


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal, also where the tests were started in the background, which ignores it by inheritance."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = mlp(12, 3)
    images = np.random.default_rng(4).random((30, 12)).astype(np.float32)
    labels = network(torch.from_numpy(images)).argmax(1)
    arguments: dict[str, Any] = {"attacks": ["foolbox-ddn-l2", "paper-sparsefool-l0"], "out": tmp_path / "run", **QUICK}
    computed = worker.run

    def interrupted(task: Task) -> worker.Part:
        if task.block.row.name == "paper-sparsefool-l0":
            signal.raise_signal(signal.SIGINT)
        return computed(task)

    monkeypatch.setattr("bench.api.How", partial(How, work=interrupted))
    with pytest.warns(InterruptedRunWarning, match="call evaluate again"):
        result = bench.evaluate(network, images, labels, **arguments)
    assert result.run.manifest["status"] == "interrupted"
    monkeypatch.undo()
    whole = bench.evaluate(network, images, labels, **arguments)
    assert whole.run.manifest["status"] == "finished"
    assert len(whole.records) == 60
    kept = whole.records.merge(result.records, on=["network", "attack", "image", "seconds"])
    assert len(kept) == len(result.records)


def test_importing_the_bench_imports_no_torch() -> None:
    code = "import sys, bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_warnings_about_a_network_are_warnings() -> None:
    class Probabilities(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(12, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.softmax(self.inner(inputs), 1)

    network = Probabilities()
    labels = network(torch.from_numpy(IMAGES)).argmax(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bench.evaluate(network, IMAGES, labels, attacks=["foolbox-ddn-l2"], **QUICK)
    assert any("probabilities" in str(each.message) for each in caught)
