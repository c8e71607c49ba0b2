"""A stored run, opened to be decided on: finished, whole, and without contradictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from bench import metrics, store, verdict
from bench.errors import StoreError
from bench.findings import Level
from bench.metrics import Evidence


class Stored(Protocol):
    """What is read of a run: ``bench.store.Run``."""

    @property
    def path(self) -> Path:
        """Its folder."""
        ...

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run."""
        ...

    def records(self) -> pd.DataFrame:
        """All records."""
        ...


@dataclass(frozen=True)
class Opened:
    """A run that can be decided on.

    Attributes:
        name: how messages call it.
        manifest: what was run.
        evidence: its records, prepared.
    """

    name: str
    manifest: Mapping[str, Any]
    evidence: Evidence

    @cached_property
    def verdicts(self) -> Mapping[str, Level]:
        """The verdict on each network: the worst level of its checks."""
        found = verdict.findings(self.evidence, self.manifest)
        return {name: verdict.overall(found, name) for name in self.evidence.networks}


def read(path: Path | str) -> Opened:
    """Open the run of a folder.

    Raises:
        StoreError: it is no run, is damaged, or as for :func:`opened`.
    """
    return opened(store.read(path))


def opened(run: Stored) -> Opened:
    """Open a run.

    Raises:
        StoreError: it is not finished, its records break a rule that every run keeps, or a part is damaged.
    """
    name, manifest = str(run.path), run.manifest
    status = manifest.get("status") or "finished"
    if status != "finished":
        raise StoreError(
            f"{name} is not finished, its status is '{status}'; nothing is decided on part of a run: wait for it, or go "
            f"on with python -m bench.run --resume {name}"
        )
    evidence = metrics.evidence(run.records(), manifest)
    for rule in metrics.invariants(evidence, manifest):
        if rule.holds is False:
            raise StoreError(
                f"{name} breaks a rule that every run keeps ({rule.rule.rstrip('.')}): {rule.detail}; restore it from a "
                "copy, or compute it again"
            )
    return Opened(name, manifest, evidence)
