"""Datasets: MNIST as shipped, what users bring, and clear words where a file or an array is not what it must be."""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, TensorDataset

from bench import data
from bench.data import dataset
from bench.data.sets import mnist
from bench.data.starts import Pool
from bench.domain import Domain
from bench.errors import BenchError, DataError

MNIST = data.find("mnist")


@pytest.mark.parametrize("split", ["train", "test", "val"])
def test_a_split_is_whole(split: str) -> None:
    images, labels = MNIST.load(split)
    size = {"train": 50_000, "test": 10_000, "val": 10_000}[split]
    assert images.shape == (size, 1, 28, 28)
    assert MNIST.splits[split].size == size
    assert images.dtype == np.float32
    assert (float(images.min()), float(images.max())) == (0, 1)
    assert labels.shape == (size,)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == set(range(10))


def test_the_first_labels_are_those_everyone_knows() -> None:
    assert MNIST.load("train", range(10))[1].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert MNIST.load("test", range(10))[1].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_train_and_val_are_the_training_file_cut_in_two() -> None:
    whole, labels = mnist._file(True)
    images = np.concatenate([MNIST.load("train")[0], MNIST.load("val")[0]])
    assert np.array_equal((images * 255).round().astype(np.uint8)[:, 0], whole)
    assert np.array_equal(np.concatenate([MNIST.load("train")[1], MNIST.load("val")[1]]), labels)


def test_chosen_images_are_those_of_the_whole_split() -> None:
    images, labels = MNIST.load("val")
    chosen = [3, 9_999, 0, 17]
    some, of_some = MNIST.load("val", chosen)
    assert np.array_equal(some, images[chosen])
    assert np.array_equal(of_some, labels[chosen])
    tensors, _ = data.tensors("mnist", "val", 2)
    assert np.array_equal(tensors.numpy(), images[:2])


def test_an_image_that_is_not_there_says_what_is() -> None:
    with pytest.raises(DataError, match="image 10000 of split 'test' of MNIST was asked for; it has images 0 to 9,999"):
        MNIST.load("test", [0, 10_000])
    with pytest.raises(BenchError, match="unknown split of MNIST 'dev'; known: train, test, val"):
        MNIST.load("dev")


def test_what_a_caller_does_to_the_images_stays_with_the_caller() -> None:
    images, labels = MNIST.load("test", range(3))
    images[:] = 0
    labels[:] = 0
    assert MNIST.load("test", range(3))[0].max() == 1
    assert MNIST.load("test", range(3))[1].tolist() == [7, 2, 1]


def test_listing_datasets_imports_no_torch() -> None:
    code = "import sys; from bench import data; data.DATASETS.names(); data.find('mnist'); sys.exit('torch' in sys.modules)"
    import subprocess  # noqa: PLC0415 - only here

    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    copy = shutil.copytree(mnist.FOLDER, tmp_path / "mnist")
    monkeypatch.setattr(mnist, "FOLDER", copy)
    mnist._file.cache_clear()
    yield copy
    mnist._file.cache_clear()


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
        MNIST.load("test", [0])


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 4, 4)).astype(np.uint8)
LABELS = np.arange(12) % 3


