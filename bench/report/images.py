"""What the page's view of one image reads: the records of every attack on it, and the nearest examples as pictures.

Both are packed (JSON, raw bytes; compressed) and unpacked by the page's script. They take a limited number of bytes: where a
run has more images, those of the gallery come first, then the others in their order, and the page says how many it holds.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray

from bench.domain import Domain
from bench.metrics import Evidence
from bench.norms import L0_TOLERANCE, Norm
from bench.records import Status
from bench.report import data
from bench.report.gallery import CandidateReader, Pictures, channels_last, finder

NUMBERS, PICTURES = 300_000, 600_000
"""How many bytes of the page the records and the pictures of single images may take."""

SAMPLE = 12
"""On so many images it is measured how many bytes one takes."""

MARGIN = 0.9
"""The part of the bytes that is planned for: images differ."""

LEVELS = 31
"""A change is drawn in so many steps up and down from 0 to its largest value; its size is told in numbers."""


@dataclass(frozen=True, slots=True)
class View:
    """The packed content of the view of one image.

    Attributes:
        numbers: base64 of compressed JSON, as the page's script reads it.
        pictures: base64 of compressed bytes; empty for none.
        images: how many images can be chosen.
        pictured: how many of them have their examples shown.
        total: how many images the run has.
        counts: the number of records in ``numbers``.
    """

    numbers: str
    pictures: str
    images: int
    pictured: int
    total: int
    counts: int


def view(
    evidence: Evidence,
    images: tuple[NDArray[np.int32], Pictures],
    candidates: CandidateReader,
    first: Iterable[int] = (),
    *,
    numbers: int = NUMBERS,
    pictures: int = PICTURES,
) -> View:
    """Pack the records and the nearest examples of as many images as there is room for.

    Args:
        evidence: of the run.
        images: indices (m,) and clean images (m, *shape) in the box.
        candidates: of the run's attacks.
        first: indices of the images that must not be missing, such as those of the gallery.
        numbers, pictures: how many bytes each may take.

    Returns:
        The view; of no image where nothing is stored.
    """
    known = set(evidence.records["image"].tolist())
    clean = {int(i): place for place, i in enumerate(images[0].tolist()) if int(i) in known}
    preferred = [image for image in dict.fromkeys(map(int, first)) if image in clean]
    order = [*preferred, *sorted(set(clean) - set(preferred))]
    chosen = order[: _room(order, numbers, lambda some: _numbers(evidence, some, some)[0])]
    shown = chosen[: _room(chosen, pictures, lambda some: _examples(evidence, images, candidates, some)[0])]
    chosen, shown = sorted(chosen), sorted(shown)
    packed, scales = _examples(evidence, images, candidates, shown) if shown else (b"", {})
    text, counts = _numbers(evidence, chosen, shown, scales)
    return View(_base64(text), _base64(packed) if shown else "", len(chosen), len(shown), len(order), counts)


def _room(order: Sequence[int], most: int, pack: Any) -> int:
    """How many of some images there is room for, judged by the bytes of the first few."""
    sample = list(order[:SAMPLE])
    if not sample:
        return 0
    size = len(pack(sorted(sample))) * 4 / 3
    if size <= most and len(sample) == len(order):
        return len(order)
    return min(len(order), int(MARGIN * most / (size / len(sample))))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def packed(content: Any) -> dict[str, str]:
    """JSON data as the page's script unpacks them: a third of the bytes."""
    return {"packed": _base64(zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9))}


