"""Which images of a split a run attacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data import Dataset
from bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Choice:
    """What a user says of the images.

    Attributes:
        samples: how many; None for as many as ``usual``.
        usual: how many the suite takes, at most.
        indices: which ones; None for the first.
        balanced: whether to take as many of each class.
    """

    samples: int | None
    usual: int
    indices: tuple[int, ...] | None = None
    balanced: bool = False

    @property
    def words(self) -> str:
        """How images were chosen, for the manifest."""
        return "listed" if self.indices is not None else "balanced" if self.balanced else "first"


def indices(dataset: Dataset, split: str, choice: Choice) -> tuple[int, ...]:
    """The indices of the images in the split, in the order in which capped rows take them.

    Args:
        dataset: whose; its labels are read where classes are balanced.
        split: one of its splits.
        choice: what the user says.

    Raises:
        UsageError: there are not so many images, or an index is not possible.
    """
    size = dataset.splits[split].size
    if choice.indices is not None:
        return _listed(choice, split, size, dataset.title)
    samples = min(choice.usual, size) if choice.samples is None else choice.samples
    if not 1 <= samples <= size:
        raise UsageError(
            f"--samples {samples} is not possible; split {split!r} of {dataset.title} has 1 to {size:,} images"
        )
    return _balanced(dataset, split, samples) if choice.balanced else tuple(range(samples))


def _listed(choice: Choice, split: str, size: int, title: str) -> tuple[int, ...]:
    found = choice.indices or ()
    if choice.samples is not None or choice.balanced:
        raise UsageError("--indices says which images there are; leave out --samples and --balanced")
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


def _balanced(dataset: Dataset, split: str, samples: int) -> tuple[int, ...]:
    """The first images of each class in turn; where a class has no more, the others fill its place."""
    _, labels = dataset.load(split)
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    longest = max(len(place) for place in places)
    turns = [int(place[turn]) for turn in range(longest) for place in places if turn < len(place)]
    return tuple(turns[:samples])
