"""MNIST, shipped with the package: three disjoint splits, no internet needed.

``train`` is the first 50,000 images of MNIST's training file, which the networks of the zoo are fitted to; ``val`` its last
10,000, on which nothing is chosen or tuned; ``test`` the official 10,000 test images, which the suites attack.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset, Images, Indices, Split
from bench.domain import Domain
from bench.errors import DataError

FOLDER = Path(__file__).parent

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the uncompressed IDX files, the canonical distribution of LeCun, Cortes and Burges."""

TRAINED = 50_000
"""How many images of the training file are the split ``train``."""


def _read(train: bool, first: int, stop: int, indices: Indices) -> Images:
    images, labels = _file(train)
    chosen = slice(first, stop) if indices is None else first + np.asarray(indices, dtype=np.int64)
    # Division in float32, as torch divides: what the networks were trained on, to the bit.
    return (images[chosen, None].astype(np.float32) / np.float32(255)), labels[chosen]


def _labels(train: bool, first: int, stop: int) -> NDArray[np.int64]:
    return _file(train)[1][first:stop]


DATASET = Dataset(
    name="mnist",
    title="MNIST",
    domain=Domain(shape=(1, 28, 28), classes=10, low=0.0, high=1.0, channel_axis=0, unit="grey level"),
    splits={
        "train": Split(TRAINED, partial(_read, True, 0, TRAINED), partial(_labels, True, 0, TRAINED)),
        "test": Split(10_000, partial(_read, False, 0, 10_000), partial(_labels, False, 0, 10_000)),
        "val": Split(10_000, partial(_read, True, TRAINED, 60_000), partial(_labels, True, TRAINED, 60_000)),
    },
    usual_split="test",
    start_split="train",
)


@cache
def _file(train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One of MNIST's two files as uint8 (n, 28, 28) and int64 (n,)."""
    from torchvision.datasets import MNIST  # noqa: PLC0415 - takes two seconds, and a command that only lists reads nothing

    with tempfile.TemporaryDirectory(prefix="mnist-") as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name, sha256 in SHA256.items():
            # torchvision wants to see all four, and reads two.
            (raw / name).write_bytes(_content(name, sha256) if name.startswith("train") == train else b"")
        dataset: Any = MNIST(root, train=train)
        return dataset.data.numpy(), dataset.targets.numpy()


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
