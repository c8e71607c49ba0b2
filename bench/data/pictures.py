"""Datasets of pictures: a folder for each class, and the classes of ``torchvision.datasets``."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.arrays import WHOLE
from bench.data.dataset import Dataset, Images, Indices, Split
from bench.data.options import Options
from bench.domain import Domain
from bench.errors import DataError, UsageError, line

SPLITS = ("test", "val", "train")
"""Names of splits, the one that is usually attacked first."""

ROOT = "data"
"""Where torchvision's datasets lie, unless a user says otherwise."""

TARGETS = ("targets", "labels", "_labels")
"""Attributes under which torchvision's datasets keep the classes of all pictures."""

_OPTIONS = ("box", "class_names", "resize", "crop")


@dataclass(frozen=True)
class Pictures:
    """Pictures with classes, read one at a time.

    Attributes:
        open: makes torchvision's dataset of (picture, class) pairs, without a transform.
        options: how they are scaled and cut.
        title: what messages call them.
    """

    open: Callable[[], Any]
    options: Options
    title: str

    @cached_property
    def pairs(self) -> Any:
        """Torchvision's dataset."""
        return self.open()

    @cached_property
    def first(self) -> NDArray[np.float32]:
        """The first picture, by which the others are measured: (channels, height, width)."""
        return self._picture(0)[0]

    @property
    def class_names(self) -> tuple[str, ...]:
        """As the files have them; empty where they have none."""
        found = getattr(self.pairs, "classes", ())
        return tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The (n,) classes of all pictures, where torchvision's dataset has them without reading a picture."""
        for name in TARGETS:
            with suppress(TypeError, ValueError):  # what makes no array is no list of classes
                values = np.asarray(getattr(self.pairs, name, None))
                if values.shape == (len(self.pairs),) and values.dtype.kind in "iu":
                    return values.astype(np.int64)
        return None

    def read(self, indices: Indices) -> Images:
        """Pictures (n, channels, height, width) float32 and their (n,) int64 classes."""
        chosen = range(len(self.pairs)) if indices is None else indices
        images = np.empty((len(chosen), *self.first.shape), dtype=np.float32)
        labels = np.empty(len(chosen), dtype=np.int64)
        for row, index in enumerate(chosen):
            picture, label = self._picture(int(index))
            if picture.shape != self.first.shape:
                raise DataError(
                    f"picture {index} has shape {picture.shape}, the first one {self.first.shape}; scale and cut them with "
                    "--resize and --crop"
                )
            images[row], labels[row] = picture, label
        return images, labels

    def _picture(self, index: int) -> tuple[NDArray[np.float32], int]:
        from torchvision.transforms import functional  # noqa: PLC0415 - takes two seconds

        try:
            picture, label = self.pairs[index]
        except Exception as error:
            raise DataError(f"picture {index} of {self.title} cannot be read: {line(error)}") from error
        if not hasattr(picture, "convert"):
            raise DataError(f"{self.title} gives {type(picture).__name__}, which is no picture")
        try:
            label = int(label)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{self.title} gives {label!r} as a class; a dataset for classification gives a number"
            ) from error
        picture = picture.convert("L" if picture.mode in ("1", "L", "I", "I;16") else "RGB")
        if self.options.resize is not None:
            picture = functional.resize(picture, self.options.resize)
        if self.options.crop is not None:
            picture = functional.center_crop(picture, self.options.crop)
        values = np.asarray(picture, dtype=np.float32)
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        return (values if self.options.box is not None else values / np.float32(255)), label


def folder(path: Path, options: Options) -> Dataset:
    """A dataset of a folder that holds a folder of pictures for each class, or one of these for each split.

    Args:
        path: ``path/<class>/<picture>``, or ``path/test/<class>/<picture>`` beside ``train`` and ``val``.
        options: ``box``, ``class_names``, ``resize`` and ``crop`` apply.

    Raises:
        DataError: it holds no such pictures, or they differ in size.
        UsageError: an option does not apply.
    """
    options.only(f"a folder of pictures ({path.name})", *_OPTIONS)
    from torchvision.datasets import ImageFolder  # noqa: PLC0415 - takes two seconds

    there = {split: path / split for split in SPLITS if (path / split).is_dir()} or {WHOLE: path}
    parts = {
        split: Pictures(partial(ImageFolder, str(place), loader=_opened), options, str(place))
        for split, place in there.items()
    }
    return _dataset(path.name, str(path.name), parts, options)


