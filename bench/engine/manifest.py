"""The manifest of a run: everything its numbers depend on, so that it can be repeated, resumed and compared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench import guard, libraries
from bench.engine.images import Images
from bench.engine.provenance import DECISIVE, ROOT, code_sha256, versions
from bench.engine.request import Job
from bench.errors import StoreError
from bench.guard import Guarded
from bench.networks import Identity, Source, evaluate
from bench.networks.identity import printed
from bench.networks.loading import BATCH
from bench.networks.spec import NetworkSpec
from bench.preflight import Finding
from bench.specs import to_json
from bench.store import Manifest

EVALUATED = 10_000
"""Clean accuracy is measured on the whole split where it has no more images than this, else on the run's own."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network that a run has loaded.

    Attributes:
        source: the network.
        identity: what tells it from others.
        changes: what a call of it would change of the process.
        checks: the results of the checks before the attacks.
        files: SHA-256 by absolute path of every user's file that was executed for it.
    """

    source: Source
    identity: Identity
    changes: tuple[str, ...]
    checks: Sequence[Finding]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> NetworkSpec:
        """Where it is from."""
        return self.source.spec


def describe(job: Job, networks: Sequence[Loaded], images: Images, device: str) -> Manifest:
    """The manifest of a run that is about to start.

    Args:
        job: what will be run.
        networks: its networks.
        images: its images.
        device: where it computes.

    Returns:
        JSON data; ``identity`` holds what decides the records, and ``plan`` is its digest.
    """
    plan = job.plan
    used = [libraries.load(name) for name in dict.fromkeys(row.library for row in plan.rows)]
    hashes = images.digests("sha256")
    content: Manifest = {
        "status": "running",
        "started": now(),
        "ended": None,
        "request": job.request.to_json(),
        "suite": {"name": plan.suite.name, "description": plan.suite.description},
        "rows": [to_json(row) for row in plan.rows],
        "holes": [to_json(hole) for hole in plan.holes],
        "libraries": [library.to_json() for library in used],
        "data": {
            "name": job.dataset.name,
            "title": job.dataset.title,
            "source": job.request.data,
            "split": job.split,
            "size": job.dataset.splits[job.split].size,
            "chosen": job.chosen,
            "sha256": _digest([hashes, images.labels.tolist()]),
        },
        "domain": images.domain.to_json(),
        "networks": [_network(one, job, images) for one in networks],
        "warnings": [
            {"network": one.spec.name, "message": check.message}
            for one in networks
            for check in one.checks
            if check.status != "pass"
        ],
        "samples": len(plan.indices),
        "split": job.split,
        "seed": plan.seed,
        "device": device,
        "time_limit": plan.time_limit,
        "planned": plan.records,
        "indices": list(plan.indices),
        "image_sha256": hashes,
        "image_sha512": images.digests("sha512"),
        "packages": versions(),
        "sources": {what: found.sha256 for what, found in job.sources.items()},
        "files": {what: dict(found.files) for what, found in job.sources.items()}
        | {f"network {one.spec.name}": dict(one.source.files) for one in networks if one.source.files},
        "code": code_sha256(),
        "git": _git(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "device": _device(device),
        },
    }
    content["identity"] = identity(content)
    content["plan"] = plan_of(content["identity"])
    return content


def _network(one: Loaded, job: Job, images: Images) -> dict[str, Any]:
    size = job.dataset.splits[job.split].size
    whole = size <= EVALUATED and size > len(images.labels)
    n = size if whole else len(images.labels)
    return {
        **to_json(one.spec),
        **one.identity.to_json(),
        "source_sha256": one.source.code.sha256 if one.source.code else next(iter(one.source.files.values()), None),
        "parameters": sum(parameter.numel() for parameter in one.source.module.parameters()),
        "accuracy": _accuracy(one, n, job if whole else None, images),
        "accuracy_images": n,
        "structure": printed(one.source.module),
        "notes": list(one.source.notes),
        "preflight": {check.check.value: check.to_json() for check in one.checks},
    }


def _accuracy(one: Loaded, n: int, job: Job | None, images: Images) -> float:
    """Clean accuracy on all ``n`` images of a job's split, or of the run, a part of them at a time."""
    module = Guarded(guard.copied(one.source.module), one.source.within)
    step, correct = images.domain.at_once(BATCH), 0
    for first in range(0, n, step):
        part = range(first, min(first + step, n))
        inputs, labels = (
            job.dataset.load(job.split, part)
            if job is not None
            else (images.inputs[part.start : part.stop], images.labels[part.start : part.stop])
        )
        correct += round(len(part) * evaluate(module, torch.from_numpy(inputs), torch.from_numpy(labels))[1])
    return correct / n


