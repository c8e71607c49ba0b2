"""The manifest of a run: everything its numbers depend on, so that it can be repeated, resumed and compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bench
from bench.engine.plan import Plan
from bench.errors import StoreError
from bench.networks import NetworkSpec, evaluate, fingerprint
from bench.preflight import Finding
from bench.records import SCHEMA
from bench.specs import to_json
from bench.store import Manifest

PACKAGES = (
    "torch",
    "torchvision",
    "adversarial-robustness-toolbox",
    "foolbox",
    "numpy",
    "scipy",
    "numba",
    "pandas",
    "pyarrow",
    "seaborn",
    "matplotlib",
)
DECISIVE = ("python", "minimal-norm-bench", *PACKAGES[:7])
"""The packages whose version can change a record."""

ROOT = Path(bench.__file__).parent.parent
SHOWING = (
    "report",
    "plots",
    "metrics",
    "verdict",
    "verify",
    "templates",
    "run",
    "costs",
    "train",
    "describe",
    "step_counts",
    "executors",
    "cluster",
)
"""Parts of ``bench`` that only show, or start, what others compute: they may change between a kill and a resume."""


def describe(
    plan: Plan,
    networks: Sequence[tuple[NetworkSpec, nn.Module, list[Finding]]],
    images: Tensor,
    whole: tuple[Tensor, Tensor],
) -> Manifest:
    """The manifest of a run that is about to start.

    Args:
        plan: what will be run.
        networks: each spec with its loaded module and the findings of its preflight.
        images: the run's clean images (m, ...) float32.
        whole: images and labels of the whole split, for the clean accuracies.

    Returns:
        JSON data; ``identity`` holds what decides the records, and ``plan`` is its digest.
    """
    content: Manifest = {
        "status": "running",
        "started": now(),
        "ended": None,
        "suite": {"name": plan.suite.name, "description": plan.suite.description},
        "rows": [to_json(row) for row in plan.rows],
        "holes": [to_json(hole) for hole in plan.holes],
        "networks": [
            {
                **to_json(spec),
                "sha256": fingerprint(module),
                "source_sha256": _source(spec),
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
                "accuracy": evaluate(module, *(part.to(plan.device) for part in whole))[1],
                "structure": repr(module),
                "preflight": {finding.check: finding.to_json() for finding in findings},
            }
            for spec, module, findings in networks
        ],
        "warnings": [
            {"network": spec.name, "message": finding.message}
            for spec, _, findings in networks
            for finding in findings
            if finding.status != "pass"
        ],
        "samples": plan.samples,
        "split": plan.split,
        "seed": plan.seed,
        "device": plan.device,
        "time_limit": plan.time_limit,
        "planned": plan.records(),
        "box": [0.0, 1.0],
        "shape": list(images.shape[1:]),
        "image_sha256": {str(i): hashlib.sha256(image.numpy().tobytes()).hexdigest() for i, image in enumerate(images)},
        "columns": SCHEMA.names,
        "packages": versions(),
        "code": code_sha256(),
        "git": _git(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "device": _device(plan.device),
        },
    }
    content["identity"] = identity(content)
    content["plan"] = hashlib.sha256(json.dumps(content["identity"], sort_keys=True).encode()).hexdigest()
    return content


def identity(content: Manifest) -> dict[str, Any]:
    """What decides a run's records: two runs with the same identity have the same records."""
    return {
        "suite": content["suite"]["name"],
        **{f"attack {row['name']}": row for row in content["rows"]},
        **{f"weights of {network['name']}": network["sha256"] for network in content["networks"]},
        **{f"code of {network['name']}": network["source_sha256"] for network in content["networks"]},
        **{key: content[key] for key in ("samples", "split", "seed", "device", "time_limit", "code")},
        "data": hashlib.sha256(json.dumps(content["image_sha256"], sort_keys=True).encode()).hexdigest(),
        **{f"version of {name}": content["packages"].get(name) for name in DECISIVE},
    }


def demand_same(name: str, stored: Manifest, current: Manifest) -> None:
    """Refuse to go on with a run whose code, weights, data, packages or plan are others than when it began.

    Raises:
        StoreError: says what differs.
    """
    before, after = stored["identity"], current["identity"]
    differences = [
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


def versions() -> dict[str, str]:
    """The versions of Python, of the bench, and of the packages its numbers pass through."""
    found = {"python": platform.python_version(), "minimal-norm-bench": bench.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def code_sha256() -> str:
    """SHA-256 over the Python files of the bench that can change a record."""
    digest = hashlib.sha256()
    for package in ("bench", "adapters", "suites"):
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if package == "bench" and relative.parts[1].removesuffix(".py") in SHOWING:
                continue
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _source(spec: NetworkSpec) -> str | None:
    """SHA-256 of the file that a user's network comes from."""
    if spec.factory is None:
        return None
    return hashlib.sha256(Path(spec.factory.rpartition(":")[0]).read_bytes()).hexdigest()


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
