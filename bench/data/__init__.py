"""Datasets: MNIST, and any that a user brings. Importing this package imports no torch."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.data import sets
from bench.data.arrays import WHOLE, from_arrays
from bench.data.dataset import Dataset, Images, Split
from bench.errors import DataError
from bench.plugins import Kind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DATASETS", "WHOLE", "Dataset", "Images", "Split", "find", "from_arrays", "tensors"]


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
    found = DATASETS.find(text)
    value = found.value
    if not isinstance(value, Dataset) and callable(value) and not hasattr(value, "__getitem__"):
        try:
            value = value()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"{found.source}() raises {reason}") from error
    return value if isinstance(value, Dataset) else from_arrays(value, name=found.name)


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
