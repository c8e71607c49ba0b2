"""Datasets in files and folders, and the images that a run takes of them."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer

from bench import data, networks, run, store
from bench.data.options import Options
from bench.data.sets import breast_cancer, digits, mnist
from bench.engine import choice
from bench.engine.choice import Choice
from bench.errors import BenchError, DataError, UsageError
from bench.networks.trained import TRAINED
from bench.report.__main__ import main as report

CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.integers(0, 256, (12, 3, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3


def npz(folder: Path, **arrays: Any) -> str:
    path = folder / "made.npz"
    np.savez(path, **arrays)
    return str(path)


def test_arrays_of_bytes_lie_in_the_unit_box_unless_a_box_is_said(tmp_path: Path) -> None:
    path = npz(tmp_path, images=IMAGES, labels=LABELS)
    found = data.find(path)
    images, labels = found.load("all")
    assert found.domain.is_unit
    assert found.domain.channel_axis == 0
    assert np.array_equal(images, IMAGES.astype(np.float32) / np.float32(255))
    assert labels.tolist() == LABELS.tolist()
    whole = data.find(path, Options(box=(0, 255)))
    assert (whole.domain.low, whole.domain.high) == (0.0, 255.0)
    assert np.array_equal(whole.load("all")[0], IMAGES)


@pytest.mark.parametrize(
    "names",
    [("train_images", "train_labels", "test_images", "test_labels"), ("x_train", "y_train", "x_test", "y_test")],
)
def test_arrays_may_be_in_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = npz(tmp_path, **dict(zip(names, (IMAGES[:8], LABELS[:8], IMAGES[8:], LABELS[8:]), strict=True)))
    found = data.find(path)
    assert (found.usual_split, found.start_split) == ("test", "train")
    assert {name: split.size for name, split in found.splits.items()} == {"train": 8, "test": 4}
    assert found.domain.classes == 3
    assert found.load("test")[1].tolist() == LABELS[8:].tolist()


def test_safetensors_hold_arrays_too(tmp_path: Path) -> None:
    save_file({"images": IMAGES, "labels": LABELS}, tmp_path / "made.safetensors")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nhorse\nship\n")
    found = data.find(str(tmp_path / "made.safetensors"), Options(class_names=str(names)))
    assert found.domain.class_names == ("cat", "dog", "horse", "ship")
    assert found.domain.classes == 4


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_has_features_with_boxes_of_their_own(tmp_path: Path, ending: str) -> None:
    table = pd.DataFrame({"age": [20.0, 60.0, 30.0], "kind": ["b", "a", "b"], "income": [100, 900, 300]})
    path = tmp_path / f"people{ending}"
    table.to_csv(path, index=False) if ending == ".csv" else table.to_parquet(path)
    found = data.find(str(path), Options(label="kind"))
    assert found.domain.feature_names == ("age", "income")
    assert found.domain.class_names == ("a", "b")
    assert (found.domain.low, found.domain.high) == ((20.0, 100.0), (60.0, 900.0))
    inputs, labels = found.load("all")
    assert inputs.tolist() == [[20, 100], [60, 900], [30, 300]]
    assert labels.tolist() == [1, 0, 1]
    assert data.find(str(path), Options(label="kind", box=(0, 1000))).domain.low == 0.0


def pictures(folder: Path, mode: str = "RGB", sizes: tuple[tuple[int, int], ...] = ((6, 4),)) -> Path:
    for number in range(6):
        place = folder / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        size = sizes[number % len(sizes)]
        values = CHANCE.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(values).convert(mode).save(place / f"{number}.png")
    return folder


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1), ("RGBA", 3), ("P", 3), ("1", 1)])
def test_a_folder_has_pictures_by_class(tmp_path: Path, mode: str, channels: int) -> None:
    found = data.find(str(pictures(tmp_path / "pets", mode)))
    assert found.domain.shape == (channels, 4, 6)
    assert found.domain.class_names == ("cat", "dog")
    images, labels = found.load("all")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert 0 <= images.min() < images.max() <= 1


def test_a_folder_may_have_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pictures(tmp_path / split)
    found = data.find(str(tmp_path))
    assert set(found.splits) == {"train", "val"}
    assert (found.usual_split, found.start_split) == ("val", "train")


def test_pictures_of_many_sizes_are_scaled_and_cut(tmp_path: Path) -> None:
    folder = pictures(tmp_path, sizes=((9, 7), (7, 12)))
    with pytest.raises(DataError, match="scale and cut them with --resize and --crop"):
        data.find(str(folder)).load("all")
    found = data.find(str(folder), Options(resize=6, crop=5))
    assert found.load("all")[0].shape == (6, 3, 5, 5)


def test_a_dataset_of_torchvision_is_read_from_disk(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in mnist.SHA256:
        (raw / name).write_bytes(gzip.decompress((mnist.FOLDER / f"{name}.gz").read_bytes()))
    found = data.find("torchvision:MNIST", Options(data_root=str(tmp_path)))
    images, labels = found.load("test", range(20))
    expected, truth = data.find("mnist").load("test", range(20))
    assert np.array_equal(images, expected)
    assert np.array_equal(labels, truth)
    assert len(found.domain.class_names) == 10


REFUSED: list[tuple[Callable[[Path], tuple[str, dict[str, Any]]], str]] = [
    (lambda f: (str(f / "none.npz"), {}), "there is no file"),
    (lambda f: (npz(f, images=IMAGES), {}), "has images of split 'all' and no labels"),
    (lambda f: (npz(f, pixels=IMAGES), {}), "has arrays pixels; it needs images and labels"),
    (lambda f: (npz(f, images=IMAGES, x=IMAGES, labels=LABELS), {}), "more than one array of images"),
    (lambda f: (npz(f, images=IMAGES, labels=LABELS[:5]), {}), "one integer for each of 12 images"),
    (lambda f: (npz(f, images=IMAGES, labels=np.array([object()] * 12)), {}), "cannot be read as arrays"),
    (lambda f: (npz(f, images=IMAGES.astype(float), labels=LABELS), {}), "give box="),
    (lambda f: (npz(f, images=IMAGES, labels=LABELS), {"label": "x"}), "--label does not apply to arrays"),
    (lambda f: (npz(f, images=IMAGES, labels=LABELS), {"class_names": str(f / "no.txt")}), "cannot be read"),
    (lambda f: (text(f, "a.npz", "no array"), {}), "cannot be read as arrays"),
    (lambda f: (text(f, "a.csv", ""), {}), "cannot be read as a table"),
    (lambda f: (text(f, "a.csv", "a,b\n1,2\n"), {}), "say --label COLUMN. It has a, b"),
    (lambda f: (text(f, "a.csv", "a,b\n1,2\n"), {"label": "c"}), "has no column 'c'; it has a, b"),
    (lambda f: (text(f, "a.csv", "a,label\nx,0\ny,1\n"), {}), "column 'a' holds 'x', which is no number"),
    (lambda f: (text(f, "a.csv", "a,label\n,0\n2,1\n"), {}), "column 'a' lacks 1 values"),
    (lambda f: (text(f, "a.csv", "a,label\n1,\n2,1\n"), {}), "lacks 1 classes"),
    (lambda f: (text(f, "a.csv", "a,label\n"), {}), "there are no images"),
    (lambda f: (text(f, "a.parquet", "a,label\n"), {}), "cannot be read as a table"),
    (lambda f: (str(f), {}), "holds no pictures in folders by class"),
    (lambda f: (broken_picture(f), {}), "picture 0 of .* cannot be read"),
    (lambda f: ("torchvision:CIFAR10", {"data_root": str(f)}), "add --download, or --data-root FOLDER"),
    (lambda f: ("torchvision:CIFR10", {}), "did you mean CIFAR10"),
    (lambda f: ("mnist", {"resize": 3}), "--resize does not apply to dataset mnist"),
]


def text(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def broken_picture(folder: Path) -> str:
    (folder / "cat").mkdir()
    text(folder / "cat", "1.png", "no picture")
    return str(folder)


@pytest.mark.parametrize(("made", "complaint"), REFUSED)
def test_what_is_no_dataset_is_a_line(
    tmp_path: Path, made: Callable[[Path], tuple[str, dict[str, Any]]], complaint: str
) -> None:
    name, options = made(tmp_path)
    with pytest.raises(BenchError, match=complaint) as failure:
        data.find(name, Options(**options))
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("options", [{"resize": 0}, {"crop": -1}, {"box": (1.0, 0.0)}, {"box": (0.0, np.nan)}])
def test_a_number_that_is_not_possible_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not possible"):
        Options(**options)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = npz(tmp_path, images=IMAGES, labels=LABELS)
    assert data.find(path).splits["all"].size == 12
    npz(tmp_path, images=IMAGES[:6], labels=LABELS[:6])
    assert data.find(path).splits["all"].size == 6


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_the_datasets_of_scikit_learn_are_whole(name: str) -> None:
    found = data.find(name)
    parts = {split: found.load(split) for split in found.splits}
    module = {"digits": digits, "breast_cancer": breast_cancer}[name]
    assert sum(len(labels) for _, labels in parts.values()) == module.SIZE
    everything = np.concatenate([inputs.reshape(len(inputs), -1) for inputs, _ in parts.values()])
    low, high = found.domain.ends
    assert (everything.min(0) >= low.ravel()).all()
    assert (everything.max(0) <= high.ravel()).all()
    assert set(np.concatenate([labels for _, labels in parts.values()])) == set(range(found.domain.classes))


def test_the_names_of_features_are_those_of_scikit_learn() -> None:
    given = load_breast_cancer()
    assert tuple(given.feature_names) == breast_cancer.FEATURES
    assert tuple(given.target_names) == breast_cancer.CLASSES
    inputs, _ = breast_cancer._read()
    assert (inputs.min(0) == np.asarray(breast_cancer.LOW, np.float32)).all()
    assert (inputs.max(0) == np.asarray(breast_cancer.HIGH, np.float32)).all()


def made(samples: int | None = None, **chosen: Any) -> tuple[int, ...]:
    dataset = data.from_arrays(np.zeros((9, 4)), np.array([0, 0, 0, 0, 1, 1, 0, 0, 2]), box=(0, 1))
    return choice.choose(dataset, "all", Choice(samples, 5, **chosen)).indices


def test_which_images_are_chosen() -> None:
    assert made(first=True) == (0, 1, 2, 3, 4)
    assert made(2, first=True) == (0, 1)
    assert made(indices=(7, 3)) == (7, 3)
    assert made(balanced=True, first=True) == (0, 4, 8, 1, 5)
    assert made(9, balanced=True, first=True) == (0, 4, 8, 1, 5, 2, 3, 6, 7)


def labelled(labels: Sequence[int], *, known: bool = True) -> data.Dataset:
    dataset = data.from_arrays(np.zeros((len(labels), 2)), np.array(labels), box=(0, 1))
    if known:
        return dataset
    split = replace(dataset.splits["all"], labels=None)
    return replace(dataset, splits={"all": split})


sampled_labels = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels=sampled_labels, seed=st.integers(0, 2**31 - 1), data=st.data())
def test_a_sample_has_each_class_in_its_proportion_and_begins_every_larger_one(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(labels)))
    dataset = labelled(labels)
    every = choice.choose(dataset, "all", Choice(len(labels), 50, seed=seed))
    some = choice.choose(dataset, "all", Choice(n, 50, seed=seed))
    assert sorted(every.indices) == list(range(len(labels)))
    assert some.indices == every.indices[:n]
    assert some.words == "stratified"
    assert choice.choose(dataset, "all", Choice(n, 50, seed=seed)) == some
    for label in set(labels):
        expected = n * labels.count(label) / len(labels)
        assert abs(sum(labels[index] == label for index in some.indices) - expected) < 2


@given(labels=sampled_labels, seed=st.integers(0, 2**31 - 1), data=st.data())
def test_a_balanced_sample_has_as_many_of_each_class_as_there_are(
    labels: list[int], seed: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(labels)))
    some = choice.choose(labelled(labels, known=False), "all", Choice(n, 50, balanced=True, seed=seed))
    assert some.words == "random balanced"
    counts = {label: sum(labels[index] == label for index in some.indices) for label in set(labels)}
    for label, count in counts.items():
        assert count == labels.count(label) or count >= max(counts.values()) - 1


def test_without_labels_a_sample_is_a_simple_random_one() -> None:
    dataset = labelled([0, 1] * 30, known=False)
    chosen = choice.choose(dataset, "all", Choice(20, 50, seed=3))
    assert chosen.words == "random"
    assert len(set(chosen.indices)) == 20
    assert chosen.indices != choice.choose(dataset, "all", Choice(20, 50, seed=4)).indices


def test_every_image_is_as_likely_as_any_other_to_be_drawn() -> None:
    labels = [0] * 3 + [1] * 7 + [2] * 10
    dataset, times, draws = labelled(labels), np.zeros(20), 2000
    for seed in range(draws):
        times[list(choice.choose(dataset, "all", Choice(5, 50, seed=seed)).indices)] += 1
    # Each is drawn in a quarter of all samples: the standard deviation of its count is 19.
    assert (np.abs(times - draws / 4) < 5 * 19.4).all()


def test_how_images_were_chosen_is_stored_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        "--suite",
        "smoke",
        "--networks",
        "MLP",
        "--attacks",
        "foolbox-ddn-l2",
        "--workers",
        "0",
        "--samples",
        "4",
    ]
    for name, options in (("drawn", []), ("other", ["--seed", "1"]), ("first", ["--first"])):
        assert run.main([*command, *options, "--name", name]) == 0
    manifests = {name: store.read(f"results/{name}").manifest for name in ("drawn", "other", "first")}
    assert manifests["first"]["indices"] == [0, 1, 2, 3]
    assert manifests["drawn"]["indices"] != manifests["other"]["indices"]
    assert [one["data"]["chosen"] for one in manifests.values()] == ["stratified", "stratified", "first"]
    text = Path("results/drawn/report.html").read_text()
    assert "MLP on 4 images drawn at random from the test split of MNIST, each class in its proportion" in text
    assert "intervals speak of all of its images" in text
    assert "intervals speak of images like these only" in Path("results/first/report.html").read_text()
    assert report(["--verify", "results/drawn"]) == 0


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        ({"samples": 10}, "1 to 9 images"),
        ({"samples": 0}, "--samples 0"),
        ({"indices": (9,)}, "images 0 to 8"),
        ({"indices": (1, 2, 1)}, "names image 1 twice"),
        ({"indices": ()}, "names no image"),
        ({"indices": (1,), "samples": 3}, "leave out --samples"),
        ({"indices": (1,), "balanced": True}, "leave out --samples"),
        ({"indices": (1,), "first": True}, "and --first"),
    ],
)
def test_images_that_are_not_there_are_refused(chosen: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        made(**chosen)


def test_a_run_of_a_file_is_made_gone_on_with_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = data.find("mnist").load("test", range(30))
    np.savez("mine.npz", images=(images * 255).round().astype(np.uint8), labels=labels)
    command = ["--suite", "smoke", "--networks", "MLP", "--data", "mine.npz", "--attacks", "foolbox-ddn-l2"]
    command += ["--workers", "0", "--out", "results"]
    assert run.main([*command, "--indices", "3", "10:14", "--name", "listed"]) == 0
    assert run.main([*command, "--balanced", "--first", "--samples", "4", "--name", "balanced"]) == 0
    listed = store.read("results/listed")
    assert listed.records()["image"].tolist() == [3, 10, 11, 12, 13]
    assert "5 listed images of mine" in (listed.path / "report.html").read_text()
    assert set(store.read("results/balanced").records()["label"]) == {0, 1, 2, 3}
    next((listed.path / "records").glob("*")).unlink()
    monkeypatch.chdir("/")
    assert run.main(["--resume", str(tmp_path / "results" / "listed")]) == 0
    assert len(store.read(listed.path if listed.path.is_absolute() else tmp_path / listed.path).records()) == 5
    assert report(["--verify", str(tmp_path / "results" / "listed")]) == 0
    shutil.copy(tmp_path / "mine.npz", tmp_path / "kept.npz")
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=LABELS)
    capsys.readouterr()
    assert run.main(["--resume", str(tmp_path / "results" / "listed")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["MLP_digits", "MLP_cancer"])
def test_the_small_networks_have_exact_distances(tmp_path: Path, name: str) -> None:
    command = ["--suite", "exact", "--networks", name, "--data", TRAINED[name].data, "--samples", "4", "--workers", "0"]
    assert run.main([*command, "--exact", "20", "--out", str(tmp_path), "--name", "r"]) == 0
    records = store.read(tmp_path / "r").records()
    exact = records[records["kind"] == "exact"]
    for norm in ("l0", "l2", "linf"):
        rows = exact[exact["norm"] == norm]
        assert (rows["lower"] >= rows[norm] * (1 - 1e-3)).mean() >= 0.5, norm
    assert networks.pinned(name)["test_accuracy"]
