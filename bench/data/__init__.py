"""MNIST, shipped with the package: three disjoint splits as tensors, no network needed."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import MNIST

from bench.errors import DataError

FOLDER = Path(__file__).parent / "mnist"
SHAPE = (1, 28, 28)
CLASSES = 10
BOX = (0.0, 1.0)
TRAIN_SIZE = 50_000

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the uncompressed IDX files, the canonical distribution of LeCun, Cortes and Burges."""

Images = tuple[Tensor, Tensor]
"""(n, 1, 28, 28) float32 in [0, 1] and (n,) int64 labels in 0..9."""


class Split(StrEnum):
    """The three disjoint parts of MNIST."""

    TRAIN = "train"
    TEST = "test"
    VAL = "val"


def train(n: int | None = None) -> Images:
    """The first ``n`` of the first 50,000 images of MNIST's training file: what the networks are fitted to.

    Args:
        n: how many, from the first; None for all 50,000.

    Returns:
        Images (n, 1, 28, 28) float32 in [0, 1] and labels (n,) int64.

    Raises:
        DataError: ``n`` is below 1 or above the split's size, or a data file is missing or damaged.
    """
    images, labels = _file("train")
    return _first(Split.TRAIN, images[:TRAIN_SIZE], labels[:TRAIN_SIZE], n)


def val(n: int | None = None) -> Images:
    """The first ``n`` of the last 10,000 images of MNIST's training file: nothing is chosen or tuned on them.

    Arguments, result and errors as in :func:`train`.
    """
    images, labels = _file("train")
    return _first(Split.VAL, images[TRAIN_SIZE:], labels[TRAIN_SIZE:], n)


def test(n: int | None = None) -> Images:  # noqa: PT028 - a split, not a test
    """The first ``n`` of MNIST's official 10,000 test images: what the suites attack.

    Arguments, result and errors as in :func:`train`.
    """
    images, labels = _file("t10k")
    return _first(Split.TEST, images, labels, n)


def load(split: Split | str, n: int | None = None) -> Images:
    """The first ``n`` images of a split by its name; see :func:`train`, :func:`test` and :func:`val`."""
    readers: dict[Split, Callable[[int | None], Images]] = {Split.TRAIN: train, Split.TEST: test, Split.VAL: val}
    return readers[Split(split)](n)


def _first(split: Split, images: Tensor, labels: Tensor, n: int | None) -> Images:
    if n is None:
        n = len(images)
    if not 1 <= n <= len(images):
        raise DataError(f"{n} images of split {split.value!r} asked for; it has 1 to {len(images):,}")
    return images[:n].unsqueeze(1).to(torch.float32) / 255, labels[:n].clone()


@cache
def _file(prefix: str) -> Images:
    """One of MNIST's two files as uint8 (n, 28, 28) and int64 (n,)."""
    with tempfile.TemporaryDirectory(prefix="mnist-") as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name, sha256 in SHA256.items():
            (raw / name).write_bytes(_content(name, sha256))
        dataset = MNIST(root, train=prefix == "train")
        return dataset.data, dataset.targets


def _content(name: str, sha256: str) -> bytes:
    path = FOLDER / f"{name}.gz"
    advice = "install the package again, or restore the file from the project's repository"
    try:
        content = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"MNIST file {path} is missing; {advice}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"MNIST file {path} cannot be read ({error}); {advice}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"MNIST file {path} is not the original: SHA-256 {found}, expected {sha256}; {advice}")
    return content
