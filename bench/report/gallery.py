"""The gallery: for each network and norm the easiest, the median and the hardest image, and what was changed."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from bench.metrics import Evidence
from bench.norms import Norm

Pictures = NDArray[np.float32]


class Candidates(Protocol):
    """Reads adversarial examples of one network and attack."""

    def __call__(self, network: str, attack: str, blocks: Collection[int] | None = None) -> dict[int, Pictures]:
        """Image index -> adversarial example (*shape), of the given blocks or of all."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as a data URI, with words for those who cannot see it."""

    uri: str
    alt: str


@dataclass(frozen=True, slots=True)
class Example:
    """One image of the gallery: original, adversarial example, and perturbation, with distance and labels."""

    network: str
    norm: str
    place: str
    image: int
    label: int
    adversarial_class: int
    distance: float
    attack: str
    original: Picture
    adversarial: Picture
    perturbation: Picture
    scale: float


def examples(
    evidence: Evidence,
    images: tuple[NDArray[np.int32], Pictures],
    candidates: Candidates,
    box: tuple[float, float],
) -> list[Example]:
    """Easiest, median and hardest image of every network and norm with a known adversarial example.

    Args:
        evidence: of the run.
        images: indices (m,) and clean images (m, *shape) in the box.
        candidates: of the run's attacks.
        box: lowest and highest value.

    Returns:
        At most three per network and norm, in their order; fewer where fewer distinct images are known.
    """
    clean = dict(zip(images[0].tolist(), images[1], strict=True))
    labels = dict(zip(evidence.rows["attack"], evidence.rows["label"], strict=True))
    made = []
    for (network, _), group in evidence.best.groupby(["network", "norm"], observed=True):
        known = group[np.isfinite(group["distance"]) & ~group["misclassified"]].sort_values(["distance", "image"])
        for place, line in _chosen(known):
            found = candidates(str(network), str(line["attack"]), [_block(evidence, line)])
            changed = found.get(int(line["image"]))
            if changed is None or int(line["image"]) not in clean:
                continue
            made.append(_example(line, place, clean[int(line["image"])], changed, labels=labels, box=box))
    order = {name: place for place, name in enumerate(evidence.networks)}
    norms = {norm.value: place for place, norm in enumerate(Norm)}
    return sorted(made, key=lambda example: (norms[example.norm], order[example.network]))


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
    box: tuple[float, float],
) -> Example:
    difference = changed.astype(np.float64) - original.astype(np.float64)
    scale = float(np.abs(difference).max())
    image, label, other = int(line["image"]), int(line["label"]), int(line["adversarial_class"])
    return Example(
        network=str(line["network"]),
        norm=str(line["norm"]),
        place=place,
        image=image,
        label=label,
        adversarial_class=other,
        distance=float(line["distance"]),
        attack=labels.get(str(line["attack"]), str(line["attack"])),
        original=Picture(picture(original, *box), f"Image {image}, a {label}"),
        adversarial=Picture(picture(changed, *box), f"Its adversarial example, taken for a {other}"),
        perturbation=Picture(perturbation(difference, scale), f"The change, at most {scale:.3g} at any pixel"),
        scale=scale,
    )


def picture(image: Pictures, low: float, high: float) -> str:
    """An image (channels, height, width) of 1 or 3 channels, or (height, width), as a PNG data URI."""
    values = np.clip((np.asarray(image, dtype=np.float64) - low) / (high - low), 0, 1)
    return _png((values * 255).round().astype(np.uint8))


def perturbation(difference: NDArray[np.float64], scale: float) -> str:
    """A change as a PNG data URI: blue darker, red lighter, white unchanged, at full strength for ``scale``.

    Of several channels the mean is shown.
    """
    flat = difference.mean(axis=0) if difference.ndim == 3 else difference
    if flat.ndim != 2:
        flat = flat.reshape(1, -1)
    coloured = colormaps["RdBu_r"](0.5 + 0.5 * flat / (scale or 1.0))[..., :3]
    return _png((coloured * 255).round().astype(np.uint8))


def _png(values: NDArray[np.uint8]) -> str:
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values[0] if values.shape[0] == 1 else np.moveaxis(values, 0, -1)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] != 3):
        values = values.reshape(1, -1)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
