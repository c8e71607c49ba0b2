"""The engine as a function: a request in, a stored run out. The command line and the Python interface call the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from bench import networks, process, store
from bench.arguments import typed
from bench.engine import checked, costs, devices, manifest, pace, planning, runner, worker
from bench.engine.executors import ATTACKING, Executor, InlineExecutor, LocalExecutor, Work
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.plan import Plan
from bench.engine.request import Given, Request, processes, resolve
from bench.engine.watch import Watch, heeding
from bench.errors import BenchError, MachineError, UsageError
from bench.store import Manifest, Run, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a run is computed; none of it changes a record.

    Attributes:
        workers: processes; 0 computes in this process; None for one for each core, or for each CUDA device.
        cluster: whether to compute on a Dask cluster.
        scheduler: the address of its scheduler; None starts one here.
        work: what computes a task.
    """

    workers: int | None = None
    cluster: bool = False
    scheduler: str | None = None
    work: Work = worker.run


def run(
    request: Request, path: Path, *, how: How | None = None, given: Given | None = None, watch: Watch | None = None
) -> Run:
    """Compute what a request asks for, or what a stored run of it still lacks.

    Args:
        request: what to run.
        path: the run's folder. If it holds an unfinished run of the same request, that one goes on.
        how: how to compute.
        given: objects that the request names and that no file leads to.
        watch: who is informed.

    Returns:
        The stored run. Its manifest's ``status`` is ``interrupted`` where Ctrl-C ended it: what was done is kept.

    Raises:
        BenchError: something named is unknown or unusable, the folder cannot be used, or the machine cannot go on.
        KeyboardInterrupt: before anything of the run was stored.
    """
    try:
        _run(request, path, how or How(), given or Given(), heeding(watch or Watch()))
    except KeyboardInterrupt:
        with process.held():
            if _stopped(path):
                return store.read(path)
        raise
    except MachineError:
        # What is raised matters more than what the manifest says.
        with process.held(), suppress(BenchError):
            _stopped(path)
        raise
    return store.read(path)


def _run(request: Request, path: Path, how: How, given: Given, watch: Watch) -> None:
    workers = processes(how.workers)
    if how.scheduler is not None and not how.cluster:
        raise UsageError(f"--scheduler {how.scheduler} is for --executor dask")
    job = resolve(request, given)
    device = devices.usable(request.device)
    if how.workers is None:
        workers = devices.workers(device, workers)
    job = replace(job, request=replace(job.request, device=device))
    with devices.deterministic(device), networks.live(given.networks):
        chosen: dict[str, Any] | None = None
        if request.minutes is not None:
            in_time, chosen = planning.in_time(job, path, workers, watch)
            job = resolve(in_time, given)
        watch.stage(f"loading {job.dataset.title}")
        images = Images(job.dataset, job.split, job.plan)
        loaded = checked.load(job, images, device, watch)
        watch.stage("measuring clean accuracy")
        current = manifest.describe(job, loaded, images, device) | {"name": path.name, "command": typed(sys.argv)}
        paces = pace.measure(
            {one.spec.name: one.source for one in loaded},
            _changed(loaded),
            images,
            device,
            bounded=planning.bounded(job.plan),
        )
        current["pace"] = {name: costs.pace_to_json(one) for name, one in paces.items()}
        current["budget"] = chosen
        with store.writing(path) as writer:
            content = _begin(writer, current, job.plan, images, watch)
            try:
                with _executor(how, workers, watch.stage, kernels(loaded), devices.shared_out(device)) as executor:
                    runner.run(
                        job.plan,
                        images,
                        checked.expected(job, loaded),
                        store.read(path),
                        writer,
                        executor,
                        estimated=costs.estimates(job.plan.rows, costs.load(job.plan.suite.name), paces),
                        device=device,
                        report=watch.progress,
                        work=how.work,
                    )
            finally:
                worker.MODELS_OF_THIS_PROCESS.forget()
            with process.held():
                writer.manifest(content | {"status": "finished", "ended": manifest.now()})


def _changed(loaded: Sequence[Loaded]) -> dict[str, tuple[str, ...]]:
    return {one.spec.name: one.changes for one in loaded}


def _stopped(path: Path) -> bool:
    """Note in a run's manifest that it does not go on; returns whether there is a manifest, of a run of this process's."""
    if not (path / "manifest.json").exists():
        return False
    with store.writing(path) as writer:
        content = store.read(path).manifest
        if content["status"] == "running":
            writer.manifest(content | {"status": "interrupted", "ended": manifest.now()})
    return True


def _begin(writer: Writer, current: Manifest, plan: Plan, images: Images, watch: Watch) -> Manifest:
    """Write the manifest of a new run; or check that a stored one can go on, and set aside what is damaged of it."""
    path = writer.path
    if (path / "manifest.json").exists():
        before = store.read(path)
        before.require_whole("resumed")
        stored = before.manifest
        manifest.check_same(path.name, stored, current)
        # What was found today of the same things takes the place of what stood there.
        kept = ("started", "command", "git", "machine", "images_file_sha256", "budget", "pace")
        content = current | {key: stored[key] for key in kept if key in stored}
        run = Run(path, content)
        planned = {block.key: block.images for block in plan.blocks()}
        for line in store.mend(run, writer, planned, finished=stored.get("status") == "finished"):
            watch.tell(line)
        if reason := store.same_images(run, plan.indices, images.inputs):
            file = path / "images.parquet"
            if os.path.lexists(file):
                writer.set_aside(file)
            watch.tell(f"images.parquet is written again ({reason})")
            content["images_file_sha256"] = writer.images(images.indices, images.inputs)
    else:
        content = current | {"images_file_sha256": writer.images(images.indices, images.inputs)}
    writer.manifest(content)
    return content


def kernels(loaded: Sequence[Loaded]) -> int:
    """How many compiled convolutions a worker has to keep: forward and backward, for some numbers of images."""
    layers = (sum(isinstance(layer, _LAYERS) for layer in one.source.module.modules()) for one in loaded)
    return max(16, 4 * max(layers, default=0))


_LAYERS = nn.modules.conv._ConvNd, nn.Linear  # noqa: SLF001 - torch has no other word for every convolution


def _executor(how: How, workers: int, stage: Callable[[str], None], kernels: int, cuda: int) -> Executor:
    if how.cluster:
        try:
            from bench.engine import cluster  # noqa: PLC0415 - Dask is an extra
        except ImportError:
            raise UsageError("--executor dask needs Dask: pip install '.[cluster]'") from None
        stage("asking the Dask scheduler")
        executor = cluster.connect(how.scheduler, max(workers, 1), stage)
        stage(ATTACKING)
        return executor
    stage("starting workers" if workers else ATTACKING)
    return LocalExecutor(workers, stage, kernels, cuda) if workers else InlineExecutor()
