"""A dataset: named splits of images with labels, the domain they lie in, and images to start attacks from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.domain import Domain
from bench.errors import DataError, line, unknown

Images = tuple[NDArray[np.float32], NDArray[np.int64]]
"""(n, *shape) float32 in the domain's box, and (n,) int64 labels."""

Indices = Sequence[int] | NDArray[np.int64] | None

POOL = 5_000
"""How many images of a split attacks may start from."""

PART = 1_000
"""So many images are read at once where only their labels are asked for; fewer where they are large."""

POOL_BYTES = 200_000_000
"""How much memory these may take: 5,000 pictures up to 3 x 57 x 57, or 332 of 3 x 224 x 224."""


@dataclass(frozen=True, slots=True)
class Split:
    """A part of a dataset.

    Attributes:
        size: how many images it has.
        read: the images and labels of some indices, or of all for None; they are checked by :meth:`Dataset.load`.
        labels: the (n,) integer labels of all images, where they are known without reading an image.
    """

    size: int
    read: Callable[[Indices], Images] = field(repr=False, compare=False)
    labels: Callable[[], NDArray[np.int64]] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images and labels in splits.

    Attributes:
        name: short name, for files and commands.
        title: what people call it.
        domain: the space that its images lie in.
        splits: by name.
        usual_split: the one that is attacked unless the user says otherwise.
        start_split: the one whose images attacks may start from; empty for the attacked images themselves.

    Raises:
        UsageError: ``usual_split`` or ``start_split`` is none of the splits.
    """

    name: str
    title: str
    domain: Domain
    splits: Mapping[str, Split] = field(hash=False)
    usual_split: str
    start_split: str = ""

    def __post_init__(self) -> None:
        """Check that the splits are there."""
        for split in filter(None, (self.usual_split, self.start_split)):
            self._split(split)

    def load(self, split: str, indices: Indices = None) -> Images:
        """Images and labels of a split.

        Args:
            split: its name.
            indices: (n,) of the images, each from 0 to the split's size - 1; None for all, in order.

        Returns:
            (n, *shape) float32 in the domain's box, and (n,) int64 labels.

        Raises:
            UsageError: there is no such split.
            DataError: there is no such image, or what the split holds is not of the domain.
        """
        part = self._split(split)
        asked = range(part.size) if indices is None else indices
        for index in (min(asked), max(asked)) if len(asked) else ():
            if not 0 <= index < part.size:
                raise DataError(
                    f"image {index} of split {split!r} of {self.title} was asked for; it has images 0 to {part.size - 1:,}"
                )
        try:
            inputs, labels = part.read(indices)
            checked = self.domain.checked(inputs)
            truth = checked_labels(labels, len(checked), self.domain.classes)
        except DataError as error:
            raise DataError(f"dataset {self.title}: {error}") from error
        except (Exception, SystemExit) as error:
            reason = line(error)
            raise DataError(f"dataset {self.title}: split {split!r} cannot be read: {reason}") from error
        if len(checked) != len(asked):
            raise DataError(
                f"dataset {self.title}: split {split!r} gave {len(checked)} images where {len(asked)} were asked for"
            )
        return checked, truth

    def labels(self, split: str, *, read: bool = False) -> NDArray[np.int64] | None:
        """The labels of all images of a split.

        Args:
            split: its name.
            read: whether to read the images, a part at a time, where labels are not known without.

        Returns:
            (n,) int64; None where they are not known and ``read`` is false.

        Raises:
            UsageError: there is no such split.
            DataError: they cannot be read, or are no labels of the domain.
        """
        part = self._split(split)
        if part.labels is not None:
            try:
                return checked_labels(part.labels(), part.size, self.domain.classes)
            except DataError as error:
                raise DataError(f"dataset {self.title}: {error}") from error
            except (Exception, SystemExit) as error:
                raise DataError(
                    f"dataset {self.title}: the labels of split {split!r} cannot be read: {line(error)}"
                ) from error
        if not read:
            return None
        step = self.domain.at_once(PART)
        pieces = [
            self.load(split, range(first, min(first + step, part.size)))[1] for first in range(0, part.size, step)
        ]
        return np.concatenate(pieces)

    def pool(self, split: str) -> Images:
        """Images that attacks on a split may start from, of ``start_split`` or of the split itself.

        They are the first ones. Where those lack a class, as in a folder whose pictures are sorted by class, images from
        all over the split take their place.

        Args:
            split: the one that is attacked.

        Returns:
            At most ``POOL`` images, of at most ``POOL_BYTES``, and their labels, as :meth:`load` gives them.

        Raises:
            UsageError: there is no such split.
            DataError: the images cannot be read.
        """
        name = self.start_split or split
        size = self._split(name).size
        most = min(POOL, size, max(1, POOL_BYTES // (4 * self.domain.size)))
        images, labels = self.load(name, range(most))
        if most < size and len(np.unique(labels)) < self.domain.classes:
            return self.load(name, np.arange(most) * size // most)
        return images, labels

    def _split(self, name: str) -> Split:
        if name not in self.splits:
            raise unknown(f"split of {self.title}", name, self.splits)
        return self.splits[name]


def checked_labels(labels: object, n: int, classes: int) -> NDArray[np.int64]:
    """Labels as (n,) int64.

    Args:
        labels: an array, or a list.
        n: how many there must be.
        classes: labels lie below this.

    Raises:
        DataError: they are not (n,) integers from 0 to ``classes`` - 1.
    """
    values = np.asarray(labels)
    if values.shape != (n,) or not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"labels are {values.dtype} of shape {values.shape}; give one integer for each of {n} images")
    if n and not (values.min() >= 0 and values.max() < classes):
        raise DataError(
            f"labels from {values.min()} to {values.max()} are not possible; there are {classes} classes, 0 to {classes - 1}"
        )
    return values.astype(np.int64)
