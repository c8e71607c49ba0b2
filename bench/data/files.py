"""Datasets in files: arrays (``.npz``, ``.safetensors``) and tables (``.csv``, ``.parquet``). Nothing in them is executed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.arrays import WHOLE, from_arrays
from bench.data.dataset import Dataset
from bench.data.options import Options
from bench.errors import DataError, line

if TYPE_CHECKING:
    import pandas as pd

IMAGES = ("images", "inputs", "x", "features", "data")
LABELS = ("labels", "targets", "y")
SPLITS = ("train", "test", "val")

USUAL_LABELS = ("label", "target", "class", "y")
"""Names of the column of classes, where none is given."""

_NAME = re.compile(rf"(?:({'|'.join(SPLITS)})_)?({'|'.join((*IMAGES, *LABELS))})(?:_({'|'.join(SPLITS)}))?")


def arrays(path: Path, options: Options) -> Dataset:
    """A dataset of arrays in a file.

    Args:
        path: ``.npz`` or ``.safetensors`` with ``images`` (n, *shape) and ``labels`` (n,), or the same for splits:
            ``train_images`` and ``train_labels``, ``test_images`` and ``test_labels``. Usual other names are known too.
        options: ``box`` and ``class_names`` apply.

    Raises:
        DataError: the file cannot be read, or lacks an array.
        UsageError: an option does not apply.
    """
    options.only(f"arrays ({path.name})", "box", "class_names")
    content = _content(path)
    splits = _splits(content, path)
    names = options.names()
    described = {"classes": _classes(splits, names), "class_names": names, "name": path.stem}
    made = {split: _scaled(inputs, labels, options.box, **described) for split, (inputs, labels) in splits.items()}
    first = next(iter(made.values()))
    for split, each in made.items():
        if each.domain.shape != first.domain.shape:
            raise DataError(f"{path}: split {split!r} has shape {each.domain.shape}, another one {first.domain.shape}")
    return replace(
        first,
        splits={split: each.splits[WHOLE] for split, each in made.items()},
        usual_split=next(split for split in ("test", WHOLE, "val", "train") if split in made),
        start_split="train" if "train" in made else "",
    )


def table(path: Path, options: Options) -> Dataset:
    """A dataset of a table: a column of classes, and features in all other columns.

    Args:
        path: ``.csv`` or ``.parquet``.
        options: ``label``, ``box`` and ``class_names`` apply.

    Raises:
        DataError: the file cannot be read, a feature is no number or missing, or no column holds the classes.
        UsageError: an option does not apply.
    """
    import pandas as pd  # noqa: PLC0415 - what reads no table starts without it

    options.only(f"a table ({path.name})", "label", "box", "class_names")
    try:
        content = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as a table: {line(error)}") from error
    if not len(content):
        raise DataError(f"{path} has no rows; there are no images")
    label = _label(content, options.label, path)
    features = content.drop(columns=label)
    for column in features.columns:
        if not pd.api.types.is_numeric_dtype(features[column]):
            example = features[column].iloc[0]
            raise DataError(
                f"{path}: column {column!r} holds {example!r}, which is no number; encode it, or leave the column out"
            )
        if missing := int(features[column].isna().sum()):
            raise DataError(f"{path}: column {column!r} lacks {missing} values; fill them, or leave those rows out")
    if not len(features.columns):
        raise DataError(f"{path} has no column beside {label!r}; each feature is a column")
    labels, names = _coded(content[label], options.names(), path)
    inputs = features.to_numpy(dtype=np.float32)
    box = options.box or (inputs.min(axis=0), inputs.max(axis=0))
    return from_arrays(
        inputs,
        labels,
        box=box,
        class_names=names,
        feature_names=[str(column) for column in features.columns],
        channel_axis=None,
        name=path.stem,
    )


def _content(path: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays of a file by their names."""
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.numpy import load_file  # noqa: PLC0415 - what reads no such file starts without it

            return load_file(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:
        raise DataError(
            f"{path} cannot be read as arrays: {line(error)}; write it with numpy.savez(file, images=..., labels=...)"
        ) from error


def _splits(content: Mapping[str, NDArray[Any]], path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Images and labels by split."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in content.items():
        match = _NAME.fullmatch(name.lower())
        if match is None or (match[1] and match[3]):
            continue
        role = "images" if match[2] in IMAGES else "labels"
        parts = found.setdefault(match[1] or match[3] or WHOLE, {})
        if role in parts:
            raise DataError(f"{path} has more than one array of {role}: {', '.join(content)}; keep one of each")
        parts[role] = values
    for split, parts in found.items():
        if len(parts) < 2:
            (there,) = parts
            raise DataError(
                f"{path} has {there} of split {split!r} and no {'labels' if there == 'images' else 'images'}"
            )
    if not found:
        raise DataError(f"{path} has arrays {', '.join(content) or 'none'}; it needs images and labels")
    return {split: (parts["images"], parts["labels"].reshape(-1)) for split, parts in found.items()}


def _classes(splits: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], names: tuple[str, ...]) -> int | None:
    """How many classes all splits have; None where labels are no integers, which is reported where they are read."""
    largest = [int(labels.max()) + 1 for _, labels in splits.values() if labels.size and labels.dtype.kind in "iu"]
    return max([2, len(names), *largest]) if largest else None


def _scaled(inputs: NDArray[Any], labels: NDArray[Any], box: tuple[float, float] | None, **described: Any) -> Dataset:
    """One split, described as :func:`from_arrays` takes it; without a box, bytes are divided by 255."""
    if inputs.dtype == np.uint8 and box is None:
        inputs, box = inputs.astype(np.float32) / np.float32(255), (0.0, 1.0)
    return from_arrays(inputs, labels, box=box, **described)


def _label(content: pd.DataFrame, asked: str | None, path: Path) -> str:
    known = [str(column) for column in content.columns]
    if asked is not None:
        if asked not in content.columns:
            raise DataError(f"{path} has no column {asked!r}; it has {', '.join(known)}")
        return asked
    found = [column for column in known if column.lower() in USUAL_LABELS]
    if len(found) != 1:
        raise DataError(
            f"{path}: which column holds the classes is not clear; say --label COLUMN. It has {', '.join(known)}"
        )
    return found[0]


def _coded(values: pd.Series, names: tuple[str, ...], path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Classes as numbers from 0, and their names; texts are numbered in alphabetical order."""
    import pandas as pd  # noqa: PLC0415 - as above

    if missing := int(values.isna().sum()):
        raise DataError(f"{path}: column {values.name!r} lacks {missing} classes; leave those rows out")
    if pd.api.types.is_integer_dtype(values) and (not len(values) or values.min() >= 0):
        return values.to_numpy(dtype=np.int64), names
    found = sorted(values.unique(), key=str)
    if names and len(names) != len(found):
        raise DataError(f"{path}: {len(names)} class names for {len(found)} classes; give one for each")
    numbers = {value: number for number, value in enumerate(found)}
    return values.map(numbers).to_numpy(dtype=np.int64), names or tuple(str(value) for value in found)
