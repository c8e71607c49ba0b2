"""The reference runs as the chapters read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench import metrics, store, verdict
from bench.errors import StoreError
from bench.guide.reference import RUNS
from bench.metrics import Evidence
from bench.report.frames import Frames

NEEDED = "minimal_norm"
"""Without this run there are no chapters; sections of other runs are left out where those are not stored."""


@dataclass(frozen=True)
class Stored:
    """A reference run: its manifest, and its records as metrics and figures read them.

    Attributes:
        name: of its folder.
        manifest: of the run.
        records: all of it.
    """

    name: str
    manifest: Mapping[str, Any]
    records: pd.DataFrame

    @cached_property
    def frames(self) -> Frames:
        """The tables of its report; networks whose checks fail are left out of comparisons."""
        known = metrics.evidence(self.records, dict(self.manifest))
        found = verdict.findings(known, dict(self.manifest))
        return Frames(known, verdict.failing(found, known.networks))

    @property
    def evidence(self) -> Evidence:
        """What metrics read."""
        return self.frames.evidence


def load(folder: Path) -> dict[str, Stored]:
    """The reference runs that are stored, by name, in the order of ``bench.guide.reference.RUNS``.

    Raises:
        StoreError: the one that the chapters need is not there, or one is damaged.
    """
    found = {run.name: read(folder / run.name) for run in RUNS if (folder / run.name / "manifest.json").exists()}
    if NEEDED not in found:
        raise StoreError(
            f"{folder} has no run {NEEDED}, which the chapters are made from; python -m bench.guide.reference {NEEDED} makes it"
        )
    return found


def read(path: Path) -> Stored:
    """One stored run.

    Raises:
        StoreError: it is damaged, or none.
    """
    run = store.read(path)
    return Stored(path.name, run.manifest, run.records())


def with_exact(run: Stored, exact: Stored | None) -> Stored:
    """A run with the exact searches of another on the same images and networks beside its attacks.

    Args:
        run: of attacks, and certified bounds.
        exact: of searches; None for the run as it is.

    Returns:
        The run with the rows of the other that it lacks, on the images and networks of both; the run as it is where
        networks or images are not the same.
    """
    if exact is None or not _same(run.manifest, exact.manifest):
        return run
    known = {row["name"] for row in run.manifest["rows"]}
    added = [row for row in exact.manifest["rows"] if row["name"] not in known]
    images = set(run.records["image"])
    networks = {network["name"] for network in run.manifest["networks"]}
    other = exact.records.astype({"network": object, "attack": object})
    names = {row["name"] for row in added}
    chosen = other["attack"].isin(names) & other["image"].isin(images) & other["network"].isin(networks)
    records = pd.concat([run.records.astype({"network": object, "attack": object}), other[chosen]], ignore_index=True)
    manifest = dict(run.manifest) | {"rows": [*run.manifest["rows"], *added]}
    return Stored(run.name, manifest, records)


def _same(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether two runs have networks in common, those the same, and images in common, those the same."""
    networks = [{network["name"]: network.get("sha256") for network in content["networks"]} for content in (one, two)]
    return all(
        bool(set(a) & set(b)) and all(a[key] == b[key] for key in set(a) & set(b))
        for a, b in (networks, (one["image_sha256"], two["image_sha256"]))
    )