class Pairs(Dataset[Any]):
    """A torch dataset of (image, label) that counts from 0 and ends with an IndexError."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= len(LABELS):
            raise IndexError(index)
        return torch.from_numpy(IMAGES[index]), int(LABELS[index])


TENSORS = TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))


@pytest.mark.parametrize(
    "given_images",
    [
        pytest.param((IMAGES, LABELS), id="pair of arrays"),
        pytest.param((torch.from_numpy(IMAGES), torch.from_numpy(LABELS)), id="pair of tensors"),
        pytest.param(Pairs(), id="dataset"),
        pytest.param(TENSORS, id="tensor dataset"),
        pytest.param(DataLoader(TENSORS, batch_size=5), id="loader"),
    ],
)
def test_whatever_holds_images_and_labels_is_taken(given_images: Any) -> None:
    dataset = data.from_arrays(given_images)
    images, labels = dataset.load("all")
    assert np.array_equal(images, IMAGES.astype(np.float32))
    assert np.array_equal(labels, LABELS)
    assert (dataset.domain.low, dataset.domain.high) == (0.0, 255.0)
    assert dataset.domain.shape == (3, 4, 4)
    assert dataset.domain.channel_axis == 0
    assert dataset.domain.classes == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"images": IMAGES.astype(float), "labels": LABELS}, r"values from 0 to 255; give box=\(low, high\)"),
        ({"images": IMAGES.astype(float), "labels": LABELS, "box": (0, 1)}, "outside the box 0 to 1"),
        (
            {"images": IMAGES, "labels": LABELS[:3]},
            r"labels are int64 of shape \(3,\); give one integer for each of 12",
        ),
        ({"images": IMAGES, "labels": LABELS / 2}, "labels are float64"),
        ({"images": IMAGES, "labels": LABELS - 1}, "label -1 is not possible"),
        (
            {"images": IMAGES, "labels": LABELS, "classes": 2},
            "labels from 0 to 2 are not possible; there are 2 classes",
        ),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "there are no images"),
        ({"images": np.array(["a"]), "labels": [0]}, "images have shape"),
        ({"images": IMAGES * np.nan, "labels": LABELS, "box": (0, 1)}, "NaN or infinite"),
        ({"images": IMAGES, "labels": LABELS, "box": 3}, "box 3 is not possible"),
        ({"images": IMAGES, "labels": LABELS, "box": (255, 0)}, "is empty"),
        ({"images": IMAGES}, "without labels"),
        ({"images": 5}, "images are a int, without labels"),
    ],
)
def test_images_that_are_none_are_refused_in_a_line(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as raised:
        data.from_arrays(**arguments).load("all")
    assert "\n" not in str(raised.value)


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        raise RuntimeError("no disk\nhere")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"images": Broken()}, "the Broken of images cannot be read: RuntimeError: no disk here"),
        ({"images": DataLoader(Broken())}, "the DataLoader of images cannot be read: RuntimeError"),
        ({"images": torch.empty(12, 3, device="meta"), "labels": LABELS}, "cannot be made arrays of numbers"),
        ({"images": [[1, 2], [1]], "labels": [0, 1]}, "cannot be made arrays of numbers: ValueError"),
        ({"images": np.zeros((12, 0)), "labels": LABELS}, r"images have shape \(12, 0\); give"),
        ({"images": IMAGES, "labels": np.full(12, 2**63, np.uint64)}, "label 9223372036854775808 is not possible"),
        ({"images": IMAGES, "labels": LABELS, "classes": 3.5}, "the number of classes is 3.5; give a whole number"),
        ({"images": IMAGES, "labels": LABELS, "classes": "many"}, "the number of classes is 'many'"),
        ({"images": IMAGES, "labels": LABELS, "channel_axis": "first"}, "the channel axis is 'first'"),
        ({"images": IMAGES, "labels": LABELS, "class_names": "abc"}, "class_names is the text 'abc'; give a sequence"),
        ({"images": IMAGES, "labels": LABELS, "box": (np.zeros((9, 9)), 1)}, r"is not possible \(ValueError.*\); give"),
    ],
)
def test_what_stands_for_no_images_is_a_line(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as raised:
        data.from_arrays(**arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "images",
    [
        torch.eye(3).to_sparse(),
        torch.eye(3, requires_grad=True),
        torch.eye(3).half(),
        torch.eye(3).bfloat16(),
        torch.eye(3).to(torch.float8_e4m3fn),
    ],
    ids=lambda images: f"{images.layout} {images.dtype}",
)
def test_tensors_of_any_kind_are_numbers(images: torch.Tensor) -> None:
    dataset = data.from_arrays(images, [0, 1, 2], box=(torch.zeros(3, requires_grad=True), 1))
    assert np.array_equal(dataset.load("all")[0], np.eye(3, dtype=np.float32))


def test_features_have_boxes_of_their_own() -> None:
    rows = np.array([[0.0, -5.0, 7.0], [1.0, 5.0, 7.0]])
    dataset = data.from_arrays(rows, [0, 1], box=(rows.min(0), rows.max(0)), feature_names=["a", "b", "c"])
    assert dataset.domain.low == (0.0, -5.0, 7.0)
    assert dataset.domain.per_feature
    assert dataset.domain.channel_axis is None
    assert np.array_equal(dataset.load("all")[0], rows.astype(np.float32))


def test_a_users_file_brings_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\ndef numbers():\n    return np.zeros((4, 5)), np.array([0, 1, 2, 1])\nbad = 3\n"
    )
    dataset = data.find(f"{path}:numbers")
    assert (dataset.name, dataset.domain.shape, dataset.domain.classes) == ("numbers", (5,), 3)
    with pytest.raises(DataError, match="images are a int, without labels"):
        data.find(f"{path}:bad")
    with pytest.raises(BenchError, match="unknown dataset 'cifar'; known: breast_cancer, digits, mnist, "):
        data.find("cifar")


def starts(
    pool: tuple[Any, Any], images: NDArray[np.float32], labels: NDArray[np.int64], domain: Domain, k: int
) -> NDArray[np.float32]:
    made = Pool(pool, domain)
    return made.starts(images, made.nearest(images, labels, k))


@given(seed=st.integers(0, 50), k=st.integers(1, 6))
def test_starts_are_the_nearest_of_other_classes(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    domain = Domain(shape=(4,), classes=3, low=(0.0, 0.0, -1.0, 0.0), high=(1.0, 100.0, 1.0, 1.0))
    low, high = domain.ends
    pool = (low + (high - low) * random.random((20, 4))).astype(np.float32)
    classes = random.integers(0, 3, 20)
    found = starts((pool, classes), pool[:5], classes[:5], domain, k)
    for image, label, of_one in zip(pool[:5], classes[:5], found, strict=True):
        others = pool[classes != label]
        distances = np.linalg.norm((others - image) / domain.width, axis=1)
        expected = np.sort(distances)[: len(of_one)]
        assert np.linalg.norm((of_one - image) / domain.width, axis=1) == pytest.approx(expected, abs=1e-3)
        assert len(of_one) == k


def test_where_the_pool_has_few_of_other_classes_the_image_itself_fills_the_rest() -> None:
    domain = Domain(shape=(2,), classes=3, low=0.0, high=1.0)
    pool = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0], [1.0, 1.0]], dtype=np.float32)
    classes = np.array([0, 0, 0, 1])
    together = starts((pool, classes), pool, classes, domain, 16)
    assert together.shape == (4, 4, 2)
    assert (together[0] == pool[[3, 0, 0, 0]]).all()
    assert (together[3] == pool[[2, 1, 0, 3]]).all()
    # What an image gets does not depend on its neighbours.
    for i in range(4):
        alone = starts((pool, classes), pool[[i]], classes[[i]], domain, 16)
        assert (alone[0] == together[i]).all()


def sorted_by_class(shape: tuple[int, ...], each: int) -> data.Dataset:
    """A dataset of three classes, all images of one class before those of the next."""
    images = np.arange(3 * each, dtype=np.float32).reshape(-1, *[1] * len(shape)) / (3 * each) + np.zeros(shape)
    return data.from_arrays(images.astype(np.float32), np.repeat(np.arange(3), each), box=(0, 1))


def test_a_pool_is_limited_in_images_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = MNIST.pool("test")
    assert len(images) == 5_000
    assert (images == MNIST.load("train", range(5_000))[0]).all()
    pictures = sorted_by_class((3, 8, 8), 10)
    assert len(pictures.pool("all")[0]) == 30
    monkeypatch.setattr(dataset, "POOL_BYTES", 6 * 4 * 3 * 8 * 8)
    images, labels = pictures.pool("all")
    assert len(images) == 6
    # The first six would all be of one class.
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    monkeypatch.setattr(dataset, "POOL_BYTES", 1)
    assert len(pictures.pool("all")[0]) == 1


def test_mnist_starts_are_those_of_the_first_release() -> None:
    images, labels = MNIST.load("test", range(3))
    pool = MNIST.pool("test")
    places = Pool(pool, MNIST.domain).nearest(images, labels, 16)
    found = places[:, :4].tolist()
    assert found == [[2579, 1811, 133, 1500], [2410, 3136, 602, 2302], [3350, 2844, 2108, 1079]]


class OneLabel(Pairs):
    """Labels as vectors of length 1, as tables often have them."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        image, label = super().__getitem__(index)
        return image[:1], torch.tensor([label])


