"""Which images of a split a run attacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset
from bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user says of the images.

    Attributes:
        samples: how many; None for as many as ``usual``.
        usual: how many the suite takes, at most.
        indices: which ones; None for images that are drawn.
        balanced: whether to take as many of each class.
        first: whether to take the first ones, in place of images that are drawn.
        seed: of the draw.
    """

    samples: int | None
    usual: int
    indices: tuple[int, ...] | None = None
    balanced: bool = False
    first: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The images of a run.

    Attributes:
        indices: of the images in the split, in the order in which capped rows take them.
        words: how they were chosen, for the manifest: ``stratified``, ``random``, ``random balanced``, ``balanced``,
            ``first`` or ``listed``.
    """

    indices: tuple[int, ...]
    words: str


def choose(dataset: Dataset, split: str, choice: Choice) -> Chosen:
    """The images that a user means. A smaller sample is the beginning of a larger one.

    Drawn images are a random sample without replacement, stratified by class: each class has its proportion of the split,
    up to rounding. Where the labels of a split are not known without reading its images, the sample is a simple random one.

    Args:
        dataset: whose; its labels are read where classes count.
        split: one of its splits.
        choice: what the user says.

    Raises:
        UsageError: there are not so many images, an index is not possible, or options exclude each other.
        DataError: the labels cannot be read.
    """
    size = dataset.splits[split].size
    if choice.indices is not None:
        return Chosen(_listed(choice, split, size, dataset.title), "listed")
    samples = min(choice.usual, size) if choice.samples is None else choice.samples
    if not 1 <= samples <= size:
        raise UsageError(
            f"--samples {samples} is not possible; split {split!r} of {dataset.title} has 1 to {size:,} images"
        )
    if choice.first and not choice.balanced:
        return Chosen(tuple(range(samples)), "first")
    labels = dataset.labels(split, read=choice.balanced)
    random = np.random.default_rng(choice.seed)
    if choice.balanced:
        order = _in_turn(labels if labels is not None else np.zeros(size), None if choice.first else random)
        return Chosen(_taken(order, samples), "balanced" if choice.first else "random balanced")
    order = _in_proportion(np.zeros(size) if labels is None else labels, random)
    return Chosen(_taken(order, samples), "random" if labels is None else "stratified")


def _taken(order: NDArray[np.intp], samples: int) -> tuple[int, ...]:
    return tuple(int(index) for index in order[:samples])


def _listed(choice: Choice, split: str, size: int, title: str) -> tuple[int, ...]:
    found = choice.indices or ()
    if choice.samples is not None or choice.balanced or choice.first:
        raise UsageError("--indices says which images there are; leave out --samples, --balanced and --first")
    for index in found:
        if not 0 <= index < size:
            raise UsageError(
                f"--indices {index} is not possible; split {split!r} of {title} has images 0 to {size - 1:,}"
            )
    if len(set(found)) < len(found):
        twice = next(index for index in found if found.count(index) > 1)
        raise UsageError(f"--indices names image {twice} twice; name each once")
    if not found:
        raise UsageError("--indices names no image; give at least one")
    return found


def _in_turn(labels: NDArray[np.generic], random: np.random.Generator | None) -> NDArray[np.intp]:
    """One image of each class in turn; where a class has no more, the others fill its place.

    Args:
        labels: (n,) of all images.
        random: shuffles images and classes; None keeps their order.
    """
    order = np.arange(len(labels)) if random is None else np.argsort(random.random(len(labels)))
    turn = np.empty(len(labels), dtype=np.intp)
    classes, place = np.unique(labels, return_inverse=True)
    for number in range(len(classes)):
        own = order[place[order] == number]
        turn[own] = np.arange(len(own))
    rank = np.arange(len(classes)) if random is None else np.argsort(random.random(len(classes)))
    return np.lexsort((rank[place], turn))


def _in_proportion(labels: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.intp]:
    """An order in which every beginning has each class in its proportion, up to rounding, which the draw decides.

    The k-th of the m images of a class, in shuffled order, stands at (k + u) / m, u uniform in [0, 1): systematic sampling.

    Args:
        labels: (n,) of all images.
        random: draws.
    """
    order, rounding = np.argsort(random.random(len(labels))), random.random(len(labels))
    at = np.empty(len(labels))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        at[own] = (np.arange(len(own)) + rounding[own]) / len(own)
    return np.argsort(at)
