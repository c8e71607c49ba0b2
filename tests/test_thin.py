"""Thinned runs: they read and render as the run that they were made of, and are neither verified nor resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from damage import resign

from bench import report, run, store
from bench.errors import StoreError
from bench.guide import reference


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    return store.read(
        synthetic.write(synthetic.run(networks=("MLP", "CNN"), samples=16), tmp_path_factory.mktemp("whole") / "run")
    )


@pytest.fixture
def thinned(whole: store.Run, tmp_path: Path) -> Path:
    return reference.thinned(whole, tmp_path / "reference" / "run")


def test_every_record_is_kept(whole: store.Run, thinned: Path) -> None:
    pd.testing.assert_frame_equal(store.read(thinned).records(), whole.records())


def test_only_some_examples_are_kept_and_those_to_the_bit(whole: store.Run, thinned: Path) -> None:
    kept = store.read(thinned)
    numbers = []
    for network in whole.manifest["networks"]:
        for row in whole.manifest["rows"]:
            some = kept.candidates(network["name"], row["name"])
            every = whole.candidates(network["name"], row["name"])
            assert all((some[image] == every[image]).all() for image in some)
            numbers.append((len(some), len(every)))
    assert 0 < sum(some for some, _ in numbers) < sum(every for _, every in numbers) / 2


def test_clean_images_of_all_kept_examples_are_there(whole: store.Run, thinned: Path) -> None:
    kept = store.read(thinned)
    indices, values = kept.images()
    every = dict(zip(whole.images()[0].tolist(), whole.images()[1], strict=True))
    assert all((value == every[index]).all() for index, value in zip(indices.tolist(), values, strict=True))
    shown = {image for row in kept.manifest["rows"] for image in kept.candidates("CNN", row["name"])}
    assert shown <= set(indices.tolist())


def test_it_is_four_files(thinned: Path) -> None:
    names = sorted(path.name for path in thinned.iterdir())
    assert names == ["examples.parquet", "images.parquet", "manifest.json", "records.parquet"]


def test_its_report_has_the_gallery_of_the_whole_run(whole: store.Run, thinned: Path) -> None:
    pages = [report.render(path).read_text() for path in (thinned, whole.path)]
    galleries = [page.count("Its adversarial example, taken for class") for page in pages]
    assert galleries[0] == galleries[1] > 0
    assert "examples.parquet" in (thinned / "README.txt").read_text()
    assert "--verify" not in (thinned / "README.txt").read_text()


def test_it_takes_the_place_of_a_thinned_run_only(whole: store.Run, thinned: Path) -> None:
    before = (thinned / "records.parquet").read_bytes()
    assert reference.thinned(whole, thinned) == thinned
    assert (thinned / "records.parquet").read_bytes() == before
    with pytest.raises(StoreError, match="is a whole run"):
        reference.thinned(whole, whole.path)
    with pytest.raises(StoreError, match="cannot be thinned"):
        reference.thinned(store.read(thinned), thinned.with_name("again"))


def test_an_unfinished_run_is_not_thinned(tmp_path: Path) -> None:
    path = synthetic.write(synthetic.run(networks=("MLP",), samples=4), tmp_path / "run")
    resign(path, lambda content: content.update(status="interrupted"))
    with pytest.raises(StoreError, match="not finished; go on with"):
        reference.thinned(store.read(path), tmp_path / "thin")


@pytest.mark.parametrize("name", ["records.parquet", "examples.parquet"])
def test_damage_is_seen(thinned: Path, name: str) -> None:
    content = bytearray((thinned / name).read_bytes())
    content[len(content) // 2] ^= 1
    (thinned / name).write_bytes(content)
    kept = store.read(thinned)
    with pytest.raises(StoreError, match="is damaged: its SHA-256"):
        kept.records() if name.startswith("records") else kept.candidates("CNN", "foolbox-reference-l2")


def test_resuming_it_is_refused_in_a_sentence(thinned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--resume", str(thinned)]) == 2
    assert "is thinned" in capsys.readouterr().err


def test_verifying_it_is_refused_in_a_sentence(thinned: Path) -> None:
    from bench.engine.verify import verify  # noqa: PLC0415 - only this test needs torch

    with pytest.raises(StoreError, match="cannot be verified"):
        verify(store.read(thinned))


def test_examples_of_one_image_are_those_of_the_nearest_attacks(whole: store.Run, thinned: Path) -> None:
    kept = store.read(thinned)
    records = kept.records()
    image = int(records["image"].min())
    of = records[(records["network"] == "MLP") & (records["image"] == image) & (records["status"] == "found")]
    nearest = of.sort_values("l2").iloc[0]
    clean = dict(zip(kept.images()[0].tolist(), kept.images()[1], strict=True))[image]
    changed = kept.candidates("MLP", str(nearest["attack"]))[image]
    length = np.linalg.norm((changed.astype(float) - clean).ravel())
    assert length == pytest.approx(nearest["l2"], rel=1e-9)