def identity(content: Manifest) -> dict[str, Any]:
    """What decides a run's records: two runs with the same identity have the same records."""
    return {
        "suite": content["suite"]["name"],
        **{f"attack {row['name']}": row for row in content["rows"]},
        **{f"weights of {network['name']}": network["sha256"] for network in content["networks"]},
        **{
            f"arguments of {network['name']}": network["arguments"]
            for network in content["networks"]
            if network.get("arguments")
        },
        **{f"code of {network['name']}": network["source_sha256"] for network in content["networks"]},
        **{f"file of {name}": sha256 for name, sha256 in content["sources"].items()},
        **{key: content[key] for key in ("samples", "split", "seed", "device", "time_limit", "code", "domain")},
        "data": content["data"]["sha256"],
        "images": _digest(content["indices"]),
        **{f"version of {name}": content["packages"].get(name) for name in ("python", "minimal-norm-bench", *DECISIVE)},
        **{
            f"version of {name}": version
            for library in content["libraries"]
            for name, version in library["versions"].items()
        },
    }


def plan_of(identity: Mapping[str, Any]) -> str:
    """The digest of an identity, which every part of the run carries."""
    return _digest(identity)


def environment(stored: Manifest) -> list[str]:
    """What decides a run's records, and is another here and now than where the run was made: a line each."""
    device, machine = str(stored.get("device")), stored.get("machine") or {}
    known = stored.get("identity") or {}
    before = {name: value for name, value in known.items() if name.startswith("version of ")} | {
        "code": stored.get("code")
    }
    now = {
        name: platform.python_version()
        if name == "version of python"
        else libraries.version(name[len("version of ") :])
        for name in before
        if name != "code"
    } | {"code": code_sha256()}
    try:
        here = _device(device)
    except Exception:
        # What torch says of a device that is not there differs from version to version.
        here = "absent"
    before |= {"processor": machine.get("processor"), "device": machine.get("device")}
    now |= {"processor": _processor(), "device": here}
    return [f"{key} was {_short(before[key])}, is {_short(now[key])}" for key in before if before[key] != now[key]]


def check_same(name: str, stored: Manifest, current: Manifest) -> None:
    """Refuse to go on with a run whose code, weights, data, packages or plan are others than when it began.

    Raises:
        StoreError: says what differs.
    """
    before, after = stored.get("identity", {}), current["identity"]
    differences = [
        f"network {network['name']}: {difference}"
        for network in current["networks"]
        for old in stored["networks"]
        if old["name"] == network["name"]
        and old.get("sha256") == network["sha256"]
        and (difference := Identity.from_json(old).difference(Identity.from_json(network)))
    ]
    differences += [
        f"{key} was {_short(before.get(key))}, is {_short(after.get(key))}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    if differences:
        more = f"; and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise StoreError(
            f"run {name} cannot go on, its records would not fit together: {'; '.join(differences[:5])}{more}. "
            "Start a new run under another --name, or restore what changed"
        )


def _short(value: object) -> str:
    if value is None:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 20 else f"sha256 {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _git() -> dict[str, Any] | None:
    """Revision of the working copy the code runs from, and whether it was changed; None outside one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - fixed words
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():
            return None
        return {"revision": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _device(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
