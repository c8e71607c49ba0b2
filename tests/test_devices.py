"""Devices: one worker for each CUDA device, kernels that repeat, and judging where there is float64. No GPU is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.domain import Domain
from bench.engine import devices, session
from bench.guard import has_float64
from bench.judge import Judge
from bench.problem import InUnitBox


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine with four CUDA devices, and the devices that were made current."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def test_each_cuda_device_has_a_worker_unless_the_user_says_otherwise(four: list[int]) -> None:
    assert devices.usable("auto") == "cuda"
    assert [devices.shared_out(name) for name in ("cuda", "cuda:1", "cpu")] == [4, 0, 0]
    assert [devices.workers(name, 16) for name in ("cuda", "cuda:1", "cpu", "mps")] == [4, 1, 16, 1]


def test_the_executor_hands_the_devices_to_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(session, "LocalExecutor", lambda *arguments: given.append(arguments))
    session._executor(session.How(), 4, lambda _: None, 16, 4)
    assert given[0][0] == 4
    assert given[0][2:] == (16, 4)


def test_workers_take_places_in_turn_and_share_devices(four: list[int], tmp_path: Path) -> None:
    taken = [devices.take(tmp_path, 6, 4) for _ in range(6)]
    assert taken == four == [0, 1, 2, 3, 0, 1]
    # All places are taken: any device will do.
    assert devices.take(tmp_path, 6, 4) == os.getpid() % 4


OTHER = """
import sys
from pathlib import Path
import torch
from bench.engine import devices
torch.cuda.set_device = lambda device: None
print(devices.take(Path(sys.argv[1]), 2, 2), flush=True)
sys.stdin.read()
"""


def test_the_place_of_a_worker_that_ended_is_free_again(four: list[int], tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        assert devices.take(tmp_path, 2, 2) == 1
        process.kill()
    assert devices.take(tmp_path, 2, 2) == 0


def _settings() -> tuple[bool, ...]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        cudnn.allow_tf32,
        matmul.allow_tf32,
    )


def test_kernels_repeat_on_cuda_and_stay_as_they_were_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.WORKSPACE, raising=False)
    before = _settings()
    with devices.deterministic("cpu"):
        assert _settings() == before
    with devices.deterministic("cuda:1"):
        assert _settings() == (True, True, True, False, False, False)
        assert os.environ[devices.WORKSPACE] == ":4096:8"
    assert _settings() == before


class Apple:
    """``torch.zeros`` and ``torch.as_tensor`` of a device without float64."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        device = torch.device(named.get("device") or "cpu")
        if device.type == "mps" and named.get("dtype") is torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        if device.type == "mps":
            named["device"] = "cpu"
        return self.function(*arguments, **named)


def test_where_there_is_no_float64_the_cpu_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_float64(torch.device("cpu"))
    for name in ("zeros", "as_tensor"):
        monkeypatch.setattr(torch, name, Apple(getattr(torch, name)))
    assert not has_float64(torch.device("mps"))
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    for module in ("judge", "problem"):
        monkeypatch.setattr(f"bench.{module}.device_of", lambda _: torch.device("mps"))
    domain = Domain(shape=(4,), classes=3, low=0.0, high=255.0)
    decision = Judge(network, domain).decide(torch.ones(1, 4), [0])[0]
    assert decision.finite
    box = InUnitBox(network, domain)
    assert box.width.device.type == "cpu"
    assert torch.equal(box(torch.ones(1, 4)), network(torch.full((1, 4), 255.0)))
