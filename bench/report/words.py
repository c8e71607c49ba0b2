"""The first screen in words: which network, which attack, and what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import Evidence
from bench.norms import Norm
from bench.report.figures import Frames
from bench.report.tables import figure, share
from bench.specs import LIBRARY_LABELS


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of an answer: what it is about, the answer, and what it rests on."""

    norm: str
    subject: str
    text: str
    support: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def most_robust(frames: Frames) -> list[Answer]:
    """For each norm the network with the largest median minimal norm, by how much, and how sure that is."""
    answers = []
    table, pairs = frames["networks"], frames["differences"]
    for norm in frames.evidence.norms:
        lines = table[table["norm"] == norm.value]
        if not len(lines):
            continue
        best = lines.iloc[int(lines["median"].to_numpy().argmax())]
        name, median = str(best["network"]), float(best["median"])
        bounds = f"95 % interval {figure(best['median_low'])} to {figure(best['median_high'])}"
        if not np.isfinite(median):
            unknown = [str(n) for n in lines.loc[~np.isfinite(lines["median"]), "network"]]
            support = f"no adversarial example is known for half of the images of {', '.join(unknown)}"
            answers.append(Answer(norm.value, norm.label, "not decided", support))
            continue
        if len(lines) == 1:
            answers.append(Answer(norm.value, norm.label, name, f"median {figure(median)}, {bounds}; the only network"))
            continue
        second = lines[lines["network"] != best["network"]].sort_values("median", ascending=False).iloc[0]
        other = str(second["network"])
        pair = pairs[
            (pairs["norm"] == norm.value)
            & pairs["network_a"].isin([name, other])
            & pairs["network_b"].isin([name, other])
        ]
        text, support = _by_how_much(
            name, other, pair, median=median, second=float(second["median"]), first=float(best["first"])
        )
        answers.append(Answer(norm.value, norm.label, text, f"median {figure(median)} ({bounds}); {support}"))
    return answers


def _by_how_much(
    name: str, other: str, pair: pd.DataFrame, *, median: float, second: float, first: float
) -> tuple[str, str]:
    times = f"{figure(median / second)} times {other}'s" if second > 0 else f"{other} has {figure(second)}"
    if not len(pair):
        return name, times
    line = pair.iloc[0]
    sure = bool(line["p_holm"] < 0.05) and bool(line["low"] > 0 or line["high"] < 0)
    test = f"larger on {share(float(line['wins']), 0)} of the images, p {p_value(float(line['p_holm']))}"
    rank = f"first in {share(first, 0)} of resamples"
    if sure:
        return name, f"{times}, {test}, {rank}"
    return f"{name} or {other}: too close to call", f"{times}, but {test}, {rank}"


def p_value(p: float) -> str:
    """A p value as people read it."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def best_attacks(frames: Frames) -> list[Answer]:
    """For each norm the attack to trust: the smallest median ratio to the best known, found everywhere; and a cheap one.

    Only attacks that were run on every image that any attack of the norm was run on are compared.
    """
    answers = []
    scores = attack_scores(frames)
    for norm in frames.evidence.norms:
        lines = scores[(scores["norm"] == norm.value) & scores["complete"]]
        usable = lines[np.isfinite(lines["ratio"])]
        if not len(usable):
            if len(lines):
                answers.append(
                    Answer(norm.value, norm.label, "none", "no attack found something on half of the images")
                )
            continue
        ranked = usable.sort_values(["ratio", "seconds"])
        best = ranked.iloc[0]
        support = _quality(best)
        cheap = ranked[(ranked["ratio"] <= max(1.05, best["ratio"] * 1.02)) & (ranked["seconds"] < best["seconds"] / 3)]
        if len(cheap):
            fast = cheap.sort_values("seconds").iloc[0]
            times = float(best["seconds"] / fast["seconds"]) if fast["seconds"] > 0 else float("inf")
            support += f". Nearly as good: {fast['label']}, {_quality(fast)}, {figure(times, 2)} times faster"
        answers.append(Answer(norm.value, norm.label, str(best["label"]), support, {"attack": str(best["attack"])}))
    return answers


def _quality(line: pd.Series) -> str:
    ratio = float(line["ratio"])
    near = "the best known distance" if ratio < 1.0005 else f"{figure(ratio, 4)} times the best known distance"
    return (
        f"median {near}, found on {share(float(line['found_rate']))} of the images, "
        f"{figure(float(line['seconds']), 2)} s per image"
    )


def to_avoid(frames: Frames) -> list[str]:
    """Implementations that find larger distances than another library's of the same method, beyond chance."""
    table = frames["agreement"]
    lines = []
    worse = table[table["worse"] != ""]
    for (norm, title, library), group in worse.groupby(["norm", "title", "worse"], sort=False):
        ratios = np.where(group["library_a"] == library, group["ratio"], 1 / group["ratio"])
        low, high = figure(float(ratios.min())), figure(float(ratios.max()))
        size = f"{low} times" if low == high else f"{low} to {high} times"
        on = ", ".join(str(network) for network in group["network"])
        name = LIBRARY_LABELS.get(str(library), str(library))
        lines.append(
            f"{title} {Norm(str(norm)).label} of {name}: distances {size} those of the other library (on {on})"
        )
    return lines


