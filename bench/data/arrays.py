"""Datasets of what a program has at hand: arrays, tensors, torch datasets, data loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.data.dataset import Dataset, Images, Indices, Split, checked_labels
from bench.domain import Domain
from bench.errors import DataError, line

WHOLE = "all"
"""The name of the one split of such a dataset."""

_LABELS = 2**31
"""Labels lie below this."""

Box = tuple[ArrayLike, ArrayLike]


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    box: Box | None = None,
    classes: int | None = None,
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    channel_axis: int | Literal["auto"] | None = "auto",
    unit: str = "",
    name: str = "arrays",
    title: str = "",
) -> Dataset:
    """A dataset of images in memory.

    Args:
        images: (n, *shape) numbers, an array or a tensor; or, without ``labels``, a pair of images and labels, a torch
            ``Dataset`` of (image, label) or a ``DataLoader`` of such batches, read once in the order in which it gives them.
        labels: (n,) integers.
        box: lowest and highest value of an input: two numbers, or arrays that broadcast to ``shape``, such as (3, 1, 1) for
            channels or (d,) for features. None: 0 to 255 for uint8, 0 to 1 for floats that all lie there.
        classes: how many; None for the largest label + 1, or one for each of ``class_names``.
        class_names: one for each class.
        feature_names: one for each value of an input, flat in C order.
        channel_axis: the axis of ``shape`` that holds channels; None for none; ``auto`` takes the first axis, or the last,
            of three where it has length 1, 3 or 4.
        unit: what a step of 1 is, such as ``grey level``.
        name: of the dataset, for files.
        title: of the dataset, for people; the name unless given.

    Returns:
        A dataset with the one split ``all``.

    Raises:
        DataError: the values, labels or the box are not possible; the message says what is.
    """
    inputs, truth = _read(images, labels)
    low, high = _box(inputs, box)
    shape = inputs.shape[1:]
    domain = Domain(
        shape=shape,
        classes=max(2, int(truth.max()) + 1, len(class_names)) if classes is None else classes,
        low=low,
        high=high,
        channel_axis=_channels(shape) if channel_axis == "auto" else channel_axis,
        class_names=class_names,  # type: ignore[arg-type]  # a domain makes tuples of them
        feature_names=feature_names,  # type: ignore[arg-type]
        unit=unit,
    )
    values = domain.checked(inputs)
    checked_labels(truth, len(values), domain.classes)

    def read(indices: Indices) -> Images:
        chosen = slice(None) if indices is None else np.asarray(indices, dtype=np.int64)
        return values[chosen], truth[chosen]

    return Dataset(
        name=name,
        title=title or name,
        domain=domain,
        splits={WHOLE: Split(len(values), read, lambda: truth)},
        usual_split=WHOLE,
    )


def thirds(read: Callable[[], Images], size: int) -> dict[str, Split]:
    """Splits of data in one piece: ``test`` is every third row from the first, ``train`` the others.

    Args:
        read: all images and labels.
        size: how many there are, so that nothing is read to say it.
    """

    def part(test: bool, indices: Indices) -> Images:
        images, labels = read()
        places = np.flatnonzero((np.arange(size) % 3 == 0) == test)
        chosen = places if indices is None else places[np.asarray(indices, dtype=np.int64)]
        return images[chosen], labels[chosen]

    def labels(test: bool) -> NDArray[np.int64]:
        return part(test, None)[1]

    third = -(-size // 3)
    return {
        "train": Split(size - third, partial(part, False), partial(labels, False)),
        "test": Split(third, partial(part, True), partial(labels, True)),
    }


def _read(images: Any, labels: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images and labels as arrays, whatever held them."""
    if labels is None:
        if isinstance(images, tuple | list) and len(images) == 2 and not _is_pairs(images):
            images, labels = images
        else:
            images, labels = _joined(images)
    inputs, truth = _array(images), _array(labels)
    if not len(inputs):
        raise DataError("there are no images; give at least one")
    if inputs.ndim < 2 or not inputs.size:
        raise DataError(f"images have shape {inputs.shape}; give (n, *shape), such as (100, 3, 32, 32) or (100, 30)")
    if inputs.dtype.kind not in "buif":
        raise DataError(f"images are of dtype {inputs.dtype}; give real numbers, all images of one shape")
    if truth.shape != (len(inputs),) or not np.issubdtype(truth.dtype, np.integer):
        raise DataError(
            f"labels are {truth.dtype} of shape {truth.shape}; give one integer for each of {len(inputs)} images"
        )
    for label in (truth.min(), truth.max()):
        if not 0 <= label < _LABELS:
            raise DataError(f"label {label} is not possible; classes are 0, 1, 2, ...")
    return inputs, truth.astype(np.int64)


