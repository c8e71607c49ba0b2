"""From stored records to what metrics need: rows described, distances in each row's norm, the best known per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.norms import Norm
from bench.records import Status
from bench.specs import LIBRARY_LABELS, Kind

Manifest = Mapping[str, Any]
FloatArray = NDArray[np.float64]

FAILURES = (Status.INVALID, Status.ERROR, Status.TIMEOUT)
"""Statuses of attacks that ended without a candidate to judge."""

GAP = 1e-4
"""The relative gap between certified lower bound and best adversarial example at which a distance counts as exact."""


@dataclass(frozen=True)
class Evidence:
    """Everything that metrics read, prepared once.

    Attributes:
        records: one line per (network, attack, image), columns of ``bench.records.SCHEMA`` and ``distance``, the
            distance in the row's own norm.
        rows: one line per planned row: attack, label, title, slug, library, norm, kind, family, access, origin, cap, steps (of its
            parameters, NaN for none).
        best: one line per (network, norm, image): ``distance`` (the smallest of any candidate, +inf for none),
            ``attack`` (whose candidate that is), ``label``, ``adversarial_class``, ``lower`` (the largest certified
            lower bound), ``exact`` (bounds met), ``misclassified``. Norms are those of the rows.
        networks: names in the manifest's order.
        norms: norms of the rows, in the order of ``Norm``.
    """

    records: pd.DataFrame
    rows: pd.DataFrame
    best: pd.DataFrame
    networks: tuple[str, ...]
    norms: tuple[Norm, ...]

    @property
    def attacks(self) -> pd.DataFrame:
        """The records of attacks, without those of verifiers."""
        return self.records[self.records["kind"] == Kind.UPPER.value]

    @property
    def bounded(self) -> frozenset[tuple[str, str]]:
        """The (network, norm) that a verifier was run on: of others nothing is certified, which is not a bound of 0."""
        verified = self.records[
            (self.records["kind"] != Kind.UPPER.value) & (self.records["status"] != Status.UNSUPPORTED.value)
        ]
        pairs = verified[["network", "norm"]].astype(str).drop_duplicates()
        return frozenset(zip(pairs["network"], pairs["norm"], strict=True))


def evidence(records: pd.DataFrame, manifest: Manifest) -> Evidence:
    """Prepare a run's records.

    Args:
        records: as read from the store; it is not changed.
        manifest: of the same run.

    Returns:
        The records with what is derived from them.
    """
    rows = row_table(manifest)
    networks = tuple(str(network["name"]) for network in manifest["networks"])
    order = pd.CategoricalDtype(list(networks), ordered=True)
    attacks = pd.CategoricalDtype(rows["attack"].tolist(), ordered=True)
    frame = records.assign(network=records["network"].astype(order), attack=records["attack"].astype(attacks))
    norms = tuple(norm for norm in Norm if norm.value in set(rows["norm"]))
    frame = frame.assign(distance=own_distance(frame))
    return Evidence(frame, rows, _best(frame, norms), networks, norms)


def row_table(manifest: Manifest) -> pd.DataFrame:
    """The planned rows of a run as a table; see :class:`Evidence`."""
    columns = ["attack", "label", "title", "slug", "library", "library_label", "norm", "kind", "family", "access"]
    columns += ["origin", "cap", "steps"]
    lines = []
    for row in manifest["rows"]:
        method = row.get("method") or {}
        lines.append(
            {
                "attack": row["name"],
                "label": row["label"],
                "title": method.get("title", row.get("title", row["name"])),
                "slug": method.get("slug", row.get("slug", row["name"])),
                "library": row["library"],
                "library_label": LIBRARY_LABELS.get(row["library"], row["library"]),
                "norm": row["norm"],
                "kind": row["kind"],
                "family": method.get("family", ""),
                "access": method.get("access", ""),
                "origin": row.get("origin", ""),
                "cap": row.get("cap"),
                "steps": _steps(row.get("params") or {}),
            }
        )
    return pd.DataFrame(lines, columns=columns)


_STEPS = ("steps", "max_iter", "max_steps", "num_steps", "iterations")


def _steps(params: Mapping[str, Any]) -> float:
    """The number of steps among a row's parameters; NaN where it has none."""
    found = [float(params[name]) for name in _STEPS if isinstance(params.get(name), int | float)]
    return found[0] if found else float("nan")


def own_distance(records: pd.DataFrame) -> FloatArray:
    """Each record's distance in the norm of its row, (n,) float64; +inf where nothing was found."""
    distance = np.full(len(records), np.inf)
    for norm in Norm:
        chosen = (records["norm"] == norm.value).to_numpy()
        distance[chosen] = records[norm.value].to_numpy(dtype=np.float64)[chosen]
    return distance


def _best(records: pd.DataFrame, norms: tuple[Norm, ...]) -> pd.DataFrame:
    columns = ["network", "norm", "image", "label", "distance", "attack", "adversarial_class", "misclassified"]
    columns += ["lower", "exact"]
    parts = [_best_in(records, norm) for norm in norms]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _best_in(records: pd.DataFrame, norm: Norm) -> pd.DataFrame:
    """The best known of every image in one norm.

    Every candidate counts in every norm, whatever its attack minimised. Of equal distances the attack that
    minimised this norm is named, then the first of the plan.
    """
    keys = ["network", "image"]
    content = records[[*keys, "label", "attack", "adversarial_class", "norm", "status", "lower"]].assign(
        distance=records[norm.value].to_numpy(), other_norm=(records["norm"] != norm.value).to_numpy()
    )
    ordered = content.sort_values([*keys, "distance", "other_norm", "attack"], kind="stable")
    first = ordered.drop_duplicates(keys).reset_index(drop=True)
    certified = content[~content["other_norm"] & (content["status"] != Status.MISCLASSIFIED.value)]
    lower = certified.groupby(keys, observed=True)["lower"].max()
    first = first.drop(columns="lower").join(lower, on=keys)
    first["lower"] = first["lower"].fillna(0.0)
    first["misclassified"] = first["status"] == Status.MISCLASSIFIED.value
    met = np.isfinite(first["distance"]) & (first["lower"] >= first["distance"] * (1 - GAP))
    first["exact"] = met | first["misclassified"]
    first.loc[np.isinf(first["distance"]), "attack"] = None
    first["norm"] = norm.value
    return first
