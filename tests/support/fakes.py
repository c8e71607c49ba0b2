"""Networks and attackers whose behaviour is known, for the tests of everything that deals with them."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench import data, networks, store
from bench.engine import manifest, runner, worker
from bench.engine.costs import Estimates
from bench.engine.executors import Executor, Work
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.plan import Plan
from bench.engine.request import Job, Request
from bench.engine.task import Expected
from bench.libraries import Library
from bench.networks.spec import NetworkSpec
from bench.norms import Norm
from bench.problem import Problem
from bench.specs import Access, AttackSpec, Family, Method, Suite

PLUGINS = str(Path(__file__).parent / "plugins")
"""A folder with the entry point of an installed package, by which processes find the fake library."""
if PLUGINS not in sys.path:
    sys.path.append(PLUGINS)

LIBRARY = Library(name="fake", label="Fake", attacker="fakes:ATTACKER", marker="P")


class LinearNetwork(nn.Module):
    """Two classes on (n, *shape) images: class 1 when the sum over all values exceeds a threshold."""

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        excess = images.flatten(1).sum(1) - self.threshold
        return torch.stack([-excess, excess], dim=1)


class FakeAttacker:
    """Does what its row's ``target`` says, to images whose mean decides what happens to them."""

    def attack(self, spec: AttackSpec, problem: Problem) -> object:
        behaviour: Callable[..., object] = getattr(self, spec.target.removeprefix("fakes:"))
        return behaviour(problem.network, problem.images, problem.labels, problem.seed)

    def clean(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        return images

    def nan(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        return images * math.nan

    def outside(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        return images + 2

    def shapeless(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        return images[:, :, :5]

    def vandal(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        images.fill_(0.5)
        labels.fill_(0)
        network.train()
        return images

    def raises(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        raise ValueError("no start found")

    def raises_for_three(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        if (labels == 3).any():
            raise ValueError("I do not like threes")
        return self.noise(network, images, labels, seed)

    def noise(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        """The best of some seeded random images: adversarial, and different with every seed."""
        noise = torch.rand((20, *images.shape[1:]), generator=torch.Generator().manual_seed(seed))
        classes = network(noise).argmax(1)
        return torch.stack([noise[int((classes != label).nonzero()[0])] for label in labels])

    def slow_noise(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        time.sleep(0.05)
        return self.noise(network, images, labels, seed)

    def dies(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        os.kill(os.getpid(), signal.SIGKILL)
        return images

    def crashes_for_zero(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        if (labels == 0).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.noise(network, images, labels, seed)

    def quits(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        os._exit(int(seed) % 2 * 7)

    def leaves(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        sys.exit("enough")

    def dies_once(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        if (mark := Path(os.environ["FAKE_MARKS"]) / f"{seed}-{len(images)}").exists():
            return self.noise(network, images, labels, seed)
        mark.touch()
        return self.dies(network, images, labels, seed)

    def no_memory_once(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        if (mark := Path(os.environ["FAKE_MARKS"]) / f"{seed}-{len(images)}").exists():
            return self.noise(network, images, labels, seed)
        mark.touch()
        return self.eats_memory(network, images, labels, seed)

    def fails(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        raise FAULTS[os.environ["FAKE_FAULT"]]

    def hangs(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        time.sleep(3600)
        return images

    def eats_memory(self, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> object:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            return np.ones(2**34)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS: dict[str, Exception] = {
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "handles": OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    "reading": OSError(errno.EIO, os.strerror(errno.EIO)),
    "torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: 8 bytes"
    ),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "threads": RuntimeError("can't start new thread"),
    "library": ImportError("libx.so: failed to map segment from shared object: Cannot allocate memory"),
}
"""What a worker may meet that is no fault of an attack's."""

ATTACKER = FakeAttacker()

METHOD = Method(
    slug="fake", title="Fake", family=Family.REFERENCE, access=Access.GRADIENT, paper="none", idea="", formula=""
)


def row(behaviour: str, block: int = 4, norm: Norm = Norm.L2, cap: int | None = None) -> AttackSpec:
    """A row whose attacker behaves as the method of :class:`FakeAttacker` does."""
    method = replace(METHOD, slug=behaviour.replace("_", "-"))
    return AttackSpec(method=method, library="fake", norm=norm, target=f"fakes:{behaviour}", block=block, cap=cap)


SUITE = Suite(
    name="fake",
    description="rows whose behaviour is known",
    rows=(row("noise", block=5), row("slow_noise", block=2), row("raises_for_three", block=10)),
    samples=40,
    networks=("MLP",),
)


def plan(*rows: AttackSpec, samples: int = 12, networks: tuple[str, ...] = ("MLP",), time_limit: float = 60.0) -> Plan:
    """A plan of rows over the first test images."""
    return Plan(
        suite=Suite(name="fake", description="", rows=rows, samples=samples),
        rows=rows,
        holes=(),
        networks=tuple(NetworkSpec(name) for name in networks),
        indices=tuple(range(samples)),
        seed=0,
        time_limit=time_limit,
    )


def execute(
    plan: Plan,
    folder: Path,
    executor: Executor,
    work: Work = worker.run,
    estimated: Estimates = MappingProxyType({}),
) -> store.Run:
    """Run a plan over MNIST's test images from scratch and read it back."""
    dataset = data.find("mnist")
    images = Images(dataset, "test", plan)
    job = Job(
        request=Request(suite=plan.suite.name), plan=plan, dataset=dataset, split="test", chosen="first", sources={}
    )
    sources = [networks.source(spec) for spec in plan.networks]
    loaded = [Loaded(source, source.identity(dataset.domain), changes=(), checks=[]) for source in sources]
    content = manifest.describe(job, loaded, images, "cpu")
    with store.writing(folder) as writer:
        content["images_file_sha256"] = writer.images(images.indices, images.inputs)
        writer.manifest(content)
        expected = {one.spec.name: Expected(one.identity) for one in loaded}
        runner.run(plan, images, expected, store.read(folder), writer, executor, estimated=estimated, work=work)
    return store.read(folder)


def comparable(run: store.Run) -> pd.DataFrame:
    """A run's records without what a clock says."""
    return run.records().drop(columns="seconds")
