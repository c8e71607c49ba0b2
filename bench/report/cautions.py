"""The first screen in words: what cannot be concluded from a run, or must be known first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench import verdict
from bench.findings import CheckName, Level
from bench.metrics import Evidence
from bench.norms import Norm
from bench.records import Status
from bench.report import data
from bench.report.frames import Frames
from bench.report.words import attacks_had, listed
from bench.specs import Kind
from bench.verdict import CheckResult

FEW = 30
"""With fewer images than this the page says so first."""


def cautions(manifest: Mapping[str, Any], frames: Frames, found: Sequence[CheckResult] = ()) -> list[str]:
    """What a reader must not conclude, or must know first; the gravest first."""
    evidence = frames.evidence
    lines = [
        *_unfinished(evidence, manifest),
        *_unfair(frames, manifest),
        *_in_time(manifest),
        *_few_images(evidence),
        *_by_products(evidence),
    ]
    lines += [_failed(name, found) for name in verdict.failing(found, evidence.networks)]
    warned: dict[str, list[str]] = {}
    for warning in manifest.get("warnings", []):
        warned.setdefault(str(warning.get("network") or "Note"), []).append(str(warning.get("message", "")))
    lines += [f"{name}: {'; '.join(messages)}" for name, messages in warned.items()]
    lines += [*_truth(evidence), *_unknown(evidence), *_scope(evidence, manifest), *_weak_attacks(frames)]
    return lines


def not_concluded(evidence: Evidence) -> str:
    """What no run shows, in a line."""
    bounded = bool((evidence.rows["kind"] != Kind.UPPER.value).any())
    minimal = "true minimal distances" + (" (except where proved)" if bounded else "")
    return f"That these are the {minimal}, or that they carry over to other images or attacks"


def _failed(name: str, found: Sequence[CheckResult]) -> str:
    failed = [one.check.name for one in found if one.network == name and one.level in (Level.FAIL, Level.STOP)]
    if failed == [CheckName.CLEAN_ACCURACY]:
        return f"{name} misclassifies the images of this run: its distances are 0, and say nothing of the attacks."
    return (
        f"{name} is not shown to be robust: {len(failed)} of its checks fail, so its distances are probably too large."
    )


def _unfair(frames: Frames, manifest: Mapping[str, Any]) -> list[str]:
    """Networks that were not attacked alike, or on other images, and those that are one and the same."""
    lines = [
        f"{name} had only {number}: its distances are too large to compare with those of the others."
        for name, number in attacks_had(frames).items()
    ]
    images = frames.evidence.best.groupby("network", observed=True)["image"].nunique()
    if images.min() < images.max():
        numbers = ", ".join(f"{name} {number}" for name, number in images.items())
        lines.append(
            f"Not all networks have the same images ({numbers}): medians are of each network's own, pairs "
            "and p of those that the two have in common."
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
        f"This run is {status}: {stored:,}{of} records are stored. Comparisons use the images that two networks have in common."
    ]


def _in_time(manifest: Mapping[str, Any]) -> list[str]:
    """What was left out to end in time."""
    budget = manifest.get("budget")
    if not budget:
        return []
    fewer, left_out = budget["samples"] < budget["asked"], budget["left_out"]
    if not fewer and not left_out:
        return []
    images = f"only {budget['samples']:,} of {budget['asked']:,} images were attacked" if fewer else ""
    attacks = f"left out: {listed(left_out)}" if left_out else ""
    return [f"The run was given {budget['minutes']:g} minutes: {'; '.join(filter(None, (images, attacks)))}."]


def _few_images(evidence: Evidence) -> list[str]:
    images = int(evidence.best["image"].nunique()) if len(evidence.best) else 0
    if not 0 < images < FEW:
        return []
    only = f"Only {images} image{'s' if images != 1 else ''}"
    return [f"{only}: a first look, not a result. Intervals are wide, and small differences cannot show."]


def _by_products(evidence: Evidence) -> list[str]:
    """Norms in which images have distances of attacks that minimise another norm only."""
    aside = evidence.best[~evidence.best["searched"].astype(bool)]
    return [
        f"{Norm(str(norm)).label}: on {count:,} of {int((evidence.best['norm'] == norm).sum()):,} (network, image) pairs no attack "
        "that minimises it was run. Their distances are by-products of attacks in other norms, larger than need be: they are "
        "compared with nothing."
        for norm, count in aside.groupby("norm", sort=False).size().items()
    ]


def _weak_attacks(frames: Frames) -> list[str]:
    table, lines = frames.plain("summary"), []
    if not len(table):
        return []
    failed = table.groupby("label", sort=False)["failed"].sum()
    if failed.sum():
        most = failed[failed > 0].sort_values(ascending=False)
        lines.append(
            f"{int(failed.sum()):,} attacks on an image failed (error, timeout or invalid candidate), "
            f"{'most of them' if len(most) > 1 else 'all'} of {most.index[0]}; they count as not found."
        )
    scores = frames.plain("attack_scores")
    capped = scores[~scores["complete"]]
    if len(capped):
        some = [f"{line['label']} ({int(line['images'])})" for line in capped.head(3).to_dict("records")]
        lines.append(
            f"{len(capped)} of {len(scores)} attacks ran on fewer images than the rest and are not ranked: "
            f"{', '.join(some)}{' and others' if len(capped) > 3 else ''}."
        )
    weak = sorted(table[(table["ratio"] > 1.25) | (table["found_rate"] < 0.9)]["label"].unique())
    if weak:
        lines.append(
            f"One attack that fails does not make a network robust: {len(weak)} of {len(scores)} attacks are weak somewhere "
            "(median more than 1.25 times the best known, or adversarial examples for fewer than 90% of the images), among them "
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
    smallest = "Distances are the smallest that were found; the true minimal ones may be smaller"
    verifiers = evidence.rows[evidence.rows["kind"] != Kind.UPPER.value]
    if not len(verifiers):
        return [f"{smallest}, and this run has no certified bounds to say by how much."]
    pairs = int(best.groupby("norm", observed=True).size().max())
    exact, bounded = {}, {}
    for norm in evidence.norms:
        if norm.value in set(verifiers["norm"]):
            own = best[best["norm"] == norm.value]
            exact[norm.label], bounded[norm.label] = int(own["exact"].sum()), int((own["lower"] > 0).sum())
    lower = "all" if set(bounded.values()) == {pairs} else _counts(bounded)
    without_bounds = [norm.label for norm in evidence.norms if norm.label not in bounded]
    unsupported = evidence.records["status"] == Status.UNSUPPORTED.value
    without = list(dict.fromkeys(evidence.records.loc[unsupported, "network"].astype(str)))
    rest = f" No bounds in {listed(without_bounds)}." if without_bounds else ""
    rest += f" There is no verifier for {listed(without)}." if without else ""
    known = f"{lower} have a certified lower bound; the exact distance is known for {_counts(exact)}"
    return [f"{smallest}. Of the {pairs:,} correctly classified (network, image) pairs, {known}.{rest}"]


def _counts(numbers: Mapping[str, int]) -> str:
    """Numbers by norm in a sentence: ``55 in L0, 15 in L2 and 10 in Linf``."""
    return listed([f"{number:,} in {label}" for label, number in numbers.items()])


def _scope(evidence: Evidence, manifest: Mapping[str, Any]) -> list[str]:
    images = evidence.best.drop_duplicates("image") if len(evidence.best) else evidence.best
    whole = manifest["data"].get("size") == manifest["samples"]
    sample = "" if whole else f"; {data.population(manifest)}"
    overlap = "Medians whose intervals overlap may still differ image by image: p decides"
    lines = [f"Nothing follows for other data: these are {data.chosen(manifest)}{sample}. {overlap}."]
    absent = [label for label in range(evidence.domain.classes) if label not in set(images["label"])]
    if len(images) and 0 < len(absent) < evidence.domain.classes // 2:
        names = listed([evidence.domain.class_name(label) for label in absent], "or")
        lines.append(f"No image is of class {names}.")
    return lines
