"""The engine as a function: a request in, a stored run out. The command line and the Python interface call the same."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench import libraries, networks, preflight, store
from bench.engine import manifest, runner, worker
from bench.engine.executors import Executor, InlineExecutor, LocalExecutor, Work
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.plan import Plan
from bench.engine.request import Given, Job, Request, processes, resolve
from bench.engine.runner import Progress
from bench.errors import NetworkError, UsageError
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
        tell: called with what else the user has to know, such as parts of the run that are damaged.
        progress: called after each stored block.
    """

    stage: Callable[[str], None] = lambda _: None
    warn: Callable[[str, str], None] = lambda _name, _message: None
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
        BenchError: something named is unknown or unusable, or the folder cannot be used.
    """
    how, given, watch = how or How(), given or Given(), watch or Watch()
    workers = processes(how.workers)
    if how.scheduler is not None and not how.cluster:
        raise UsageError(f"--scheduler {how.scheduler} is for --executor dask")
    job = resolve(request, given)
    device = usable_device(request.device)
    job = replace(job, request=replace(job.request, device=device))
    images = Images(job.dataset, job.split, job.plan)
    with networks.live(given.networks):
        loaded = checked_networks(job, images, device, watch)
        current = manifest.describe(job, loaded, images, device) | {"name": path.name, "command": sys.argv}
        with store.writing(path) as writer:
            content = _begin(writer, current, job.plan, images, watch)
            watch.stage("attacking")
            fingerprints = {one.spec.name: one.fingerprint for one in loaded}
            try:
                with _executor(how, workers) as executor:
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
            except KeyboardInterrupt:
                writer.manifest(content | {"status": "interrupted", "ended": manifest.now()})
                return store.read(path)
            finally:
                worker.MODELS_OF_THIS_PROCESS.forget()
            writer.manifest(content | {"status": "finished", "ended": manifest.now()})
    return store.read(path)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a termination signal end a run as cleanly as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


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


def checked_networks(job: Job, images: Images, device: str, watch: Watch | None = None) -> list[Loaded]:
    """Load and check every network of a run, as before its attacks.

    Raises:
        BenchError: a network cannot be loaded, or no number about it would mean anything.
    """
    watch = watch or Watch()
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
        files = networks.source_files(module)
        loaded.append(Loaded(spec, module, fingerprint, networks.source_sha256(spec), results, files))
    return loaded


def _begin(writer: Writer, current: Manifest, plan: Plan, images: Images, watch: Watch) -> Manifest:
    """Write the manifest of a new run; or check that a stored one can go on, and set aside what is damaged of it."""
    path = writer.path
    if (path / "manifest.json").exists():
        stored = store.read(path).manifest
        manifest.check_same(path.name, stored, current)
        # What was found today of the same things takes the place of what stood there.
        kept = ("started", "command", "git", "machine", "images_file_sha256")
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


def _executor(how: How, workers: int) -> Executor:
    if how.cluster:
        try:
            from bench.engine import cluster  # noqa: PLC0415 - Dask is an extra
        except ImportError:
            raise UsageError("--executor dask needs Dask: pip install '.[cluster]'") from None
        return cluster.connect(how.scheduler, max(workers, 1))
    return LocalExecutor(workers) if workers else InlineExecutor()
