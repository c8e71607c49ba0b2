"""MNIST as shipped: the right numbers of the right images, and clear words when a file is not the original."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import data
from bench.errors import DataError


@pytest.mark.parametrize("split", data.Split)
def test_a_split_is_whole(split: data.Split) -> None:
    images, labels = data.load(split)
    size = {"train": 50_000, "test": 10_000, "val": 10_000}[split]
    assert images.shape == (size, 1, 28, 28)
    assert images.dtype is torch.float32
    assert (float(images.min()), float(images.max())) == (0, 1)
    assert labels.shape == (size,)
    assert labels.dtype is torch.int64
    assert set(labels.tolist()) == set(range(10))


def test_the_first_labels_are_those_everyone_knows() -> None:
    assert data.train(10)[1].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test(10)[1].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_train_and_val_are_the_training_file_cut_in_two() -> None:
    whole, labels = data._file("train")
    images = torch.cat([data.train()[0], data.val()[0]])
    assert torch.equal((images * 255).round().to(torch.uint8).squeeze(1), whole)
    assert torch.equal(torch.cat([data.train()[1], data.val()[1]]), labels)


@pytest.mark.parametrize("n", [0, -1, 10_001])
def test_an_impossible_number_says_what_is_possible(n: int) -> None:
    with pytest.raises(DataError, match=rf"{n} images of split 'test' asked for; it has 1 to 10,000"):
        data.test(n)


def test_what_a_caller_does_to_the_images_stays_with_the_caller() -> None:
    images, labels = data.test(3)
    images.zero_()
    labels.zero_()
    assert data.test(3)[0].max() == 1
    assert data.test(3)[1].tolist() == [7, 2, 1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    copy = shutil.copytree(data.FOLDER, tmp_path / "mnist")
    monkeypatch.setattr(data, "FOLDER", copy)
    data._file.cache_clear()
    yield copy
    data._file.cache_clear()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "cannot be read"),
        (lambda path: path.write_bytes(b"no gzip"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:200] + bytes(9) + path.read_bytes()[209:]), "cannot be read"),
        (lambda path: path.write_bytes(gzip.compress(b"another file")), "is not the original: SHA-256"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(folder: Path, damage: object, complaint: str) -> None:
    assert callable(damage)
    damage(folder / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=rf"t10k-labels-idx1-ubyte.gz {complaint}.*install the package again"):
        data.test(1)
