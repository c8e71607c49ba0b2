"""The gallery: for each network and norm the easiest, the median and the hardest image, and what was changed.

Where inputs are no pictures, a table of the values that change most stands in their place.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from bench.domain import Domain
from bench.metrics import Evidence
from bench.norms import Norm
from bench.report import data
from bench.report.tables import figure
from bench.specs import Kind

Pictures = NDArray[np.float32]

CHANGES = 8
"""At most so many values of an input that is no picture are listed."""


class CandidateReader(Protocol):
    """Reads adversarial examples of one network and attack."""

    def __call__(self, network: str, attack: str, blocks: Collection[int] | None = None) -> dict[int, Pictures]:
        """Image index -> adversarial example (*shape), of the given blocks or of all."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as a data URI, with words for those who cannot see it, and a few to stand below it."""

    uri: str
    alt: str
    below: str


@dataclass(frozen=True, slots=True)
class Change:
    """One value of an input before and after, in the data's own units."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One image of the gallery with distance and classes, as pictures or as a list of changes.

    Attributes:
        network, norm, image, distance, attack: whose, in which norm, which one, how far, who found it (see :func:`finder`).
        shown: the distance with its unit.
        place: easiest, median or hardest.
        label, adversarial_class: what the classes are called.
        pixels: how many pixels the record says are changed, where a pixel has several values and the norm counts them;
            else None.
        pictures: original, adversarial example and change; empty where inputs are no pictures.
        changes: the values that change most, the largest change first; empty where there are pictures.
        changed: how many values change; in L0 those that count.
    """

    network: str
    norm: str
    place: str
    image: int
    label: str
    adversarial_class: str
    distance: float
    shown: str
    pixels: int | None
    attack: str
    pictures: tuple[Picture, ...]
    changes: tuple[Change, ...]
    changed: int


def examples(
    evidence: Evidence,
    images: tuple[NDArray[np.int32], Pictures],
    candidates: CandidateReader,
) -> list[Example]:
    """Easiest, median and hardest image of every network and norm with a known adversarial example.

    Args:
        evidence: of the run.
        images: indices (m,) and clean images (m, *shape) in the box.
        candidates: of the run's attacks.

    Returns:
        At most three per network and norm, in their order; fewer where fewer distinct images are known.
    """
    clean = dict(zip(images[0].tolist(), images[1], strict=True))
    labels = {str(row["attack"]): finder(row) for row in evidence.rows.to_dict("records")}
    made = []
    for place, line in lines(evidence):
        found = candidates(str(line["network"]), str(line["attack"]), [_block(evidence, line)])
        changed = found.get(int(line["image"]))
        if changed is None or int(line["image"]) not in clean:
            continue
        made.append(_example(line, place, clean[int(line["image"])], changed, labels=labels, domain=evidence.domain))
    order = {name: place for place, name in enumerate(evidence.networks)}
    norms = {norm.value: place for place, norm in enumerate(Norm)}
    return sorted(made, key=lambda example: (norms[example.norm], order[example.network]))


def lines(evidence: Evidence) -> list[tuple[str, dict[str, Any]]]:
    """The place (easiest, median, hardest) and the line of ``evidence.best`` of every image that the gallery shows."""
    found: list[tuple[str, dict[str, Any]]] = []
    for _, group in evidence.best.groupby(["network", "norm"], observed=True):
        known = group[np.isfinite(group["distance"]) & ~group["misclassified"]].sort_values(["distance", "image"])
        found += _chosen(known)
    return found


def finder(row: Mapping[Any, Any]) -> str:
    """Who found an example: the attack's label. Of a verifier it says so: a bound finds nothing.

    Args:
        row: of :attr:`bench.metrics.Evidence.rows`.
    """
    if row["kind"] == Kind.UPPER.value:
        return str(row["label"])
    verifier = f"the {Norm(str(row['norm'])).label} verifier"
    return f"{verifier} ({row['title']})" if row["kind"] == Kind.EXACT.value else verifier


def _block(evidence: Evidence, line: dict[str, Any]) -> int:
    """The block in which the record of an image lies."""
    records = evidence.records
    chosen = (records["network"] == line["network"]) & (records["attack"] == line["attack"])
    return int(records.loc[chosen & (records["image"] == line["image"]), "block"].iloc[0])


