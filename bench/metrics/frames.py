"""From stored records to what metrics need: rows described, distances in each row's norm, the best known per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.domain import Domain
from bench.norms import Norm
from bench.records import Status
from bench.specs import GAP, Kind, Origin

Manifest = Mapping[str, Any]
FloatArray = NDArray[np.float64]

FAILURES = (Status.INVALID, Status.ERROR, Status.TIMEOUT)
"""Statuses of attacks that ended without a candidate to judge."""

ROUNDING = 1e-9
"""Bounds and distances are float64 results of long sums: they count as equal within this fraction of one another."""


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """A library of the run, as the manifest describes it.

    Attributes:
        name: the first part of its rows' names.
        label: what people call it.
        ours: whether its code is the bench's own, so that its results say nothing about another library.
        marker: how it asks to be marked in plots; empty where it does not.
    """

    name: str
    label: str
    ours: bool = False
    marker: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that metrics read, prepared once.

    Attributes:
        records: one line per (network, attack, image), columns of ``bench.records.schema`` and ``distance``, the
            distance in the row's own norm.
        rows: one line per planned row: attack, label, title (of the method, with its variant), slug (of the method),
            variant (its slug, or empty), library, library_label, norm, kind, family, access, origin, cap, steps (their
            number, NaN where no parameter counts them), native (an attack whose code is the library's own, unchanged,
            of a library that is not ours: what libraries are compared by).
        best: one line per (network, norm, image): ``distance`` (the smallest of any candidate, +inf for none),
            ``attack`` (whose candidate that is), ``label``, ``adversarial_class``, ``pixels`` (that it changes),
            ``lower`` (the largest certified lower bound), ``exact`` (bounds met), ``misclassified``, ``searched`` (whether
            something that minimises this norm, an attack or an exact search, was run on the image; elsewhere the distance
            is a by-product of attacks in other norms, and compares with nothing). Norms are those of the rows.
        networks: names in the manifest's order.
        norms: norms of the rows, in the order of ``Norm``.
        libraries: of the run by their names, in the manifest's order.
        domain: of the images.
        dataset: its name, empty where the manifest has none.
    """

    records: pd.DataFrame
    rows: pd.DataFrame
    best: pd.DataFrame
    networks: tuple[str, ...]
    norms: tuple[Norm, ...]
    libraries: Mapping[str, LibraryInfo]
    domain: Domain
    dataset: str = ""

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
        manifest: of the same run, in the layout of today; what is read are ``rows``, ``networks``, ``libraries``,
            ``domain`` and the name of the dataset in ``data``.

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
    domain = Domain.from_json(manifest["domain"])
    dataset = str((manifest.get("data") or {}).get("name", ""))
    return Evidence(frame, rows, _best(frame, norms), networks, norms, library_table(manifest), domain, dataset)


def library_table(manifest: Manifest) -> dict[str, LibraryInfo]:
    """The libraries of a run by their names; what rows and holes name beyond the manifest's list has its name as label."""
    listed = {
        str(item["name"]): LibraryInfo(
            str(item["name"]),
            str(item.get("label") or item["name"]),
            bool(item.get("ours")),
            str(item.get("marker", "")),
        )
        for item in manifest.get("libraries", [])
    }
    named = [str(item["library"]) for item in [*manifest["rows"], *manifest.get("holes", [])]]
    return listed | {name: LibraryInfo(name, name) for name in dict.fromkeys(named) if name not in listed}


