"""What the images of a run are, in words: dataset, how they were chosen, units, classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.domain import Domain
from bench.norms import Norm
from bench.report.tables import figure

PICTURE_AXES = 2
"""A picture has a height and a width, beside its channels."""

WHOLE = "all"
"""What the split of a dataset without splits is called."""

SEVERAL = "several"
"""Runs side by side whose images were chosen in different ways."""

CHOSEN = {
    "stratified": "{n} images drawn at random from {where}, each class in its proportion",
    "random": "{n} images drawn at random from {where}",
    "random balanced": "{n} images drawn at random from {where}, as many of each class",
    "balanced": "the first images of each class of {where}, {n} in all",
    "first": "the first {n} of {where}",
    SEVERAL: "{n} images of {where}, chosen in several ways",
    "listed": "{n} listed images of {where}",
}
"""How images were chosen, in words."""

SPLITS = {"test": "test split", "val": "validation split", "train": "training split"}


def chosen(manifest: Mapping[str, Any]) -> str:
    """Which images the run is about: ``the first 50 of the test split of MNIST``."""
    data, samples = manifest["data"], manifest["samples"]
    split = str(data.get("split") or manifest.get("split") or "").removeprefix(WHOLE)
    named = SPLITS.get(split, f"split {split}" if split else "")
    title = str(data.get("title") or data.get("name") or "unnamed images")
    where = f"the {named} of {title}" if named else title
    if data.get("size") == samples:
        return f"all {number(samples)} of {where}"
    return CHOSEN.get(str(data.get("chosen")), CHOSEN["first"]).format(n=number(samples), where=where)


def population(manifest: Mapping[str, Any]) -> str:
    """Which images the intervals of a run speak of, where it has not all of them."""
    drawn = str(manifest["data"].get("chosen"))
    if drawn in ("stratified", "random"):
        return "as they are a random sample, intervals speak of all of its images"
    if drawn == "random balanced":
        return "as they are a random sample with as many of each class, intervals speak of classes in equal numbers"
    return "as they are no random sample, intervals speak of images like these only"


def draws(manifest: Mapping[str, Any]) -> bool:
    """Whether the seed chose the images."""
    return str(manifest["data"].get("chosen")) in ("stratified", "random", "random balanced")


def number(samples: int | str) -> str:
    """A number of images; pages of several runs have text there."""
    return f"{samples:,}" if isinstance(samples, int) else str(samples)


def is_picture(domain: Domain) -> bool:
    """Whether inputs can be shown as pictures: height and width, and one channel or three."""
    axes = len(domain.shape) - (domain.channel_axis is not None)
    return axes == PICTURE_AXES and not domain.feature_names and channels(domain) in (1, 3)


def channels(domain: Domain) -> int:
    """How many values a pixel has."""
    return domain.size // domain.pixels


def values(domain: Domain) -> str:
    """What L0 counts: ``pixels`` where one value is a pixel, else ``values``."""
    return "pixels" if domain.channel_axis is not None and channels(domain) == 1 else "values"


def unit(domain: Domain, norm: Norm) -> str:
    """What a distance of 1 is: ``pixels``, ``grey level``, ``box widths``; empty where nothing is known."""
    if norm.counts:
        return values(domain)
    return "box widths" if domain.per_feature else domain.unit


def distance(domain: Domain, norm: Norm, value: float) -> str:
    """A distance with its unit: ``3 pixels``, ``0.46 (grey level)``, ``0.2 box widths``."""
    of = unit(domain, norm)
    if norm.counts:
        return f"{figure(value)} {of.removesuffix('s') if value == 1 else of}"
    return f"{figure(value)} {of}" if domain.per_feature else figure(value) + (f" ({of})" if of else "")


def explained(domain: Domain, norm: Norm) -> str:
    """What distances in a norm are, for an axis or a heading: ``Euclidean length of the change, unit: grey level``."""
    if norm.counts:
        return f"number of changed {values(domain)}"
    return f"{norm.unit}, unit: {unit(domain, norm)}" if unit(domain, norm) else norm.unit


def box(domain: Domain) -> str:
    """The box in words: ``0 to 255 (grey level)``, or that every value has its own."""
    if domain.per_feature:
        return "each value has a box of its own; distances are in widths of it"
    return f"{domain.low:g} to {domain.high:g}" + (f" ({domain.unit})" if domain.unit else "")


def value_names(domain: Domain) -> tuple[str, ...]:
    """What the values of an input are called, flat in C order: their names, or their place."""
    if domain.feature_names:
        return domain.feature_names
    if len(domain.shape) == 1:
        return tuple(f"value {place}" for place in range(domain.size))
    return tuple(f"value {', '.join(map(str, place))}" for place in np.ndindex(*domain.shape))
