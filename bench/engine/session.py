"""The engine as a function: a request in, a stored run out. The command line and the Python interface call the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from bench import guard, libraries, networks, preflight, process, store
from bench.engine import budget, costs, devices, manifest, pace, runner, worker
from bench.engine.budget import Budget
from bench.engine.executors import ATTACKING, Executor, InlineExecutor, LocalExecutor, Work
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.plan import Plan
from bench.engine.provenance import decisive
from bench.engine.request import Given, Job, Request, processes, resolve
from bench.engine.runner import Progress
from bench.engine.task import Expected
from bench.errors import BenchError, MachineError, NetworkError, UsageError
from bench.guard import Guarded
from bench.networks import Identity, Source
from bench.networks.spec import NetworkSpec
from bench.specs import Kind
from bench.store import Manifest, Run, Writer

PROBED = 200
"""How many of a run's images the checks before it look at, at most."""

PROBED_VALUES = 2**21
"""How many values these may have together: the checks take gradients at all of them at once."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is informed while a run goes on.

    Attributes:
        stage: called with what begins now, such as ``checking MLP``.
        warn: called with a network's name and a warning about it.
        say: called with what the user may want to know, such as what was done to take a network.
        tell: called with what else the user has to know, such as parts of the run that are damaged.
        progress: called after each stored block.
    """

    stage: Callable[[str], None] = lambda _: None
    warn: Callable[[str, str], None] = lambda _name, _message: None
    say: Callable[[str], None] = lambda _: None
    tell: Callable[[str], None] = lambda _: None
    progress: Callable[[Progress], None] = lambda _: None


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
        _run(request, path, how or How(), given or Given(), _heeding(watch or Watch()))
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
    device = usable_device(request.device)
    if how.workers is None:
        workers = devices.workers(device, workers)
    job = replace(job, request=replace(job.request, device=device))
    with devices.deterministic(device), networks.live(given.networks):
        chosen: dict[str, Any] | None = None
        if request.minutes is not None:
            in_time, chosen = _in_time(job, path, workers, watch)
            job = resolve(in_time, given)
        watch.stage(f"loading {job.dataset.title}")
        images = Images(job.dataset, job.split, job.plan)
        loaded = checked_networks(job, images, device, watch)
        watch.stage("measuring clean accuracy")
        current = manifest.describe(job, loaded, images, device) | {"name": path.name, "command": sys.argv}
        paces = pace.measure(
            {one.spec.name: one.source for one in loaded}, _changed(loaded), images, device, bounded=_bounded(job.plan)
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
                        expected(job, loaded),
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


def planned(request: Request, workers: int) -> tuple[Job, costs.Estimates, Budget | None]:
    """What a run would do, the seconds that an image should take, by network and row, and what there is time for.

    No attack is run.

    Args:
        request: what to run.
        workers: processes, at least 1.

    Raises:
        BenchError: something named is unknown or unusable, a network cannot be loaded, or does not take the images.
    """
    job = resolve(request)
    job = replace(job, request=replace(job.request, device=usable_device(request.device)))
    estimated = _estimates(job)
    if request.minutes is None:
        return job, estimated, None
    fitted = budget.fitted(job.plan, estimated, request.minutes, workers)
    return resolve(_within(job, fitted)), estimated, fitted


def _estimates(job: Job) -> costs.Estimates:
    """Seconds that an image of a job should take on this machine, by network and row."""
    device = job.request.device
    images = Images(job.dataset, job.split, job.plan)
    sources = {spec.name: _loaded(job, spec, images, device)[0] for spec in job.plan.networks}
    inputs = torch.from_numpy(images.inputs[: images.domain.at_once(PROBED, PROBED_VALUES)]).to(device)
    changes = {name: _changes(source, inputs) for name, source in sources.items()}
    paces = pace.measure(sources, changes, images, device, bounded=_bounded(job.plan))
    return costs.estimates(job.plan.rows, costs.load(job.plan.suite.name), paces)


def _within(job: Job, fitted: Budget) -> Request:
    """A job's request, for what there is time for."""
    listed = job.request.indices is not None
    return replace(
        job.request,
        minutes=None,
        attacks=tuple(row.name for row in fitted.rows),
        samples=None if listed else fitted.samples,
        indices=job.plan.indices[: fitted.samples] if listed else None,
    )


def _in_time(job: Job, path: Path, workers: int, watch: Watch) -> tuple[Request, dict[str, Any]]:
    """The request for what there is time for, and the budget; those of a stored run of the same minutes, where it goes on."""
    minutes = job.request.minutes
    assert minutes is not None
    if (path / "manifest.json").exists():
        stored = store.read(path).manifest
        known = stored.get("budget") or {}
        if known.get("minutes") == minutes and "request" in stored:
            before = Request.from_json(stored["request"])
            chosen = {name: getattr(before, name) for name in ("samples", "indices", "attacks")}
            if replace(job.request, minutes=None, **chosen) == before:
                return before, known
    watch.stage("measuring how fast the networks are")
    fitted = budget.fitted(job.plan, _estimates(job), minutes, max(workers, 1))
    watch.say(fitted.words)
    return _within(job, fitted), fitted.to_json()


def _bounded(plan: Plan) -> bool:
    """Whether a plan has verifiers."""
    return any(row.kind is not Kind.UPPER for row in plan.rows)


def _changed(loaded: Sequence[Loaded]) -> dict[str, tuple[str, ...]]:
    return {one.spec.name: one.changes for one in loaded}


def _heeding(watch: Watch) -> Watch:
    """A watch at whose every call a signal that was swallowed counts."""

    def stage(text: str) -> None:
        process.check()
        watch.stage(text)

    def progress(step: Progress) -> None:
        process.check()
        watch.progress(step)

    return replace(watch, stage=stage, progress=progress)


def _stopped(path: Path) -> bool:
    """Note in a run's manifest that it does not go on; returns whether there is a manifest, of a run of this process's."""
    if not (path / "manifest.json").exists():
        return False
    with store.writing(path) as writer:
        content = store.read(path).manifest
        if content["status"] == "running":
            writer.manifest(content | {"status": "interrupted", "ended": manifest.now()})
    return True


def usable_device(name: str) -> str:
    """The device of a name; ``auto`` is ``cuda`` where there is a CUDA device, else the CPU.

    ``cuda`` is all of them: each worker has one. ``cuda:1`` is that one.

    Raises:
        UsageError: it cannot be used here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not name:
        raise UsageError("--device is empty; give auto, cpu, cuda, or cuda:1")
    try:
        # A device without values, such as ``meta``, cannot give one back.
        torch.zeros(1, device=torch.device(name)).item()
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}; cpu always can") from error
    return name


def checked_networks(
    job: Job,
    images: Images,
    device: str,
    watch: Watch | None = None,
    known: Mapping[str, Identity] = MappingProxyType({}),
) -> list[Loaded]:
    """Load and check every network of a run, as before its attacks.

    Args:
        job: the run.
        images: of the run.
        device: where to compute.
        watch: who is informed.
        known: what networks must be, by name.

    Raises:
        BenchError: a network cannot be loaded, is another than it must be, or no number about it would mean anything.
    """
    watch = watch or Watch()
    for row in job.plan.rows:
        library = libraries.load(row.library)
        if not (library.attacker if row.kind is Kind.UPPER else library.verifier):
            raise UsageError(f"attack {row.name}: library {library.label} runs no rows of this kind")
    sources: dict[str, Source] = {}
    identities: dict[str, Identity] = {}
    for spec in job.plan.networks:
        watch.stage(f"loading {spec.name}")
        source, identities[spec.name] = _loaded(job, spec, images, device, known)
        sources[spec.name] = source
        for note in source.notes:
            watch.say(f"network {spec.name}: {note}")
    probed = images.domain.at_once(PROBED, PROBED_VALUES)
    inputs, labels = (torch.from_numpy(values[:probed]).to(device) for values in (images.inputs, images.labels))
    changes = {name: _changes(source, inputs) for name, source in sources.items()}
    guarded = {
        name: Guarded(guard.copied(source.module), source.guard(changes[name])) for name, source in sources.items()
    }
    loaded = []
    for spec in job.plan.networks:
        watch.stage(f"checking {spec.name}")
        source, identity = sources[spec.name], identities[spec.name]
        others = {name: other for name, other in guarded.items() if name != spec.name}
        results = preflight.check(guarded[spec.name], inputs, labels, images.domain, others)
        preflight.require(spec.name, results)
        if spec.source and not spec.live:
            again = networks.source(spec, device, images.domain).identity(images.domain)
            if difference := identity.difference(again):
                raise NetworkError(
                    f"network {spec.name}: its factory returns another network every time ({difference}), so that every "
                    "worker would attack another one; give --weights, or seed what it draws"
                )
        for result in results:
            if result.status is not preflight.Level.PASS:
                watch.warn(spec.name, result.message)
        loaded.append(Loaded(source, identity, changes[spec.name], results))
    return loaded


def _loaded(
    job: Job,
    spec: NetworkSpec,
    images: Images,
    device: str,
    known: Mapping[str, Identity] = MappingProxyType({}),
) -> tuple[Source, Identity]:
    """A network that takes the images, and what it is known by."""
    source = networks.source(spec, device, images.domain, download=job.request.download)
    identity = source.identity(images.domain)
    if difference := known.get(spec.name, identity).difference(identity):
        raise NetworkError(f"network {spec.name} is not the run's any more: {difference}")
    networks.check_output(Guarded(guard.copied(source.module), source.within), images.domain, spec.name)
    return source, identity


def expected(job: Job, loaded: Sequence[Loaded]) -> dict[str, Expected]:
    """What every worker must find before it computes, by network."""
    found = decisive(libraries.load(row.library) for row in job.plan.rows)
    return {one.spec.name: Expected(one.identity, found, one.changes) for one in loaded}


def _changes(source: Source, inputs: torch.Tensor) -> tuple[str, ...]:
    """What a call of a network changes of the process."""
    batches = (inputs[:2], inputs[:1].flip(-1))
    copied = guard.copied(source.module)
    if source.code is None:
        return guard.touched(copied, batches, source.within)
    with source.code.entered():
        # The first calls may import what is beside the file.
        guard.touched(copied, batches, source.within)
    return guard.touched(copied, batches, source.within, source.code.neighbours)


def _begin(writer: Writer, current: Manifest, plan: Plan, images: Images, watch: Watch) -> Manifest:
    """Write the manifest of a new run; or check that a stored one can go on, and set aside what is damaged of it."""
    path = writer.path
    if (path / "manifest.json").exists():
        stored = store.read(path).manifest
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