def row_table(manifest: Manifest) -> pd.DataFrame:
    """The planned rows of a run as a table; see :class:`Evidence`."""
    libraries = library_table(manifest)
    columns = ["attack", "label", "title", "slug", "variant", "library", "library_label", "norm", "kind", "family"]
    columns += ["access", "origin", "cap", "steps", "native"]
    lines = []
    for row in manifest["rows"]:
        method, variant = row.get("method") or {}, row.get("variant") or {}
        title = str(method.get("title", row.get("title", row["name"])))
        steps = (row.get("params") or {}).get(row.get("steps") or "")
        library = libraries[str(row["library"])]
        lines.append(
            {
                "attack": row["name"],
                "label": row["label"],
                "title": title + (f", {variant['title']}" if variant.get("title") else ""),
                "slug": method.get("slug", row.get("slug", row["name"])),
                "variant": str(variant.get("slug", "")),
                "library": library.name,
                "library_label": library.label,
                "norm": row["norm"],
                "kind": row["kind"],
                "family": method.get("family", ""),
                "access": method.get("access", ""),
                "origin": row.get("origin", ""),
                "cap": row.get("cap"),
                "steps": float(steps) if isinstance(steps, int | float) else np.nan,
                "native": row["kind"] == Kind.UPPER.value
                and row.get("origin") == Origin.NATIVE.value
                and not variant
                and not library.ours,
            }
        )
    return pd.DataFrame(lines, columns=columns)


def meets(lower: FloatArray | pd.Series, distance: FloatArray | pd.Series) -> Any:
    """Whether a certified lower bound meets a distance, so that the distance is exact: the one rule of the bench.

    It does where ``lower >= distance (1 - GAP)`` up to rounding, which is where an exact search stops.

    Args:
        lower: (n,) certified bounds, >= 0.
        distance: (n,) distances, >= 0 or +inf; an infinite one is met by nothing.

    Returns:
        (n,) bool.
    """
    return np.isfinite(distance) & (lower >= distance * (1 - GAP - ROUNDING))


def own_distance(records: pd.DataFrame) -> FloatArray:
    """Each record's distance in the norm of its row, (n,) float64; +inf where nothing was found."""
    distance = np.full(len(records), np.inf)
    for norm in Norm:
        chosen = (records["norm"] == norm.value).to_numpy()
        distance[chosen] = records[norm.value].to_numpy(dtype=np.float64)[chosen]
    return distance


def _best(records: pd.DataFrame, norms: tuple[Norm, ...]) -> pd.DataFrame:
    columns = ["network", "norm", "image", "label", "distance", "attack", "adversarial_class", "misclassified"]
    columns += ["pixels", "lower", "exact", "searched"]
    parts = [_best_in(records, norm) for norm in norms]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _best_in(records: pd.DataFrame, norm: Norm) -> pd.DataFrame:
    """The best known of every image in one norm.

    Every candidate counts in every norm, whatever its attack minimised. Of equal distances the attack that
    minimised this norm is named, then the first of the plan.
    """
    keys = ["network", "image"]
    columns = [*keys, "label", "attack", "adversarial_class", "pixels", "norm", "status", "lower", "kind"]
    content = records[columns].assign(
        distance=records[norm.value].to_numpy(), other_norm=(records["norm"] != norm.value).to_numpy()
    )
    ordered = content.sort_values([*keys, "distance", "other_norm", "attack"], kind="stable")
    first = ordered.drop_duplicates(keys).reset_index(drop=True)
    certified = content[~content["other_norm"] & (content["status"] != Status.MISCLASSIFIED.value)]
    lower = certified.groupby(keys, observed=True)["lower"].max()
    first = first.drop(columns="lower").join(lower, on=keys)
    first["lower"] = first["lower"].fillna(0.0)
    first["misclassified"] = first["status"] == Status.MISCLASSIFIED.value
    searching = content["kind"].isin([Kind.UPPER.value, Kind.EXACT.value]) & ~content["other_norm"]
    tried = content.loc[searching & (content["status"] != Status.UNSUPPORTED.value), keys].drop_duplicates()
    first["searched"] = first.set_index(keys).index.isin(tried.set_index(keys).index) | first["misclassified"]
    first["exact"] = meets(first["lower"], first["distance"]) | first["misclassified"]
    first.loc[np.isinf(first["distance"]), "attack"] = None
    first["norm"] = norm.value
    return first