def _chosen(known: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    places = {0: "easiest"} | ({(len(known) - 1) // 2: "median"} if len(known) > 2 else {})
    if len(known) > 1:
        places[len(known) - 1] = "hardest"
    if not len(known):
        return []
    return [(name, {str(key): value for key, value in known.iloc[place].items()}) for place, name in places.items()]


def _example(
    line: dict[str, Any],
    place: str,
    original: Pictures,
    changed: Pictures,
    *,
    labels: dict[str, str],
    domain: Domain,
) -> Example:
    difference = changed.astype(np.float64) - original.astype(np.float64)
    image, norm = int(line["image"]), Norm(str(line["norm"]))
    label, other = (domain.class_name(int(line[key])) for key in ("label", "adversarial_class"))
    pictured = data.is_picture(domain)
    several = norm.counts and data.channels(domain) > 1
    # What is so small that L0 does not count it is not shown as a change either.
    counted = int(line["distance"]) if norm.counts else int(np.count_nonzero(difference))
    return Example(
        network=str(line["network"]),
        norm=norm.value,
        place=place,
        image=image,
        label=label,
        adversarial_class=other,
        distance=float(line["distance"]),
        shown=data.distance(domain, norm, float(line["distance"])),
        pixels=int(line["pixels"]) if several else None,
        attack=labels.get(str(line["attack"]), str(line["attack"])),
        pictures=_pictures(original, changed, domain, (f"Image {image}, class {label}", other)) if pictured else (),
        changes=() if pictured else _changes(original, changed, domain, counted),
        changed=counted,
    )


def _pictures(original: Pictures, changed: Pictures, domain: Domain, words: tuple[str, str]) -> tuple[Picture, ...]:
    difference = changed.astype(np.float64) - original.astype(np.float64)
    scale = float(np.abs(domain.measured(difference)).max())
    return (
        Picture(picture(original, domain), words[0], "original"),
        Picture(picture(changed, domain), f"Its adversarial example, taken for class {words[1]}", "adversarial"),
        Picture(
            perturbation(difference, domain),
            f"The change, at most {figure(scale)} at any value",
            f"change, up to {figure(scale)}",
        ),
    )


def _changes(original: Pictures, changed: Pictures, domain: Domain, most: int) -> tuple[Change, ...]:
    """The values that change most for their box, at most ``most`` of them, the largest change first."""
    before, after = original.astype(np.float64), changed.astype(np.float64)
    size = np.abs((after - before) / domain.width).ravel()
    names = data.value_names(domain)
    order = [place for place in np.argsort(-size, kind="stable")[: min(CHANGES, most)] if size[place] > 0]
    return tuple(Change(names[place], float(before.flat[place]), float(after.flat[place])) for place in order)


def picture(image: Pictures, domain: Domain) -> str:
    """An image (*shape) of a domain whose inputs are pictures, as a PNG data URI: grey, or in colours."""
    return _png((channels_last(domain.to_unit(image), domain) * 255).round().astype(np.uint8))


def perturbation(difference: NDArray[np.float64], domain: Domain) -> str:
    """A change (*shape) as a PNG data URI: blue lower, red higher, white unchanged, full strength for its largest value.

    Of several channels each pixel shows the one that changes most, so that opposite changes do not cancel.
    """
    values = channels_last(np.asarray(difference, dtype=np.float64) / domain.width, domain)
    if values.ndim > data.PICTURE_AXES:
        largest = np.abs(values).argmax(axis=-1)[..., None]
        values = np.take_along_axis(values, largest, axis=-1)[..., 0]
    scale = float(np.abs(values).max()) or 1.0
    coloured = colormaps["RdBu_r"](0.5 + 0.5 * values / scale)[..., :3]
    return _png((coloured * 255).round().astype(np.uint8))


def channels_last(values: NDArray[np.float64], domain: Domain) -> NDArray[np.float64]:
    """(height, width), or (height, width, channels) where there are several."""
    if domain.channel_axis is None:
        return values
    moved = np.moveaxis(values, domain.channel_axis, -1)
    return moved[..., 0] if moved.shape[-1] == 1 else moved


def _png(values: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
