"""Runs of one suite on one dataset, over time: medians with intervals, and what the paired test confirms."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import StoreError, printable
from bench.metrics import paired
from bench.metrics.before_after import decided
from bench.norms import Norm
from bench.store.files import read_bytes

Distances = Mapping[tuple[str, str], Mapping[str, tuple[float, int]]]
"""(network, norm) -> by the SHA-256 of the image its best known distance, and how many attacks ended on it."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the report of a run left for programs.

    Attributes:
        folder: its name.
        started: when, ISO 8601.
        suite, dataset: what it is a run of.
        attacks: digest of its rows with their parameters: other attacks find other distances.
        networks: a line for each network and norm: norm, network, median, median_low, median_high.
        verdicts: network -> outcome.
        distances: what its ``best.csv`` says.
    """

    folder: str
    started: str
    suite: str
    dataset: str
    attacks: str
    networks: Sequence[Mapping[str, Any]]
    verdicts: Mapping[str, str]
    distances: Distances


@dataclass(frozen=True, slots=True)
class History:
    """Runs of one suite on one dataset.

    Attributes:
        suite, dataset: of all.
        medians: columns norm, network, run, started, median, low, high: in the order of time.
        changes: columns norm, network, before, after (folders), images, median_before, median_after, low, high (95 %
            interval of the difference), p_holm, change (``larger`` or ``smaller`` where it is below 0.05, else empty),
            between runs that follow each other with the same attacks, on images on which as many of them ended, where the
            checks of the network fail in neither. Medians are of the images that both runs have.
    """

    suite: str
    dataset: str
    medians: pd.DataFrame
    changes: pd.DataFrame


def read(path: Path, manifest: Mapping[str, Any]) -> Past | None:
    """What a run's report left; None where it is not there, or cannot be understood.

    Args:
        path: the run's folder.
        manifest: of the run.
    """
    try:
        summary = json.loads(read_bytes(path / "summary.json"))
        best = pd.read_csv(
            io.BytesIO(read_bytes(path / "best.csv")),
            usecols=["network", "norm", "image", "distance", "searched", "ended"],
            dtype={"network": str},
        )
        hashes = manifest["image_sha256"]
        best = best[best["searched"].astype(bool)]
        best = best.assign(sha256=[hashes[str(image)] for image in best["image"]])
        distances = {
            (printable(str(network)), str(norm)): dict(
                zip(
                    group["sha256"],
                    zip(group["distance"].astype(float), group["ended"].astype(int), strict=True),
                    strict=True,
                )
            )
            for (network, norm), group in best.groupby(["network", "norm"], sort=False)
        }
        rows = sorted((str(row["name"]), json.dumps(row.get("params"), sort_keys=True)) for row in manifest["rows"])
        return Past(
            folder=printable(path.name),
            started=str(manifest["started"]),
            suite=printable(str(manifest["suite"]["name"])),
            dataset=printable(f"{manifest['data'].get('title')}, {manifest['split']}"),
            attacks=json.dumps(rows),
            networks=[
                {
                    "norm": str(line["norm"]),
                    "network": printable(str(line["network"])),
                    **{key: _number(line[key]) for key in ("median", "median_low", "median_high")},
                }
                for line in summary["networks"]
            ],
            verdicts={printable(str(line["network"])): str(line["outcome"]) for line in summary["verdicts"]},
            distances=distances,
        )
    except (StoreError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def histories(runs: Sequence[Past]) -> list[History]:
    """A history for each suite and dataset with two runs or more of one network."""
    groups: dict[tuple[str, str], list[Past]] = {}
    for run in sorted(runs, key=lambda run: run.started):
        groups.setdefault((run.suite, run.dataset), []).append(run)
    made = [History(suite, dataset, _medians(group), _changes(group)) for (suite, dataset), group in groups.items()]
    return [history for history in made if history.medians.groupby(["network", "norm"]).size().max() > 1]


def previous(path: Path, manifest: Mapping[str, Any]) -> Path | None:
    """The folder of the run before this one, of the same suite and split of the same dataset; None for the first.

    Args:
        path: the run's folder.
        manifest: of the run.
    """
    found: list[tuple[str, Path]] = []
    for other in path.parent.iterdir():
        if other == path or not os.path.lexists(other / "report.html"):
            continue
        try:
            content = json.loads(read_bytes(other / "manifest.json"))
            same = all(
                content[key][name] == manifest[key][name]
                for key, name in (("suite", "name"), ("data", "title"), ("data", "split"))
            )
            if same and str(content["started"]) < str(manifest["started"]):
                found.append((str(content["started"]), other))
        except (StoreError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return max(found)[1] if found else None


def _medians(runs: Sequence[Past]) -> pd.DataFrame:
    lines = [
        {
            "norm": line["norm"],
            "network": line["network"],
            "run": run.folder,
            "started": run.started,
            "median": line["median"],
            "low": line["median_low"],
            "high": line["median_high"],
        }
        for run in runs
        for line in run.networks
    ]
    return pd.DataFrame(lines, columns=["norm", "network", "run", "started", "median", "low", "high"])


def _changes(runs: Sequence[Past]) -> pd.DataFrame:
    lines = []
    for norm in Norm:
        for network in dict.fromkeys(line["network"] for run in runs for line in run.networks):
            there = [run for run in runs if (network, norm.value) in run.distances]
            for before, after in pairwise(there):
                old, new = before.distances[network, norm.value], after.distances[network, norm.value]
                # As many of the same attacks ended on the image: a cap or a failure leaves out some.
                common = [image for image, (_, ended) in new.items() if image in old and old[image][1] == ended]
                hidden = {"fail", "stop"} & {before.verdicts.get(network, ""), after.verdicts.get(network, "")}
                if before.attacks != after.attacks or hidden or not common:
                    continue
                result = paired([new[image][0] for image in common], [old[image][0] for image in common])
                lines.append(
                    {
                        "norm": norm.value,
                        "network": network,
                        "before": before.folder,
                        "after": after.folder,
                        "images": result.images,
                        "median_before": result.median_b,
                        "median_after": result.median_a,
                        "low": result.low,
                        "high": result.high,
                        "effect": result.effect,
                        "p_holm": result.p,
                    }
                )
    columns = ["norm", "network", "before", "after", "images", "median_before", "median_after", "low", "high", "effect"]
    return decided(pd.DataFrame(lines, columns=[*columns, "p_holm"]))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