def _numbers(
    evidence: Evidence,
    chosen: Sequence[int],
    shown: Sequence[int],
    scales: Mapping[tuple[str, str], list[float]] | None = None,
) -> tuple[bytes, int]:
    """The records of some images as compressed JSON, and how many they are; ``script/image.js`` reads it."""
    domain = evidence.domain
    records = evidence.records[evidence.records["image"].isin(chosen)]
    place = {image: number for number, image in enumerate(chosen)}
    rows = evidence.rows[evidence.rows["attack"].isin(records["attack"])]
    attacks = {str(name): number for number, name in enumerate(rows["attack"])}
    statuses = {status.value: number for number, status in enumerate(Status)}
    labels = records.drop_duplicates("image").set_index("image")["label"]
    blocks, parts = _blocks(evidence, records)
    lines = [
        [
            evidence.networks.index(str(line["network"])),
            attacks[str(line["attack"])],
            place[line["image"]],
            statuses[str(line["status"])],
            line["adversarial_class"],
            *(_short(line[norm.value]) if line["status"] == Status.FOUND.value else 0 for norm in Norm),
            _short(line["lower"]),
            block,
        ]
        for line, block in zip(_lines(records), blocks, strict=True)
    ]
    predicted = records.drop_duplicates(["network", "image"])
    classes = sorted({*labels.tolist(), *predicted["predicted"].tolist(), *records["adversarial_class"].tolist()})
    content: dict[str, Any] = {
        "images": [[image, int(labels[image])] for image in chosen],
        "pictured": [place[image] for image in shown],
        "classes": {str(number): domain.class_name(number) for number in classes},
        "networks": list(evidence.networks),
        "norms": [[norm.value, norm.label, data.unit(domain, norm)] for norm in Norm],
        "own": [norm.value for norm in evidence.norms],
        "attacks": [
            [*(str(row[key]) for key in ("attack", "label", "norm", "kind", "library")), finder(row)]
            for row in _lines(rows)
        ],
        "statuses": [[status.label, status.explanation] for status in Status],
        "records": lines,
        "costs": parts,
        "predicted": [
            [evidence.networks.index(str(line["network"])), place[line["image"]], line["predicted"]]
            for line in _lines(predicted)
        ],
        "best": _best(evidence, chosen, attacks),
        "scales": [
            [evidence.networks.index(network), norm, values]
            for (network, norm), values in sorted((scales or {}).items())
        ],
        "kind": "picture" if data.is_picture(domain) else "values",
        "size": domain.size,
        "levels": LEVELS,
        "box": 1.0 if domain.per_feature else float(domain.width),
    }
    if data.is_picture(domain):
        height, width, *several = channels_last(np.zeros(domain.shape), domain).shape
        ramp = colormaps["RdBu_r"](np.linspace(0, 1, 2 * LEVELS + 1))[:, :3]
        content |= {"height": height, "width": width, "channels": (several or [1])[0]}
        content["ramp"] = (ramp * 255).round().astype(int).ravel().tolist()
    elif shown:
        content["names"] = list(data.value_names(domain))
        content["widths"] = [_short(width) for width in np.broadcast_to(domain.width, domain.shape).ravel()]
        content["tolerance"] = L0_TOLERANCE
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return zlib.compress(text.encode(), 9), len(lines)


def _blocks(evidence: Evidence, records: pd.DataFrame) -> tuple[list[int], list[list[float | int | None]]]:
    """For each record the place of its block's costs, and the costs: forward and backward passes per image, of how many.

    Passes are counted for a call, so that of several images there is only their mean.
    """
    keys = ["network", "attack", "block"]
    attacked = evidence.records[evidence.records["status"] != Status.MISCLASSIFIED.value]
    counts = attacked.groupby(keys, observed=True).agg(
        forwards=("forwards", "mean"), backwards=("backwards", "mean"), images=("image", "size")
    )
    known = {key: place for place, key in enumerate(counts.index)}
    own = [
        known.get(key, -1) if status != Status.MISCLASSIFIED.value else -1
        for key, status in zip(
            zip(records["network"], records["attack"], records["block"], strict=True), records["status"], strict=True
        )
    ]
    used = {place: number for number, place in enumerate(sorted({place for place in own if place >= 0}))}
    parts: list[list[float | int | None]] = [
        [_short(line["forwards"]), _short(line["backwards"]), line["images"]]
        for line in _lines(counts.iloc[list(used)])
    ]
    return [used.get(place, -1) for place in own], parts


