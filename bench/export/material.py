"""What exports are made of: a stored run, its records and the metrics of the report, each read or computed once."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pandas as pd

from bench import metrics, verdict
from bench.libraries import version
from bench.metrics import Evidence
from bench.report.frames import Frames
from bench.store import Manifest, Run
from bench.verdict import CheckResult


class Material:
    """A stored run, and what follows from it.

    Attributes:
        run: the stored run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def manifest(self) -> Manifest:
        """What was run, how and where."""
        return self.run.manifest

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.manifest.get("name") or self.run.path.resolve().name)

    @cached_property
    def evidence(self) -> Evidence:
        """What metrics read."""
        return metrics.evidence(self.run.records(), self.manifest)

    @property
    def records(self) -> pd.DataFrame:
        """One line per (network, attack, image), as :class:`bench.metrics.Evidence` has them."""
        return self.evidence.records

    @cached_property
    def checks(self) -> list[CheckResult]:
        """Every check on every network: whether its distances can be trusted."""
        return verdict.findings(self.evidence, self.manifest)

    @cached_property
    def frames(self) -> Frames:
        """The tables of the report."""
        return Frames(self.evidence, verdict.failing(self.checks, self.evidence.networks))

    def verdict(self, network: str) -> str:
        """The worst level of a network's checks: ``pass``, ``warn``, ``fail`` or ``not assessed``."""
        return verdict.overall(self.checks, network).value

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Where the numbers are from, as short texts; what a run does not say is left out."""
        content = self.manifest
        data, git = content["data"], content.get("git") or {}
        told: dict[str, Any] = {
            "run": self.name,
            "suite": content["suite"]["name"],
            "dataset": data["name"],
            "dataset_title": data["title"],
            "split": content["split"],
            "images": content["samples"],
            "images_chosen": data["chosen"],
            "images_sha256": data["sha256"],
            "seed": content["seed"],
            "status": content.get("status"),
            "started": content["started"],
            "ended": content.get("ended"),
            "device": content.get("device"),
            "plan": content["plan"],
            "bench_version": (content.get("packages") or {}).get("minimal-norm-bench"),
            "revision": git.get("revision"),
        }
        return {key: str(value) for key, value in told.items() if value is not None}

    def stamp(self, target: str) -> dict[str, str]:
        """What ``made.json`` says of an export."""
        return {"target": target, "written_by": f"minimal-norm-bench {version('minimal-norm-bench')}"} | self.provenance
