"""Datasets: MNIST, and any that a user brings. Importing this package imports no torch."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.data import sets
from bench.data.arrays import WHOLE, from_arrays
from bench.data.dataset import Dataset, Images, Split
from bench.errors import DataError, line
from bench.plugins import Found, Kind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DATASETS", "WHOLE", "Dataset", "Images", "Split", "find", "from_arrays", "located", "tensors"]


def _builtin() -> Mapping[str, str]:
    return {part.name: f"bench.data.sets.{part.name}:DATASET" for part in pkgutil.iter_modules(sets.__path__)}


DATASETS = Kind("dataset", "datasets", _builtin, attribute="DATASET")


def find(text: str) -> Dataset:
    """A dataset by its name, ``file.py:object`` or ``module:object``.

    The object is a :class:`Dataset`, or what :func:`from_arrays` takes, such as a pair of images and labels or a torch
    ``Dataset``; or a function that returns one of these.

    Raises:
        UsageError: there is no such object.
        DataError: it is no dataset.
    """
    return located(text)[0]


def located(text: str) -> tuple[Dataset, Found]:
    """A dataset as :func:`find` finds it, and where it is from."""
    found = DATASETS.find(text)
    value = found.value
    # A class of datasets has what its datasets have.
    if isinstance(value, type) or (callable(value) and not hasattr(value, "__getitem__")):
        try:
            value = found.call()
        except (Exception, SystemExit) as error:
            reason = line(error)
            raise DataError(f"dataset {found.source}() raises {reason}") from error
    if isinstance(value, Dataset):
        return value, found
    try:
        return from_arrays(value, name=found.name), found
    except DataError as error:
        raise DataError(f"dataset {found.source}: {error}") from error


def tensors(dataset: str = "mnist", split: str = "", n: int | None = None) -> tuple[Tensor, Tensor]:
    """The first images of a split as tensors, for notebooks.

    Args:
        dataset: as :func:`find` takes it.
        split: of the dataset; empty for its usual one.
        n: how many, from the first; None for all.

    Returns:
        (n, *shape) float32 in the domain's box, and (n,) int64 labels.

    Raises:
        BenchError: there is no such dataset, split or image.
    """
    import torch  # noqa: PLC0415 - the rest of this package needs none

    found = find(dataset)
    images, labels = found.load(split or found.usual_split, None if n is None else range(n))
    return torch.from_numpy(images), torch.from_numpy(labels)