def _is_pairs(content: Any) -> bool:
    """Whether a sequence of two holds (image, label) pairs, rather than images and labels."""
    return all(isinstance(item, tuple) and len(item) == 2 and np.ndim(_array(item[1])) == 0 for item in content)


def _joined(content: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The images and labels of a torch dataset, or of the batches of a data loader."""
    if not hasattr(content, "__getitem__") and not hasattr(content, "__iter__"):
        raise DataError(
            f"images are a {type(content).__name__}, without labels; give images and labels, or a torch Dataset"
        )
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    # A loader without a sampler of batches gives what its dataset gives.
    single = _is_torch_dataset(content) or getattr(content, "batch_sampler", content) is None
    for pair in _pairs(content):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(
                "images came without labels; give labels as well, or a Dataset or DataLoader of (image, label) pairs"
            )
        image, label = _array(pair[0]), _array(pair[1])
        if single or label.ndim == 0:
            images.append(image)
            labels.append(label.reshape(()) if label.size == 1 else label)
        else:
            images.extend(image)
            labels.extend(label)
    try:
        return np.stack(images) if images else np.empty((0,)), np.asarray(labels)
    except ValueError as error:
        raise DataError(f"images differ in shape ({error}); give them one shape, such as by a transform") from error


def _is_torch_dataset(content: Any) -> bool:
    """Whether it gives one image at a time, also where its labels are vectors of length 1. Needs no torch."""
    return any(
        kind.__name__ == "Dataset" and kind.__module__.startswith("torch.utils.data") for kind in type(content).__mro__
    )


def _pairs(content: Any) -> Iterator[Any]:
    # A torch Dataset need not be iterable; Python then counts until IndexError, which not every one raises.
    try:
        if hasattr(content, "__iter__"):
            yield from content
        else:
            yield from (content[i] for i in range(len(content)))
    except (Exception, SystemExit) as error:
        raise DataError(f"the {type(content).__name__} of images cannot be read: {line(error)}") from error


def _array(values: Any) -> NDArray[Any]:
    """An array of numbers; a tensor on any device, a picture, or a list as well."""
    try:
        if not hasattr(values, "detach"):
            return np.asarray(values)
        values = values.detach()
        if str(values.layout) != "torch.strided":
            values = values.to_dense()
        # NumPy lacks the short types of floats; a quantised tensor has another way to its numbers.
        if values.is_quantized:
            values = values.dequantize()
        elif values.is_floating_point() and values.itemsize < 4:
            values = values.float()
        return np.asarray(values.numpy(force=True))
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"images and labels cannot be made arrays of numbers: {line(error)}") from error


def _box(inputs: NDArray[Any], box: Box | None) -> tuple[Any, Any]:
    if box is not None:
        try:
            low, high = box
            wide = [np.broadcast_to(_array(end).astype(np.float64), inputs.shape[1:]) for end in (low, high)]
        except (TypeError, ValueError, DataError) as error:
            given = " ".join(f"{box!r}".split())
            raise DataError(
                f"box {given if len(given) < 100 else given[:100] + '...'} is not possible ({line(error)}); give "
                f"(low, high), numbers or arrays of shape {inputs.shape[1:]}"
            ) from error
        return wide[0], wide[1]
    if inputs.dtype == np.uint8:
        return 0.0, 255.0
    if not np.isfinite(inputs).all():
        raise DataError("some values of the images are NaN or infinite; leave those images out, or mend them")
    if inputs.min() >= 0 and inputs.max() <= 1:
        return 0.0, 1.0
    raise DataError(
        f"images have values from {inputs.min():g} to {inputs.max():g}; give box=(low, high), the lowest and highest value "
        "that an input may have"
    )


def _channels(shape: tuple[int, ...]) -> int | None:
    if len(shape) != 3:
        return None
    return next((axis for axis in (0, 2) if shape[axis] in (1, 3, 4)), None)
