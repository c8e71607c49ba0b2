"""The engine as a function: a request in, a stored run out. The command line and the Python interface call the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench import libraries, networks, preflight, process, store
from bench.engine import manifest, runner, worker
from bench.engine.executors import ATTACKING, Executor, InlineExecutor, LocalExecutor, Work
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.request import Given, Job, Request, processes, resolve
from bench.engine.runner import Progress
from bench.errors import BenchError, NetworkError, UsageError
from bench.specs import Kind
from bench.store import Manifest, Run, Writer

PROBED = 200
"""How many of a run's images the checks before it look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a run is computed; none of it changes a record.

    Attributes:
        workers: processes; 0 computes in this process; None for one for each core.
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
        progress: called after each stored block.
    """

    stage: Callable[[str], None] = lambda _: None
    warn: Callable[[str, str], None] = lambda _name, _message: None
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
    except Exception:
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
    job = replace(job, request=replace(job.request, device=device))
    watch.stage(f"loading {job.dataset.title}")
    images = Images(job.dataset, job.split, job.plan)
    with networks.live(given.networks):
        loaded = _networks(job, images, device, watch)
        watch.stage("measuring clean accuracy")
        current = manifest.describe(job, loaded, images, device) | {"name": path.name, "command": sys.argv}
        with store.writing(path) as writer:
            content = _begin(writer, path, current, images)
            fingerprints = {one.spec.name: one.fingerprint for one in loaded}
            try:
                with _executor(how, workers, watch.stage) as executor:
                    runner.run(
                        job.plan,
                        images,
                        fingerprints,
                        store.read(path),
                        writer,
                        executor,
                        device=device,
                        report=watch.progress,
                        work=how.work,
                    )
            finally:
                worker.MODELS_OF_THIS_PROCESS.forget()
            with process.held():
                writer.manifest(content | {"status": "finished", "ended": manifest.now()})


def _heeding(watch: Watch) -> Watch:
    """A watch at whose every call a signal that was swallowed counts."""

    def stage(text: str) -> None:
        process.check()
        watch.stage(text)

    def progress(step: Progress) -> None:
        process.check()
        watch.progress(step)

    return Watch(stage=stage, warn=watch.warn, progress=progress)


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
    """The device of a name; ``auto`` is the first CUDA device where there is one, else the CPU.

    Raises:
        UsageError: it cannot be used here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # A device without values, such as ``meta``, cannot give one back.
        torch.zeros(1, device=torch.device(name)).item()
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}; cpu always can") from error
    return name


def _networks(job: Job, images: Images, device: str, watch: Watch) -> list[Loaded]:
    """Load and check every network of a run."""
    for row in job.plan.rows:
        library = libraries.load(row.library)
        if not (library.attacker if row.kind is Kind.UPPER else library.verifier):
            raise UsageError(f"attack {row.name}: library {library.label} runs no rows of this kind")
    modules = {}
    for spec in job.plan.networks:
        watch.stage(f"loading {spec.name}")
        modules[spec.name] = networks.load(spec, device)
        networks.check_output(modules[spec.name], images.domain, spec.name)
    inputs, labels = (torch.from_numpy(values[:PROBED]).to(device) for values in (images.inputs, images.labels))
    loaded = []
    for spec in job.plan.networks:
        watch.stage(f"checking {spec.name}")
        module = modules[spec.name]
        fingerprint = networks.fingerprint(module)
        if spec.source and not spec.live and networks.fingerprint(networks.load(spec)) != fingerprint:
            raise NetworkError(
                f"network {spec.name}: its factory returns another network every time, so that every worker would attack "
                "another one; give --weights, or seed what it draws"
            )
        others = {name: other for name, other in modules.items() if name != spec.name}
        results = preflight.check(module, inputs, labels, images.domain, others)
        preflight.require(spec.name, results)
        for result in results:
            if result.status is not preflight.Level.PASS:
                watch.warn(spec.name, result.message)
        loaded.append(Loaded(spec, module, fingerprint, networks.source_sha256(spec), results))
    return loaded


def _begin(writer: Writer, path: Path, current: Manifest, images: Images) -> Manifest:
    """Write the manifest of a new run, or check that a stored one can go on."""
    if (path / "manifest.json").exists():
        content = store.read(path).manifest
        manifest.check_same(path.name, content, current)
        content |= {"status": "running", "ended": None}
    else:
        content = current | {"images_file_sha256": writer.images(images.indices, images.inputs)}
    writer.manifest(content)
    return content


def _executor(how: How, workers: int, stage: Callable[[str], None]) -> Executor:
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
    return LocalExecutor(workers, stage) if workers else InlineExecutor()
