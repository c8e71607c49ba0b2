"""How fast networks are on this machine: by which what a run takes is estimated before it begins."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.layout import laid_out
from bench import guard
from bench.certify import cost, reading
from bench.domain import Domain
from bench.engine.costs import Line, Pace
from bench.engine.images import Images
from bench.guard import Guarded
from bench.networks import Source
from bench.norms import Norm
from bench.problem import Unsupported, in_unit_box
from bench.usercode import kept

MANY = 16
"""Images in the larger of the two passes that are timed."""

QUERIES, PART = 1_000, 20
"""How many queries :func:`overhead` is the time of, and how many of them are timed together."""

ROUNDS = 5
SECONDS = 1.0
"""How long a network is timed at most, once it was timed at all."""

LOOKED_AT, VALUES = 200, 2_000_000
"""How many of a run's images, and of their values, say at most how many are attacked."""


def measure(
    sources: Mapping[str, Source],
    changes: Mapping[str, Collection[str]],
    images: Images,
    device: str,
    *,
    bounded: bool = True,
) -> dict[str, Pace]:
    """The pace of a run's networks, by name.

    Args:
        sources: the networks as they were loaded, by name.
        changes: what a call of each changes of the process, by name.
        images: of the run.
        device: where it computes.
        bounded: whether verifiers run, too: what they cost is reckoned from a network's layers.
    """
    base = overhead()
    found = {}
    for name, source in sources.items():
        one = _pace(source, changes[name], images, device, base)
        if bounded:
            bounds, dense = _bounds(guard.copied(source.module), _points(images, device)[0][:4], images.domain)
            one = replace(one, bounds=bounds, dense=dense)
        found[name] = one
    return found


def overhead() -> float:
    """Seconds of a fixed piece of work that is Python more than arithmetic, as what libraries do between queries."""
    with kept():
        torch.set_num_threads(1)
        layer = nn.Linear(100, 10)
        image = np.full((1, 100), 0.5, dtype=np.float32)
        return QUERIES / PART * min(_queries(layer, image, PART) for _ in range(QUERIES // PART))


def _queries(layer: nn.Module, image: NDArray[np.float32], n: int) -> float:
    """Seconds of some queries of a tiny network, with their gradients."""
    begin = time.thread_time()
    for _ in range(n):
        inputs = torch.from_numpy(image.copy()).requires_grad_(True)
        (gradient,) = torch.autograd.grad(layer(inputs).square().sum(), inputs)
        np.clip(image + gradient.numpy(), 0.0, 1.0)
    return time.thread_time() - begin


def _pace(source: Source, changes: Collection[str], images: Images, device: str, base: float) -> Pace:
    domain = images.domain
    network = in_unit_box(Guarded(laid_out(source.module), source.guard(changes)), domain)
    points, labels = _points(images, device)
    with kept():
        torch.set_num_threads(1)
        single, many = _times(network, points[:1], device), _times(network, _repeated(points, MANY), device)
        attacked = _attacked(network, points, labels)
    forward, backward = (_line(one, several) for one, several in zip(single, many, strict=True))
    return Pace(
        forward=forward,
        backward=backward,
        overhead=base,
        values=domain.size,
        attacked=attacked,
    )


def _points(images: Images, device: str) -> tuple[Tensor, Tensor]:
    """The first images in the unit box, and their labels."""
    n = images.domain.at_once(LOOKED_AT, VALUES)
    points = torch.as_tensor(images.domain.to_unit(images.inputs[:n]), dtype=torch.float32, device=device)
    return points, torch.as_tensor(images.labels[:n], device=device)


def _times(network: nn.Module, points: Tensor, device: str) -> tuple[float, float]:
    """Seconds of a pass forward and of the gradient behind it, each the least of some rounds."""
    forward = backward = float("inf")
    begin = _now(device)
    for _ in range(ROUNDS):
        inputs = points.clone().requires_grad_(True)
        with torch.enable_grad():
            start = _now(device)
            logits = network(inputs)
            middle = _now(device)
            # Where no gradient reaches the image, the checks before a run say so.
            with suppress(Exception):
                torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
            end = _now(device)
        forward, backward = min(forward, middle - start), min(backward, end - middle)
        if end - begin > SECONDS:
            break
    return forward, backward


def _now(device: str) -> float:
    """Seconds of this thread's own work on the CPU, whatever else the machine does; of the clock on another device."""
    if torch.device(device).type == "cpu":
        return time.thread_time()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _repeated(points: Tensor, n: int) -> Tensor:
    return points.repeat(-(-n // len(points)), *[1] * (points.ndim - 1))[:n]


def _line(one: float, several: float) -> Line:
    slope = max((several - one) / (MANY - 1), several / MANY / 10)
    return Line(max(one - slope, 0.0), slope)


def _attacked(network: nn.Module, points: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        right = [
            network(some).argmax(1) == truth for some, truth in zip(points.split(MANY), labels.split(MANY), strict=True)
        ]
    return float(torch.cat(right).double().mean())


def _bounds(network: nn.Module, points: Tensor, domain: Domain) -> tuple[Mapping[Norm, float], bool]:
    try:
        plain = reading.read(in_unit_box(network, domain), points.cpu())
        for norm in Norm:
            cost.check(plain, norm)
        return {norm: cost.forecast(plain, norm).seconds for norm in Norm}, cost.is_dense(plain)
    except Unsupported:
        return {}, False
