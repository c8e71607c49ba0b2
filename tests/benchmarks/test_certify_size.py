"""What bounding an image of 3 x 32 x 32 takes, against what is forecast before any memory is taken."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from certified import bound, spec
from pytest_benchmark.fixture import BenchmarkFixture
from test_certify_forward import Block
from torch import nn

from bench.certify import cost
from bench.certify.reading import read
from bench.norms import Norm
from bench.specs import Kind


def convolutions(channels: int) -> nn.Sequential:
    """Two convolutions, each with ReLU and a max-pool, and two linear layers."""
    first = nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(128 * channels, 64), nn.ReLU(), nn.Linear(64, 10))


def strided(channels: int) -> nn.Sequential:
    """Three convolutions of stride 2: ReLUs alone, few enough to branch on."""
    sizes = 3, channels, 2 * channels, 2 * channels
    layers = [part for i in range(3) for part in (nn.Conv2d(sizes[i], sizes[i + 1], 3, stride=2, padding=1), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * channels, 10))


def residual(channels: int) -> nn.Sequential:
    """A convolution with a max-pool, three residual blocks and global average pooling."""
    enter = nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    blocks = Block(channels, channels, 1), Block(channels, 2 * channels, 2), Block(2 * channels, 4 * channels, 2)
    return nn.Sequential(*enter, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * channels, 10))


NETWORKS = {
    "convolutions, 8 channels": (convolutions, 8),
    "convolutions, 16 channels": (convolutions, 16),
    "strided, 4 channels": (strided, 4),
    "strided, 8 channels": (strided, 8),
    "residual, 4 channels": (residual, 4),
    "residual, 8 channels": (residual, 8),
}


def peak() -> float:
    """Bytes that this process held at most."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024.0 * int(line.split()[1])


def measured(name: str, norm: Norm) -> tuple[int, float, float, float, float]:
    """Units; CPU seconds and bytes of one image's lower bound, and what is forecast of both."""
    torch.manual_seed(0)
    build, channels = NETWORKS[name]
    network, images = build(channels).eval().requires_grad_(False), torch.rand(1, 3, 32, 32)
    small = nn.Sequential(*convolutions(1)[:3], nn.Flatten(), nn.Linear(256, 10)).eval().requires_grad_(False)
    for one in (small, nn.Sequential(nn.Flatten(), nn.Linear(3072, 4), nn.ReLU(), nn.Linear(4, 10)).eval()):
        bound(spec(norm, Kind.LOWER), one, images, one(images).argmax(1))  # compiles
    plain = read(network, images)
    expected = cost.forecast(plain, norm)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = peak()
    start = time.process_time()
    bounds = bound(spec(norm, Kind.LOWER, 600.0), network, images, network(images).argmax(1))
    seconds = time.process_time() - start
    assert bounds.lower[0] > 0
    return sum(len(stage.bias) for stage in plain.stages), seconds, peak() - before, expected.seconds, expected.memory


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2], ids=lambda norm: norm.value)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_an_image_takes_is_what_is_forecast(benchmark: BenchmarkFixture, name: str, norm: Norm) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        units, seconds, memory, seconds_forecast, memory_forecast = benchmark.pedantic(
            pool.submit(measured, name, norm).result
        )
    benchmark.extra_info.update(
        units=units, seconds=seconds, forecast=seconds_forecast, memory=memory, memory_forecast=memory_forecast
    )
    print(f"{name} {norm.value}: {units} units, {seconds:.1f} s of {seconds_forecast:.1f}, {memory / 2**20:.0f} of {memory_forecast / 2**20:.0f} MiB")  # fmt: skip
    assert seconds < 4 * seconds_forecast
    assert 0 < memory < 3 * memory_forecast
