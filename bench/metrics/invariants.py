"""What must hold of every run whatever its numbers are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.metrics.frames import ROUNDING, Evidence, Manifest
from bench.norms import Norm
from bench.records import Status


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule, whether the run keeps it, and the figures.

    Attributes:
        name: short and stable, for programs.
        rule: in words.
        holds: None where the run is not finished, so that it cannot be said yet.
        detail: the figures, or what breaks the rule.
    """

    name: str
    rule: str
    holds: bool | None
    detail: str


def invariants(evidence: Evidence, manifest: Manifest) -> tuple[Invariant, ...]:
    """Check a run's invariants; all of them are shown, and a broken one fails the run."""
    return (
        _complete(evidence, manifest),
        _unique(evidence),
        _consistent(evidence),
        _bounded(evidence),
    )


def violations(evidence: Evidence) -> pd.DataFrame:
    """Images with an adversarial example, returned or seen, nearer than a certified lower bound: one of the two is wrong.

    Returns:
        Columns network, norm, image, distance, attack, lower; empty when all is well.
    """
    columns = ["network", "norm", "image", "distance", "attack", "lower"]
    best = evidence.best.loc[~evidence.best["misclassified"].astype(bool), columns]
    keys = ["network", "norm", "image"]
    watched = evidence.records[evidence.records["best_seen"].notna()]
    seen = watched.drop(columns=["distance", "lower"]).rename(columns={"best_seen": "distance"})
    seen = seen[[*keys, "distance", "attack"]].merge(best[[*keys, "lower"]], on=keys)
    every = pd.concat([best, seen[columns]]) if len(seen) else best
    broken = every[every["lower"] > every["distance"] * (1 + ROUNDING)]
    nearest = broken.sort_values([*keys, "distance"], kind="stable").drop_duplicates(keys)
    return nearest.reset_index(drop=True)


def _complete(evidence: Evidence, manifest: Manifest) -> Invariant:
    planned, stored = manifest.get("planned"), len(evidence.records)
    rule = "Every planned record is stored."
    if planned is None:
        return Invariant("complete", rule, None, f"{stored:,} stored; the manifest does not say how many were planned")
    detail = f"{stored:,} of {int(planned):,} planned records are stored"
    if stored < int(planned) and manifest.get("status") != "finished":
        return Invariant("complete", rule, None, f"{detail}; the run is {manifest.get('status')}")
    return Invariant("complete", rule, stored == int(planned), detail)


def _unique(evidence: Evidence) -> Invariant:
    twice = int(evidence.records.duplicated(["network", "attack", "image"]).sum())
    detail = f"{twice:,} records stand twice" if twice else f"{len(evidence.records):,} records, none twice"
    return Invariant("unique", "No (network, attack, image) has two records.", twice == 0, detail)


def _consistent(evidence: Evidence) -> Invariant:
    records = evidence.records
    values = records[[norm.value for norm in Norm]].to_numpy()
    finite = records["status"].isin([Status.FOUND.value, Status.MISCLASSIFIED.value]).to_numpy()
    wrong = (
        np.isnan(values).any(axis=1) | (values < 0).any(axis=1) | (np.isfinite(values) != finite[:, None]).any(axis=1)
    )
    misclassified = (records["status"] == Status.MISCLASSIFIED.value).to_numpy()
    wrong |= finite & ((values == 0) != misclassified[:, None]).any(axis=1)
    number = int(wrong.sum())
    detail = f"{number:,} records contradict their status" if number else f"{len(records):,} records agree"
    return Invariant("consistent", "Distances are finite exactly where something was found.", number == 0, detail)


def _bounded(evidence: Evidence) -> Invariant:
    rule = "No adversarial example is nearer than a certified lower bound."
    bounded = int((evidence.best["lower"] > 0).sum())
    if not bounded:
        return Invariant("bounded", rule, True, "this run has no certified bounds")
    broken = violations(evidence)
    if len(broken):
        first = broken.iloc[0]
        detail = (
            f"{len(broken):,} of {bounded:,} bounds are broken, first: {first['network']}, image {first['image']}, "
            f"{Norm(first['norm']).label}: bound {first['lower']:.9g}, {first['attack']} found {first['distance']:.9g}"
        )
        return Invariant("bounded", rule, False, detail)
    return Invariant("bounded", rule, True, f"{bounded:,} bounds hold against every candidate of the run")
