"""Queries against distance: how near decision-based attacks are after so many queries of the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import distribution as dist
from bench.metrics.frames import Evidence
from bench.records import Status, query_counts
from bench.specs import Access

_COLUMNS = ["network", "norm", "attack", "library", "title", "label", "images"]
_COLUMNS += ["queries", "returned", "q1", "median", "q3", "best"]


def query_curves(evidence: Evidence) -> pd.DataFrame:
    """Distances of each decision-based attack over its queries, on the images that all of them were run on.

    Returns:
        Columns network, norm, attack, library, title (of the method, a category of all decision-based ones), label;
        ``images``: how many all decision-based attacks with curves of this network and norm have in common;
        ``queries``: per image; ``q1``, ``median``, ``q3`` over these images of the nearest adversarial point that the
        attack had asked about by then, misclassified images as 0, images without one as +inf; ``returned``: False for
        these, True for a last line with what the attack returned, judged, at the most queries that it asked for an
        image; ``best``: the median of the best known distances of the same images, NaN where no attack that sees
        gradients was run on all of them in this norm. An attack has no line on a network where nothing was noted.
    """
    access = dict(zip(evidence.rows["attack"], evidence.rows["access"], strict=True))
    attacks = evidence.attacks.assign(access=evidence.attacks["attack"].astype(str).map(access))
    lines = []
    for (network, norm), group in attacks.groupby(["network", "norm"], observed=True):
        asked = group[group["access"] == Access.DECISION.value]
        noted = asked.loc[asked["curve"].notna(), "attack"].unique()
        asked = asked[asked["attack"].isin(noted)]
        common = asked.groupby("image")["attack"].nunique()
        images = common.index[common == len(noted)]
        if not len(images):
            continue
        inside = group[group["image"].isin(images)]
        line = {"network": network, "norm": norm, "images": len(images), "best": _best(evidence, inside)}
        for attack, own in inside[inside["attack"].isin(noted)].groupby("attack", observed=True):
            lines += [line | {"attack": attack} | values for values in _lines(own)]
    described = evidence.rows[["attack", "label", "title", "library"]]
    decisions = evidence.rows.loc[evidence.rows["access"] == Access.DECISION.value, "title"]
    keys = [name for name in _COLUMNS if name not in ("label", "title", "library")]
    table = pd.DataFrame(lines, columns=keys).astype({"network": object, "norm": object, "attack": object})
    titles = pd.CategoricalDtype(list(dict.fromkeys(decisions)), ordered=True)
    return table.merge(described, on="attack", how="left")[_COLUMNS].astype({"title": titles})


def _best(evidence: Evidence, records: pd.DataFrame) -> float:
    """The median best known distance of the images of records of one network and norm; NaN where it is no limit for them."""
    images = set(records["image"])
    if set(records.loc[records["access"] == Access.GRADIENT.value, "image"]) != images:
        return float("nan")
    best = evidence.best
    first = records.iloc[0]
    chosen = (best["network"] == first["network"]) & (best["norm"] == first["norm"]) & best["image"].isin(images)
    return float(dist.median(best.loc[chosen, "distance"].to_numpy()))


def _lines(records: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Quartiles over the images of one attack, at each count and at its end."""
    most = float(records["forwards"].max())
    counts = query_counts(most)
    distances = records["distance"].to_numpy(dtype=np.float64)
    wrong = (records["status"] == Status.MISCLASSIFIED.value).to_numpy()
    table = np.full((len(records), len(counts)), np.inf)
    for values, curve, distance in zip(table, records["curve"], distances, strict=True):
        if curve is not None:
            values[: len(curve)] = curve
            # An image whose queries ended keeps the nearest point of all of them.
            values[len(curve) :] = min([distance, *curve])
    table[wrong] = 0.0
    for queries, column in [*zip(counts, table.T, strict=True), (most, distances)]:
        quarter = dist.quantiles(np.sort(column), np.array([0.25, 0.5, 0.75]))
        yield {
            "queries": float(queries),
            "returned": column is distances,
            "q1": quarter[0],
            "median": quarter[1],
            "q3": quarter[2],
        }