def _opened(path: str) -> Any:
    """A picture in the mode of its file, where torchvision would make colour of grey."""
    from PIL import Image  # noqa: PLC0415 - with torchvision

    with Image.open(path) as picture:
        picture.load()
        return picture


def torchvision(name: str, options: Options) -> Dataset:
    """A dataset of ``torchvision.datasets``, from the files on disk.

    Args:
        name: of its class, such as ``CIFAR10``.
        options: ``box``, ``class_names``, ``resize``, ``crop``, ``data_root`` and ``download`` apply.

    Raises:
        DataError: its files are not there, or it is not one of pictures and classes.
        UsageError: there is no such class, or an option does not apply.
    """
    options.only(f"torchvision:{name}", *_OPTIONS, "data_root", "download")
    from torchvision import datasets  # noqa: PLC0415 - takes two seconds

    known = [each for each in datasets.__all__ if inspect.isclass(getattr(datasets, each))]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        meant = f"; did you mean {' or '.join(near)}?" if near else "."
        raise UsageError(
            f"torchvision has no dataset {name!r}{meant} Its documentation lists them under torchvision.datasets"
        )
    kind = getattr(datasets, name)
    takes = inspect.signature(kind).parameters
    shared: dict[str, Any] = {}
    if "root" in takes:
        shared["root"] = options.data_root or ROOT
    if "download" in takes:
        shared["download"] = options.download
    elif options.download:
        raise UsageError(f"--download does not apply to torchvision:{name}, which has to be downloaded by hand")
    choices: Mapping[str, dict[str, Any]] = {WHOLE: {}}
    if "train" in takes:
        choices = {"test": {"train": False}, "train": {"train": True}}
    elif "split" in takes:
        choices = {split: {"split": split} for split in SPLITS}
    parts = {}
    reasons = []
    for split, chosen in choices.items():
        part = Pictures(partial(kind, **shared, **chosen), options, f"torchvision:{name}")
        try:
            _ = part.pairs
            parts[split] = part
        except Exception as error:
            reasons.append(line(error))
    if not parts:
        advice = f"add --download, or --data-root FOLDER if it lies elsewhere than {shared.get('root', ROOT)!r}"
        raise DataError(f"torchvision:{name} cannot be read: {reasons[0]}; {advice}")
    return _dataset(name.lower(), name, parts, options)


def _dataset(name: str, title: str, parts: Mapping[str, Pictures], options: Options) -> Dataset:
    usual = next(split for split in (*SPLITS, WHOLE) if split in parts)
    try:
        own, shape = parts[usual].class_names, parts[usual].first.shape
        sizes = {split: len(part.pairs) for split, part in parts.items()}
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{parts[usual].title} holds no pictures in folders by class: {line(error)}") from error
    names = options.names() or own
    low, high = options.box or (0.0, 1.0)
    return Dataset(
        name=name,
        title=title,
        domain=Domain(
            shape=shape,
            classes=max(2, len(names)) if names else _largest(parts[usual]) + 1,
            low=low,
            high=high,
            channel_axis=0,
            class_names=names,
            unit="grey level" if shape[0] == 1 else "",
        ),
        splits={split: _split(part, sizes[split]) for split, part in parts.items()},
        usual_split=usual,
        start_split="train" if "train" in parts else "",
    )


def _split(part: Pictures, size: int) -> Split:
    labels = part.labels
    return Split(size, part.read, None if labels is None else lambda: labels)


def _largest(part: Pictures) -> int:
    """The largest class, where the files name none."""
    known = part.labels
    labels: Sequence[Any] = [pair[1] for pair in part.pairs] if known is None else known.tolist()
    return max(1, *(int(label) for label in labels))
