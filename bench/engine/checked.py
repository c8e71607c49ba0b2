"""The networks of a run: loaded, checked, and what each worker must find of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from bench import guard, libraries, networks, preflight
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.provenance import decisive
from bench.engine.request import Job
from bench.engine.task import Expected
from bench.engine.watch import Watch
from bench.errors import NetworkError, UsageError
from bench.guard import Guarded
from bench.networks import Identity, Source
from bench.networks.spec import NetworkSpec
from bench.specs import Kind

PROBED = 200
"""How many of a run's images the checks before it look at, at most."""

PROBED_VALUES = 2**21
"""How many values these may have together: the checks take gradients at all of them at once."""


def load(
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
        source, identities[spec.name] = taken(job, spec, images, device, known)
        sources[spec.name] = source
        for note in source.notes:
            watch.say(f"network {spec.name}: {note}")
    inputs, labels = _probed(images, device)
    changes = changed(sources, images, device)
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


def taken(
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


def changed(sources: Mapping[str, Source], images: Images, device: str) -> dict[str, tuple[str, ...]]:
    """What a call of each network changes of the process, by network."""
    inputs, _ = _probed(images, device)
    return {name: _touched(source, inputs) for name, source in sources.items()}


def _probed(images: Images, device: str) -> tuple[Tensor, Tensor]:
    """The images and labels that the checks look at."""
    n = images.domain.at_once(PROBED, PROBED_VALUES)
    inputs, labels = (torch.from_numpy(values[:n]).to(device) for values in (images.inputs, images.labels))
    return inputs, labels


def _touched(source: Source, inputs: Tensor) -> tuple[str, ...]:
    """What a call of a network changes of the process."""
    batches = (inputs[:2], inputs[:1].flip(-1))
    copied = guard.copied(source.module)
    if source.code is None:
        return guard.touched(copied, batches, source.within)
    with source.code.entered():
        # The first calls may import what is beside the file.
        guard.touched(copied, batches, source.within)
    return guard.touched(copied, batches, source.within, source.code.neighbours)
