"""What a run would do and how long it should take, before it begins; and what there is time for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import store
from bench.engine import budget, checked, costs, devices, pace
from bench.engine.budget import Budget
from bench.engine.images import Images
from bench.engine.plan import Plan
from bench.engine.request import Job, Request, resolve
from bench.engine.watch import Watch
from bench.specs import Kind


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
    job = replace(job, request=replace(job.request, device=devices.usable(request.device)))
    estimated = _estimates(job)
    if request.minutes is None:
        return job, estimated, None
    fitted = budget.fitted(job.plan, estimated, request.minutes, workers)
    return resolve(_within(job, fitted)), estimated, fitted


def _estimates(job: Job) -> costs.Estimates:
    """Seconds that an image of a job should take on this machine, by network and row."""
    device = job.request.device
    images = Images(job.dataset, job.split, job.plan)
    sources = {spec.name: checked.taken(job, spec, images, device)[0] for spec in job.plan.networks}
    changes = checked.changed(sources, images, device)
    paces = pace.measure(sources, changes, images, device, bounded=bounded(job.plan))
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


def in_time(job: Job, path: Path, workers: int, watch: Watch) -> tuple[Request, dict[str, Any]]:
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


def bounded(plan: Plan) -> bool:
    """Whether a plan has verifiers."""
    return any(row.kind is not Kind.UPPER for row in plan.rows)
