"""Distances from elsewhere as records, so that the metrics, tables and figures of runs are theirs as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench import metrics
from bench.domain import Domain
from bench.metrics import Evidence
from bench.metrics.optimality import least
from bench.norms import Norm
from bench.records import Status, columns
from bench.score.layout import Entry, Given
from bench.specs import Kind

LIBRARY = "given"
"""The library of attacks that never ran here."""

NOWHERE = Domain(shape=(1,), classes=2, low=0.0, high=1.0)
"""A domain of images of which nothing is known: no unit, no names."""

Key = tuple[str, Norm, str]
"""Network, norm and image."""


@dataclass(frozen=True)
class Scored:
    """Distances from elsewhere, ready for metrics.

    Attributes:
        evidence: as of a run; images are numbered in the order of the file.
        images: their names, by number.
        notes: what was assumed or left out, a sentence each.
    """

    evidence: Evidence
    images: tuple[str, ...]
    notes: tuple[str, ...]


def scored(given: Given, best: Given | None = None) -> Scored:
    """Distances as evidence.

    Args:
        given: of attacks; each entry has a norm.
        best: best known distances of the same images; None for the smallest of the given ones.

    Returns:
        The evidence, in which an image at distance 0 is misclassified, and an infinite distance is not found.

    Raises:
        DataError: distances contradict one another, or the best ones; the message says which image, and what to do.
    """
    _consistent(given)
    images = tuple(dict.fromkeys(entry.image for entry in given.entries))
    rows = _rows(given.entries)
    numbers = {name: number for number, name in enumerate(images)}
    networks = tuple(dict.fromkeys(entry.network for entry in given.entries))
    records = _records(given.entries, numbers, {key: row["name"] for key, row in rows.items()})
    manifest = {
        "rows": list(rows.values()),
        "networks": [{"name": name} for name in networks],
        "libraries": [{"name": LIBRARY, "label": "given", "ours": False, "marker": ""}],
        "domain": NOWHERE.to_json(),
    }
    evidence = metrics.evidence(records, manifest)
    if best is None:
        return Scored(evidence, images, given.notes)
    known = _known(given, best)
    _not_below(given, best, known)
    frame = evidence.best
    keys = zip(frame["network"].astype(str), frame["norm"].astype(str), frame["image"], strict=True)
    found = np.array([known[network, Norm(norm), images[image]].distance for network, norm, image in keys])
    # Within the tolerance an attack may be nearer than what is given as the best.
    changed = frame.assign(distance=found, misclassified=found == 0, exact=found == 0)
    return Scored(replace(evidence, best=changed), images, (*given.notes, *best.notes))


def _consistent(given: Given) -> None:
    """Refuse fractions of values, and images that are misclassified for one attack and not for another."""
    zeros: dict[tuple[str, str], Entry] = {}
    others: dict[tuple[str, str], Entry] = {}
    for entry in given.entries:
        if entry.norm.counts and np.isfinite(entry.distance) and not entry.distance.is_integer():
            raise given.sheet.fault(
                f"{entry.distance:g} is no distance in {entry.norm.label}, which counts values; give a whole number, or "
                "another norm",
                entry.line,
                entry.column,
            )
        (others if entry.distance else zeros).setdefault((entry.network, entry.image), entry)
    for key, zero in zeros.items():
        if (other := others.get(key)) is not None:
            raise given.sheet.fault(
                f"image {zero.image!r} has distance 0 by {zero.attack!r}, so it is wrong unchanged, and {other.distance:g} by "
                f"{other.attack!r} in line {other.line}; give 0 for every attack, or none",
                zero.line,
                zero.column,
            )


def _rows(entries: Sequence[Entry]) -> dict[tuple[str, Norm], dict[str, Any]]:
    """A row for each attack in each norm; where it has several norms, its name says which."""
    pairs = list(dict.fromkeys((entry.attack, entry.norm) for entry in entries))
    count = pd.Series([attack for attack, _ in pairs]).value_counts()
    return {
        (attack, norm): {
            "name": attack if count[attack] == 1 else f"{attack} {norm.label}",
            "label": attack if count[attack] == 1 else f"{attack} {norm.label}",
            "title": attack,
            "library": LIBRARY,
            "norm": norm.value,
            "kind": Kind.UPPER.value,
        }
        for attack, norm in pairs
    }


def _records(
    entries: Sequence[Entry], numbers: Mapping[str, int], rows: Mapping[tuple[str, Norm], str]
) -> pd.DataFrame:
    """The columns of ``bench.records.schema``; what only a run knows is NaN, empty or -1."""
    distance = np.array([entry.distance for entry in entries], dtype=np.float64)
    norms = np.array([str(entry.norm) for entry in entries])
    status = np.where(
        distance == 0,
        Status.MISCLASSIFIED.value,
        np.where(np.isinf(distance), Status.NOT_FOUND.value, Status.FOUND.value),
    )
    content: dict[str, Any] = dict.fromkeys(columns(), np.nan)
    content |= {
        "network": [entry.network for entry in entries],
        "attack": [rows[entry.attack, entry.norm] for entry in entries],
        "library": LIBRARY,
        "norm": norms,
        "kind": Kind.UPPER.value,
        "block": 0,
        "image": np.array([numbers[entry.image] for entry in entries], dtype=np.int32),
        "label": -1,
        "predicted": -1,
        "status": status,
        "adversarial_class": -1,
        # In other norms nothing is known: no candidate of this attack counts there, but for images that are wrong unchanged.
        **{norm.value: np.where((norms == norm.value) | (distance == 0), distance, np.inf) for norm in Norm},
        "pixels": np.where(distance == 0, 0.0, np.inf),
        "lower": 0.0,
        "curve": None,
        "message": "",
    }
    texts = ("network", "attack", "library", "norm", "kind", "status")
    return pd.DataFrame(content, columns=columns()).astype(dict.fromkeys(texts, "category"))


def _known(given: Given, best: Given) -> dict[Key, Entry]:
    """The best known distance of every network, norm and image that attacks have one of.

    A table of best distances without a column for networks, or norms, is of the only one that the attacks have.

    Raises:
        DataError: one is missing, or it is not said of which network or norm they are.
    """
    norms = list(dict.fromkeys(entry.norm for entry in given.entries))
    networks = list(dict.fromkeys(entry.network for entry in given.entries))
    unnamed = [name for name in ("network", "norm") if best.sheet.place(name) is None]
    for name, values in (("network", networks), ("norm", norms)):
        if name in unnamed and len(values) > 1:
            raise best.sheet.fault(
                f"there is no column {name!r}, and {given.sheet.name} has several of them; add it", 1
            )
    theirs = list(dict.fromkeys(entry.network for entry in best.entries))
    # Of one network each, they are of the same one, whatever it is called here.
    only = networks[0] if "network" in unnamed or (given.sheet.place("network") is None and len(theirs) == 1) else None
    known = {
        (only or entry.network, norms[0] if "norm" in unnamed else entry.norm, entry.image): entry
        for entry in best.entries
    }
    made = {}
    for entry in given.entries:
        key = (entry.network, entry.norm, entry.image)
        found = known.get(key)
        if found is None:
            raise given.sheet.fault(
                f"{best.sheet.name} has no best known distance of image {entry.image!r} in {key[1].label}"
                f"{'' if given.sheet.place('network') is None else f' of network {entry.network!r}'}; add a line for it, or leave "
                "the image out here",
                entry.line,
                "image",
            )
        made[key] = found
    return made


def _not_below(given: Given, best: Given, known: Mapping[Key, Entry]) -> None:
    """Refuse a distance that is nearer than the best known one by more than a solver's tolerance."""
    groups: dict[tuple[str, Norm, str], list[Entry]] = {}
    for entry in given.entries:
        groups.setdefault((entry.network, entry.norm, entry.attack), []).append(entry)
    for (network, norm, _), entries in groups.items():
        optimum = np.array([known[network, norm, entry.image].distance for entry in entries])
        below = np.flatnonzero(np.array([entry.distance for entry in entries]) < least(optimum))
        if len(below):
            entry = entries[below[0]]
            line = known[network, norm, entry.image]
            more = f" ({len(below)} distances of this attack are below theirs)" if len(below) > 1 else ""
            raise given.sheet.fault(
                f"image {entry.image!r} has distance {entry.distance:.9g} by {entry.attack!r}, nearer than the best known "
                f"{line.distance:.9g} in {best.sheet.name}, line {line.line}{more}; give the smaller one there, or leave --best "
                "out: then the smallest of all attacks counts",
                entry.line,
                entry.column,
            )
