"""Datasets: MNIST, and any that a user brings. Importing this package imports no torch.

::

    find("mnist")
    find("mine.npz"), find("table.csv"), find("pictures/")       # files and folders
    find("torchvision:CIFAR10"), find("mine.py:data")
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data import files, sets
from bench.data.arrays import WHOLE, from_arrays
from bench.data.dataset import Dataset, Images, Split
from bench.data.options import Options
from bench.errors import DataError, line
from bench.plugins import Found, Kind, file_path

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DATASETS", "WHOLE", "Dataset", "Images", "Options", "Split", "find", "from_arrays", "located", "tensors"]


def _builtin() -> Mapping[str, str]:
    return {part.name: f"bench.data.sets.{part.name}:DATASET" for part in pkgutil.iter_modules(sets.__path__)}


READERS: Mapping[str, Callable[[Path, Options], Dataset]] = {
    ".npz": files.arrays,
    ".safetensors": files.arrays,
    ".csv": files.table,
    ".parquet": files.table,
}
"""What reads a file, by its ending."""

TORCHVISION = "torchvision:"
"""How the name of a dataset of torchvision begins."""

DEFAULT = Options()

DATASETS = Kind(
    "dataset",
    "datasets",
    _builtin,
    attribute="DATASET",
    also=(*(f"file{ending}" for ending in READERS), "a folder of pictures", f"{TORCHVISION}CIFAR10"),
)
"""Datasets that have a name: those of the bench, entry points, and objects of Python files."""


def find(text: str, options: Options = DEFAULT) -> Dataset:
    """A dataset by its name, by its file or folder, ``torchvision:NAME``, ``file.py:object`` or ``module:object``.

    The object is a :class:`Dataset`, or what :func:`from_arrays` takes, such as a pair of images and labels or a torch
    ``Dataset``; or a function that returns one of these.

    Args:
        text: what a user typed.
        options: how files, folders and torchvision's datasets are read.

    Raises:
        UsageError: there is no such object, or an option does not apply to it.
        DataError: it is no dataset.
    """
    return located(text, options)[0]


def located(text: str, options: Options = DEFAULT) -> tuple[Dataset, Found]:
    """A dataset as :func:`find` finds it, and where it is from."""
    path = file_path(text, "--data") if text and text not in DATASETS.names() else None
    if path is not None and (path.suffix.lower() in READERS or path.is_dir()):
        if not path.exists():
            raise DataError(f"there is no file {path}")
        stamp = path.stat()
        return _read(path, options, (stamp.st_mtime_ns, stamp.st_size)), Found(path.stem, None, str(path))
    if text.startswith(TORCHVISION):
        from bench.data import pictures  # noqa: PLC0415 - needs torchvision, which takes seconds

        return pictures.torchvision(text.removeprefix(TORCHVISION), options), Found(text, None, text)
    found = DATASETS.find(text)
    options.only(f"dataset {text}")
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


@lru_cache(maxsize=1)
def _read(path: Path, options: Options, _stamp: tuple[int, int]) -> Dataset:
    """A file or a folder as a dataset; it is not read twice in a row while it does not change."""
    if path.is_dir():
        from bench.data import pictures  # noqa: PLC0415 - as above

        return pictures.folder(path, options)
    return READERS[path.suffix.lower()](path, options)


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