def attack_scores(frames: Frames) -> pd.DataFrame:
    """Each attack over all networks: worst median ratio, mean found rate and seconds, and whether it ran everywhere."""
    table = frames["summary"]
    if not len(table):
        columns = {"attack": object, "norm": object, "label": object, "ratio": float, "found_rate": float}
        return pd.DataFrame(columns=[*columns, "seconds", "complete"]).astype(
            columns | {"seconds": float, "complete": bool}
        )
    most = table.groupby("norm")["images"].max()
    networks = table["network"].nunique()
    scores = table.groupby("attack", observed=True, sort=False).agg(
        norm=("norm", "first"),
        label=("label", "first"),
        ratio=("ratio", lambda values: values.max(skipna=False)),
        found_rate=("found_rate", "mean"),
        seconds=("seconds", "mean"),
        images=("images", "min"),
        networks=("network", "nunique"),
    )
    scores["complete"] = (scores["images"] == scores["norm"].map(most)) & (scores["networks"] == networks)
    return scores.reset_index()


def cautions(evidence: Evidence, manifest: Mapping[str, Any], frames: Frames) -> list[str]:
    """What a reader must not conclude, or must know first; the gravest first."""
    found: list[str] = []
    status = str(manifest.get("status", "finished"))
    planned, stored = int(manifest.get("planned", len(evidence.records))), len(evidence.records)
    if status != "finished" or planned != stored:
        found.append(
            f"This run is {status}: {stored:,} of {planned:,} planned records are stored. Comparisons use the images that "
            "the networks share."
        )
    found += [
        f"{warning.get('network') or 'Note'}: {warning.get('message', '')}" for warning in manifest.get("warnings", [])
    ]
    table = frames["summary"]
    if len(table):
        failed = table.groupby("label", sort=False)["failed"].sum()
        if failed.sum():
            most = failed[failed > 0].sort_values(ascending=False)
            found.append(
                f"{int(failed.sum()):,} attacks on an image failed (error, timeout or invalid candidate), most of them of "
                f"{most.index[0]}; they count as not found."
            )
        weak = table[(table["ratio"] > 1.25) | (table["found_rate"] < 0.9)]["label"].unique()
        if len(weak):
            found.append(
                f"{len(weak)} of {table['attack'].nunique()} attacks are weak somewhere (median more than 1.25 times the best "
                f"known, or found on less than 90 %): {', '.join(sorted(weak)[:4])}{' and others' if len(weak) > 4 else ''}. "
                "By themselves they would overstate robustness."
            )
    best = evidence.best
    unknown = best[~np.isfinite(best["distance"])].groupby(["network", "norm"], observed=True).size()
    for (network, norm), number in unknown.items():
        found.append(
            f"{network} in {Norm(str(norm)).label}: for {number} images no attack found anything; a failed attack is no proof of robustness."
        )
    bounded = int((best["lower"] > 0).sum()) if len(best) else 0
    exact = int((best["exact"] & ~best["misclassified"]).sum()) if len(best) else 0
    if bounded:
        found.append(
            f"Distances are the smallest that were found: the truth may be smaller. It is known for {share(exact / len(best), 0)} "
            "of (image, network, norm), and bracketed by certified bounds where drawn."
        )
    else:
        found.append(
            "Distances are the smallest that were found: the truth may be smaller, and this run has no certified bounds to say by how much."
        )
    images = int(best["image"].nunique()) if len(best) else 0
    name = str(manifest.get("split"))
    split = {"test": "the test split", "val": "the held-out validation split", "train": "the training split"}
    found.append(
        f"{images:,} image{'s' if images != 1 else ''} of {split.get(name, f'split {name}')}: differences inside the "
        "intervals are not differences, and other data may behave otherwise."
    )
    return found
