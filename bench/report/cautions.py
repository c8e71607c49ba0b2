"""The first screen in words: what cannot be concluded from a run, or must be known first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.metrics import Evidence
from bench.norms import Norm
from bench.records import Status
from bench.report.frames import Frames
from bench.report.words import attack_scores, attacked_less, failing, listed
from bench.verdict import Finding, Outcome

FEW = 30
"""With fewer images than this the page says so first."""

SPLITS = {"test": "the test split", "val": "the held-out validation split", "train": "the training split"}


def cautions(
    evidence: Evidence, manifest: Mapping[str, Any], frames: Frames, found: Sequence[Finding] = ()
) -> list[str]:
    """What a reader must not conclude, or must know first; the gravest first."""
    lines = [*_unfinished(evidence, manifest), *_unfair(evidence, manifest), *_few_images(evidence)]
    for name in failing(found, evidence.networks):
        failed = [finding for finding in found if finding.network == name and finding.outcome is Outcome.FAIL]
        lines.append(
            f"{name} is not shown to be robust: {len(failed)} of its checks fail, so its distances are probably too large."
        )
    told: dict[str, list[str]] = {}
    for warning in manifest.get("warnings", []):
        told.setdefault(str(warning.get("network") or "Note"), []).append(str(warning.get("message", "")))
    lines += [f"{name}: {'; '.join(messages)}" for name, messages in told.items()]
    lines += [*_truth(evidence), *_unknown(evidence), _scope(evidence, manifest), *_weak_attacks(frames)]
    return lines


def not_concluded(evidence: Evidence) -> str:
    """What must not be concluded from any run, in a line."""
    bounded = bool((evidence.rows["kind"] != "upper").any())
    truth = "are the true ones, except where proved" if bounded else "are the true ones"
    return f"That these distances {truth}, or hold for other data or attacks"


def _unfair(evidence: Evidence, manifest: Mapping[str, Any]) -> list[str]:
    """Networks that were not attacked alike, or on other images, and those that are one and the same."""
    lines = [
        f"{name} had only {number}: its distances are too large to compare with those of the others."
        for name, number in attacked_less(evidence).items()
    ]
    images = evidence.best.groupby("network", observed=True)["image"].nunique()
    if images.min() < images.max():
        numbers = ", ".join(f"{name} {number}" for name, number in images.items())
        lines.append(
            f"Not all networks have the same images ({numbers}): medians are of each network's own, pairs "
            "and p of those that all have."
        )
    same: dict[str, list[str]] = {}
    for network in manifest["networks"]:
        same.setdefault(str(network.get("sha256") or network["name"]), []).append(str(network["name"]))
    lines += [
        f"{listed(names)} are the same network, with the same weights: what differs between them is the runs."
        for names in same.values()
        if len(names) > 1
    ]
    return lines


def _unfinished(evidence: Evidence, manifest: Mapping[str, Any]) -> list[str]:
    status = str(manifest.get("status", "finished"))
    stored = len(evidence.records)
    planned = manifest.get("planned")
    if status == "finished" and planned in (None, stored):
        return []
    of = f" of {int(planned):,} planned" if planned is not None else ""
    return [
        f"This run is {status}: {stored:,}{of} records are stored. Comparisons use the images that the networks share."
    ]


def _few_images(evidence: Evidence) -> list[str]:
    images = int(evidence.best["image"].nunique()) if len(evidence.best) else 0
    if not 0 < images < FEW:
        return []
    only = f"Only {images} image{'s' if images != 1 else ''}"
    return [f"{only}: a first look, not a result. Intervals are wide, and small differences cannot show."]


def _weak_attacks(frames: Frames) -> list[str]:
    table, lines = frames["summary"], []
    if not len(table):
        return []
    failed = table.groupby("label", sort=False)["failed"].sum()
    if failed.sum():
        most = failed[failed > 0].sort_values(ascending=False)
        lines.append(
            f"{int(failed.sum()):,} attacks on an image failed (error, timeout or invalid candidate), "
            f"{'most of them' if len(most) > 1 else 'all'} of {most.index[0]}; they count as not found."
        )
    scores = attack_scores(frames)
    capped = scores[~scores["complete"]]
    if len(capped):
        some = [f"{line['label']} ({int(line['images'])})" for line in capped.head(3).to_dict("records")]
        lines.append(
            f"{len(capped)} of {len(scores)} attacks ran on the first few images only and are not ranked: "
            f"{', '.join(some)}{' and others' if len(capped) > 3 else ''}."
        )
    weak = sorted(table[(table["ratio"] > 1.25) | (table["found_rate"] < 0.9)]["label"].unique())
    if weak:
        lines.append(
            f"A network is not robust because one attack fails: {len(weak)} of {len(scores)} attacks are weak somewhere "
            "(median more than 1.25 times the best known, or found on less than 90%), among them "
            f"{', '.join(weak[:3])}."
        )
    return lines


def _unknown(evidence: Evidence) -> list[str]:
    best = evidence.best
    unknown = best[~np.isfinite(best["distance"])].groupby(["network", "norm"], observed=True).size()
    return [
        f"{network} in {Norm(str(norm)).label}: on {number} image{'s' if number != 1 else ''} no attack found anything; "
        "a failed attack is no proof of robustness."
        for (network, norm), number in unknown.items()
    ]


def _truth(evidence: Evidence) -> list[str]:
    best = evidence.best[~evidence.best["misclassified"].astype(bool)]
    if not len(best):
        return []
    smallest = "Distances are the smallest that were found: the truth may be smaller"
    verifiers = evidence.rows[evidence.rows["kind"] != "upper"]
    if not len(verifiers):
        return [f"{smallest}, and this run has no certified bounds to say by how much."]
    lines = []
    for norm in evidence.norms:
        if norm.value not in set(verifiers["norm"]):
            lines.append(f"{norm.label}: no bounds")
            continue
        own = best[best["norm"] == norm.value]
        exact, bounded = int(own["exact"].sum()), int((own["lower"] > 0).sum())
        lines.append(f"{norm.label}: {exact} proved exact, {bounded} bounded from below")
    unsupported = evidence.records["status"] == Status.UNSUPPORTED.value
    without = list(dict.fromkeys(evidence.records.loc[unsupported, "network"].astype(str)))
    rest = f" There is no verifier for {listed(without)}." if without else ""
    pairs = int(best.groupby("norm", observed=True).size().max())
    return [f"{smallest}. Of {pairs:,} pairs of a network and an image that it has right: {'; '.join(lines)}.{rest}"]


def _scope(evidence: Evidence, manifest: Mapping[str, Any]) -> str:
    images = int(evidence.best["image"].nunique()) if len(evidence.best) else 0
    name = str(manifest.get("split"))
    return (
        f"Nothing follows for other data: this is {images:,} image{'s' if images != 1 else ''} of "
        f"{SPLITS.get(name, f'split {name}')}. Medians whose intervals overlap may still differ image by image: p decides."
    )