def test_a_dataset_may_give_labels_as_vectors_of_length_1() -> None:
    for given_images in (OneLabel(), DataLoader(OneLabel(), batch_size=None)):
        images, labels = data.from_arrays(given_images).load("all")
        assert images.shape == (12, 1, 4, 4)
        assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_a_loader_is_read_once_in_the_order_that_it_gives(batch_size: int) -> None:
    torch.manual_seed(1)
    images, labels = data.from_arrays(DataLoader(TENSORS, batch_size=batch_size, shuffle=True)).load("all")
    known = {image.tobytes(): int(label) for image, label in zip(IMAGES.astype(np.float32), LABELS, strict=True)}
    assert [known[image.tobytes()] for image in images] == labels.tolist()
    assert labels.tolist() != LABELS.tolist()


BRINGS = """
import numpy as np
from torch.utils.data import Dataset

class Points(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return np.full(3, i / 4, dtype=np.float32), i % 2

def ends():
    raise SystemExit("no data today")

def raises():
    raise ValueError("two\\nlines")

wide = np.full((2, 3), 7.0), np.array([0, 1])
"""


@pytest.fixture
def brings(tmp_path: Path) -> Path:
    path = tmp_path / "brings.py"
    path.write_text(BRINGS)
    return path


def test_a_class_of_datasets_is_called(brings: Path) -> None:
    dataset = data.find(f"{brings}:Points")
    assert dataset.load("all", [3, 1])[0].tolist() == [[0.75] * 3, [0.25] * 3]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("ends", r"brings.py:ends\(\) raises SystemExit: no data today"),
        ("raises", r"brings.py:raises\(\) raises ValueError: two lines"),
        ("wide", r"dataset .*brings.py:wide: images have values from 7 to 7; give box="),
    ],
)
def test_a_users_dataset_that_fails_is_named(brings: Path, name: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as raised:
        data.find(f"{brings}:{name}")
    assert "\n" not in str(raised.value)


def own(read: Any, **options: Any) -> data.Dataset:
    """A dataset of 4 points by a function of the user's."""
    domain = Domain(shape=(2,), classes=2, low=0.0, high=1.0)
    splits = {"all": data.Split(4, read)}
    return data.Dataset(name="own", title="Own", domain=domain, splits=splits, **{"usual_split": "all", **options})


@pytest.mark.parametrize(
    ("read", "complaint"),
    [
        (lambda _: 1 / 0, "dataset Own: split 'all' cannot be read: ZeroDivisionError"),
        (lambda _: None, "dataset Own: split 'all' cannot be read: TypeError"),
        (lambda _: (np.zeros((3, 2)), np.zeros(3, int)), "split 'all' gave 3 images where 4 were asked for"),
        (lambda _: (np.zeros((4, 2)), np.zeros(3, int)), r"dataset Own: labels are int64 of shape \(3,\)"),
        (lambda _: (np.zeros((4, 3)), np.zeros(4, int)), r"dataset Own: images have shape \(3,\)"),
        (lambda _: (np.full((4, 2), "a"), np.zeros(4, int)), "dataset Own: images are of dtype"),
    ],
)
def test_a_split_that_gives_something_else_is_named(read: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        own(read).load("all")


@pytest.mark.parametrize("options", [{"usual_split": "test"}, {"start_split": "train"}])
def test_a_dataset_whose_splits_are_not_there_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(BenchError, match=r"unknown split of Own '\w+'; known: all"):
        own(lambda _: None, **options)


@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_that_is_not_there_is_named(index: int) -> None:
    with pytest.raises(DataError, match=f"image {index} of split 'all' of Own was asked for; it has images 0 to 3"):
        own(lambda _: None).load("all", [0, index])


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 8, 8), 0), ((8, 8, 3), 2), ((1, 8, 8), 0), ((8, 8), None), ((30,), None), ((5, 8, 8), None)],
)
def test_which_axis_holds_channels(shape: tuple[int, ...], axis: int | None) -> None:
    images = np.zeros((2, *shape), dtype=np.uint8)
    assert data.from_arrays(images, [0, 1]).domain.channel_axis == axis
    assert data.from_arrays(images, [0, 1], channel_axis=None).domain.channel_axis is None


def test_boxes_broadcast_to_the_shape() -> None:
    low, high = np.array([0.0, -1.0, 0.0]).reshape(3, 1, 1), 255.0
    domain = data.from_arrays(IMAGES, LABELS, box=(low, high)).domain
    assert domain.ends[0][1].tolist() == [[-1.0] * 4] * 4
    assert domain.per_feature


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.int32])
def test_tensors_of_any_real_dtype_are_taken(dtype: torch.dtype) -> None:
    images = torch.eye(4).to(dtype)
    loaded, _ = data.from_arrays(images, [0, 1, 0, 1]).load("all")
    assert np.array_equal(loaded, np.eye(4, dtype=np.float32))
