"""Judging a stored run again: every adversarial example, read back, must still be one, at the stored distances."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from bench import networks
from bench.domain import Domain
from bench.errors import NetworkError
from bench.guard import Guarded
from bench.judge import Judge
from bench.networks import Identity
from bench.networks.spec import NetworkSpec
from bench.norms import Norm
from bench.records import Status
from bench.store import Run


def verify(run: Run, modules: Mapping[str, nn.Module] = MappingProxyType({})) -> tuple[int, list[str]]:
    """Judge every stored adversarial example of a run again.

    Args:
        run: a stored run; its networks are loaded from where they came.
        modules: the networks that no file leads to, by what follows ``live:`` in their source.

    Returns:
        How many examples were judged, and a line for each that is missing, not adversarial any more, or at another
        distance than its record says.

    Raises:
        StoreError: a part of the run is damaged.
        NetworkError: a network cannot be loaded, or is another than the run's.
    """
    records = run.records()
    indices, images = run.images()
    hashes = run.manifest["image_sha256"]
    broken = [
        f"image {index}: the stored clean image is not the one the manifest names"
        for index, image in zip(indices, images, strict=True)
        if hashlib.sha256(image.tobytes()).hexdigest() != hashes.get(str(index))
    ]
    clean = dict(zip(indices.tolist(), images, strict=True))
    count = 0
    domain = Domain.from_json(run.manifest["domain"])
    with networks.live(modules):
        for entry in run.manifest["networks"]:
            judge = _judge(entry, domain)
            of_network = records[records["network"] == entry["name"]]
            for row in run.manifest["rows"]:
                found = of_network[(of_network["attack"] == row["name"]) & (of_network["status"] == Status.FOUND)]
                if len(found):
                    broken += _differences(judge, found, clean, run.candidates(entry["name"], row["name"]))
                    count += len(found)
    return count, broken


def _judge(entry: Mapping[str, Any], domain: Domain) -> Judge:
    source = networks.source(NetworkSpec(entry["name"], entry.get("source"), entry.get("weights")))
    if difference := Identity.from_json(entry).difference(source.identity(domain)):
        raise NetworkError(f"network {entry['name']} is not the run's any more: {difference}")
    return Judge(Guarded(source.module, source.within), domain)


def _differences(
    judge: Judge, found: pd.DataFrame, clean: dict[int, np.ndarray], candidates: dict[int, np.ndarray]
) -> list[str]:
    """What the judge says of one network's and attack's examples that their records do not."""
    entries = found.to_dict("records")
    stored = [entry for entry in entries if entry["image"] in candidates]
    broken = [
        f"{_where(entry)}: no adversarial example is stored" for entry in entries if entry["image"] not in candidates
    ]
    if not stored:
        return broken
    judgements = judge.judge(
        np.stack([clean[entry["image"]] for entry in stored]),
        [entry["label"] for entry in stored],
        np.stack([candidates[entry["image"]] for entry in stored]),
    )
    for entry, judgement in zip(stored, judgements, strict=True):
        if judgement.status is not Status.FOUND:
            broken.append(
                f"{_where(entry)}: the stored example is judged {judgement.status.label} now {judgement.message}".rstrip()
            )
            continue
        broken += [
            f"{_where(entry)}: {norm.label} is {judgement.distances[norm]!r}, the record says {entry[norm.value]!r}"
            for norm in Norm
            if judgement.distances[norm] != entry[norm.value]
        ]
        if judgement.pixels != entry["pixels"]:
            broken.append(f"{_where(entry)}: {judgement.pixels:g} pixels change, the record says {entry['pixels']:g}")
    return broken


def _where(entry: Mapping[Hashable, Any]) -> str:
    return f"{entry['network']}, {entry['attack']}, image {entry['image']}"