def _best(evidence: Evidence, chosen: Sequence[int], attacks: Mapping[str, int]) -> list[list[Any]]:
    """For each network and norm and each of the images: whose example is the nearest, its pixels, bound, whether exact."""
    place = {image: number for number, image in enumerate(chosen)}
    best = evidence.best[evidence.best["image"].isin(chosen)]
    return [
        [
            evidence.networks.index(str(line["network"])),
            str(line["norm"]),
            place[line["image"]],
            attacks[str(line["attack"])] if np.isfinite(line["distance"]) and line["attack"] is not None else -1,
            _short(line["pixels"]),
            _short(line["lower"]),
            int(line["exact"]),
        ]
        for line in _lines(best)
    ]


def _lines(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A frame's lines, with Python's own numbers."""
    return [{str(key): value for key, value in line.items()} for line in frame.to_dict("records")]


def _short(value: Any) -> float | int | None:
    """A number with five significant digits; None for what is no finite number."""
    number = float(value)
    if not np.isfinite(number):
        return None
    short = float(f"{number:.5g}")
    return int(short) if short.is_integer() else short


def _examples(
    evidence: Evidence,
    images: tuple[NDArray[np.int32], Pictures],
    candidates: CandidateReader,
    shown: Sequence[int],
) -> tuple[bytes, dict[tuple[str, str], list[float]]]:
    """The clean images and the nearest example of each in every network and norm as compressed bytes.

    Of pictures, the clean values as uint8, then the changes as int8 steps of their largest one; of other inputs float32
    values, then those of the examples. Besides, for each network and norm the largest change of each image, in the units
    of distances: -1 where no example is known.
    """
    domain = evidence.domain
    where = {int(image): place for place, image in enumerate(images[0].tolist())}
    clean = images[1][[where[image] for image in shown]]
    pictured = data.is_picture(domain)
    parts = [_levels(clean, domain) if pictured else clean.astype("<f4").tobytes()]
    scales: dict[tuple[str, str], list[float]] = {}
    for network in evidence.networks:
        for norm in evidence.norms:
            changed = _nearest(evidence, candidates, network, norm, shown)
            known = np.array([image in changed for image in shown])
            values = np.stack([changed.get(image, one) for image, one in zip(shown, clean, strict=True)])
            difference = values.astype(np.float64) - clean.astype(np.float64)
            largest = np.abs(domain.measured(difference)).reshape(len(shown), -1).max(axis=1)
            scales[network, norm.value] = [
                float(_short(size) or 0) if there else -1.0 for size, there in zip(largest, known, strict=True)
            ]
            parts.append(_steps(difference, domain) if pictured else values.astype("<f4").tobytes())
    return zlib.compress(b"".join(parts), 9), scales


def _nearest(
    evidence: Evidence, candidates: CandidateReader, network: str, norm: Norm, shown: Sequence[int]
) -> dict[int, Pictures]:
    """The nearest known examples of some images, read attack by attack and of their blocks alone."""
    best = evidence.best
    own = best[(best["network"] == network) & (best["norm"] == norm.value) & best["image"].isin(shown)]
    own = own[np.isfinite(own["distance"]) & ~own["misclassified"]]
    found: dict[int, Pictures] = {}
    for attack, group in own.groupby(own["attack"].astype(str)):
        wanted = set(group["image"].tolist())
        records = evidence.records
        chosen = (records["network"] == network) & (records["attack"] == attack) & records["image"].isin(wanted)
        read = candidates(network, str(attack), sorted(set(records.loc[chosen, "block"].tolist())))
        found |= {image: read[image] for image in sorted(wanted) if image in read}
    return found


def _levels(clean: Pictures, domain: Domain) -> bytes:
    unit = np.stack([channels_last(domain.to_unit(image), domain) for image in clean])
    return (unit * 255).round().astype(np.uint8).tobytes()


def _steps(difference: NDArray[np.float64], domain: Domain) -> bytes:
    width = np.stack([channels_last(one / domain.width, domain) for one in difference])
    flat = width.reshape(len(width), -1)
    scale = np.abs(flat).max(axis=1, keepdims=True)
    return (flat / np.where(scale > 0, scale, 1) * LEVELS).round().astype(np.int8).tobytes()
