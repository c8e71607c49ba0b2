"""The store: what is written is read back to the bit, and what was damaged is never read as something else."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import resign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import store
from bench.domain import Domain
from bench.engine.request import check_name
from bench.errors import StoreError, UsageError
from bench.norms import Norm
from bench.records import Record, Status, columns, schema, to_table
from bench.specs import Kind
from bench.store import upgrade

SHAPE = (1, 3, 3)
DOMAIN = Domain(shape=SHAPE, classes=2, low=0.0, high=2.0, channel_axis=0)
ROW = {"label": "row", "library": "fake", "norm": "l2", "kind": "upper"}


def record(network: str, attack: str, image: int, status: Status = Status.FOUND) -> Record:
    distance = 1.0 + image if status is Status.FOUND else math.inf
    return Record(
        network=network,
        attack=attack,
        library="fake",
        norm=Norm.L2,
        kind=Kind.UPPER,
        block=image // 2,
        image=image,
        label=1,
        predicted=1,
        status=status,
        distances=dict.fromkeys(Norm, distance),
        pixels=distance,
    )


def picture(image: int) -> np.ndarray:
    return np.full(SHAPE, image / 10, dtype=np.float32)


def make(folder: Path) -> Path:
    """A run of two networks and two attacks over four images, in blocks of two; one example was not found."""
    with store.writing(folder) as writer:
        images = np.stack([picture(i) for i in range(4)])
        content = {
            "plan": "the plan",
            "name": "run",
            "suite": {"name": "made", "description": "by hand"},
            "split": "test",
            "samples": 4,
            "seed": 0,
            "started": "2026-01-02T03:04:05+00:00",
            "domain": DOMAIN.to_json(),
            "data": {
                "name": "made",
                "title": "Made",
                "source": "made",
                "split": "test",
                "size": 4,
                "chosen": "first",
                "sha256": "0",
            },
            "libraries": [{"name": "fake", "label": "Fake", "ours": False, "marker": "", "packages": []}],
            "image_sha256": {},
            "networks": [{"name": "B"}, {"name": "A"}],
            "rows": [ROW | {"name": "z-l2"}, ROW | {"name": "a-l2"}],
            "packages": {"minimal-norm-bench": "9.9"},
            "images_file_sha256": writer.images(range(4), images),
        }
        writer.manifest(content)
        for network in ("A", "B"):
            for attack in ("a-l2", "z-l2"):
                for number in (1, 0):
                    indices = (2 * number, 2 * number + 1)
                    records = [
                        record(network, attack, i, Status.NOT_FOUND if i == 3 else Status.FOUND) for i in indices
                    ]
                    found = {i: picture(i) + 1 for i in indices if i != 3}
                    writer.block(store.block_key(network, attack, number), "the plan", records, found)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "run")


def test_records_come_back_in_the_manifests_order(folder: Path) -> None:
    records = store.read(folder).records()
    assert list(records.columns) == columns()
    assert len(records) == 16
    keys = [(str(r.network), str(r.attack), r.image) for r in records.itertuples()]
    assert keys == [(n, a, i) for n in ("B", "A") for a in ("z-l2", "a-l2") for i in range(4)]
    assert records.loc[3, "l2"] == math.inf


def test_pictures_come_back_to_the_bit(folder: Path) -> None:
    run = store.read(folder)
    indices, images = run.images()
    assert indices.tolist() == [0, 1, 2, 3]
    assert images.dtype == np.float32
    assert (images == np.stack([picture(i) for i in range(4)])).all()
    candidates = run.candidates("A", "z-l2")
    assert sorted(candidates) == [0, 1, 2]
    assert all((candidates[i] == picture(i) + 1).all() for i in candidates)


def test_a_run_without_finished_blocks_has_no_records(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    shutil.rmtree(folder / "records")
    run = store.read(folder)
    assert run.records().empty
    assert run.candidates("A", "z-l2") == {}
    assert run.finished == frozenset()


def test_candidates_without_records_do_not_count(folder: Path) -> None:
    # What a process leaves that is killed between the two parts of a block.
    for path in (folder / "records").glob("A.z-l2.*"):
        path.unlink()
    assert store.read(folder).candidates("A", "z-l2") == {}


def test_a_name_that_begins_with_another_rows_key_is_kept_apart(folder: Path) -> None:
    with store.writing(folder) as writer:
        longer = record("A.z-l2", "a-l2", 0)
        writer.block(store.block_key("A.z-l2", "a-l2", 0), "the plan", [longer], {0: picture(9)})
    assert (store.read(folder).candidates("A", "z-l2")[0] == picture(0) + 1).all()


def test_leftovers_of_a_killed_write_are_cleared(folder: Path) -> None:
    leftover = folder / "records" / ".part-0123"
    leftover.write_bytes(b"half")
    before = store.read(folder).records()
    with store.writing(folder):
        assert not leftover.exists()
    pd.testing.assert_frame_equal(store.read(folder).records(), before)


def test_a_run_has_one_writer(folder: Path) -> None:
    with (
        store.writing(folder),
        pytest.raises(StoreError, match="is being written by another run; wait"),
        store.writing(folder),
    ):
        pass


def test_records_that_contradict_themselves_are_not_stored(folder: Path) -> None:
    bad = replace(record("A", "a-l2", 0), distances=dict.fromkeys(Norm, math.nan))
    with store.writing(folder) as writer, pytest.raises(StoreError, match="contradict themselves"):
        writer.block("A.a-l2.00009", "the plan", [bad], {})
    assert "A.a-l2.00009" not in store.read(folder).finished


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(StoreError, match=r"cannot be written: .*; choose another --out"),
        store.writing(tmp_path / "file" / "run"),
    ):
        pass


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a run: it has no manifest.json"):
        store.read(tmp_path)


@pytest.mark.parametrize("name", ["", ".hidden", "..", "a/b", "../x", "a b", "x" * 101, "a\n", "-rf", "<b>"])
def test_a_name_that_could_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "minimal_norm-20260101-120000", "v1.2", "Ünïcode"])
def test_an_ordinary_name_is_taken(name: str) -> None:
    assert check_name(name) == name


def rewrite(change: Callable[[dict[str, Any]], object], *, signed: bool) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        if signed:
            resign(folder, change)
            return
        path = folder / "manifest.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def retyped(folder: Path, before: str, after: str) -> None:
    """Put other text into the manifest, without a new digest."""
    path = folder / "manifest.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def without_pixels(folder: Path) -> None:
    """Take the column from a part that is whole otherwise, which only format 1 may lack."""
    path = next((folder / "records").glob("A.z-l2.00000.*"))
    table = pq.read_table(path).drop_columns("pixels")
    path.unlink()
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content = buffer.getvalue().to_pybytes()
    (path.parent / f"A.z-l2.00000.{store.digest(content)[:32]}.parquet").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda f: (f / "manifest.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"), "is not JSON"),
        (lambda f: (f / "manifest.json").write_text("[]"), "not a manifest of this bench"),
        (rewrite(lambda c: c.update(seed=7), signed=False), "was changed after it was written"),
        (rewrite(lambda c: c.pop("digest"), signed=False), "was changed after it was written"),
        (rewrite(lambda c: c.update(format=5), signed=True), "written by a newer version .*minimal-norm-bench 9.9"),
        (rewrite(lambda c: c.update(format=0), signed=True), "has format 0"),
        (rewrite(lambda c: c.pop("format"), signed=True), "has no format number"),
        (lambda f: retyped(f, '"seed": 0', '"seed": NaN'), "is not JSON"),
        (lambda f: retyped(f, '"seed": 0', '"seed": 1e999'), "is not JSON"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "is not JSON"),
        (rewrite(lambda c: c.update(plan="another"), signed=True), "belongs to another run"),
        (rewrite(lambda c: c.update(rows=[ROW | {"name": "a-l2"}]), signed=True), "which the manifest does not name"),
        (rewrite(lambda c: c.pop("rows"), signed=True), "not a manifest that this bench writes: .*`rows`"),
        (rewrite(lambda c: c.update(rows=[{}]), signed=True), r"missing required field `name` - at `rows\[0\]`"),
        (rewrite(lambda c: c.update(rows=[ROW | {"name": "x", "norm": "l7"}]), signed=True), "Invalid enum value 'l7'"),
        (rewrite(lambda c: c.update(samples="4"), signed=True), "Expected `int`, got `str` - at `samples`"),
        (rewrite(lambda c: c.update(seed=True), signed=True), "Expected `int`, got `bool` - at `seed`"),
        (rewrite(lambda c: c.update(suite="smoke"), signed=True), "Expected `object`, got `str` - at `suite`"),
        (rewrite(lambda c: c.update(domain=c["domain"] | {"shape": 28}), signed=True), "at `domain.shape`"),
        (rewrite(lambda c: c.update(domain=c["domain"] | {"low": 3.0}), signed=True), "is empty"),
        (rewrite(lambda c: c["domain"].update(shape=[1, 3, 4]), signed=True), r"another shape .* says, \(1, 3, 4\)"),
        (without_pixels, "has other columns"),
        (rewrite(lambda c: c.update(image_sha256={"0": 1}), signed=True), "at `image_sha256"),
        (lambda f: (f / "images.parquet").unlink(), "cannot be read"),
        (lambda f: (f / "images.parquet").write_bytes(b"PAR1"), "is damaged"),
        (lambda f: shutil.rmtree(f / "candidates"), "cannot be read"),
        (lambda f: (f / "records" / "stray.parquet").write_bytes(b""), "is not a part of a run"),
    ],
)
def test_damage_is_told_and_never_read(folder: Path, damage: Callable[[Path], object], complaint: str) -> None:
    damage(folder)
    with pytest.raises(StoreError, match=complaint):
        read_everything(folder)


def read_everything(folder: Path) -> tuple[bytes, bytes]:
    """All that a run holds, as bytes to compare."""
    run = store.read(folder)
    _, images = run.images()
    candidates = [run.candidates(n, a) for n in ("A", "B") for a in ("a-l2", "z-l2")]
    return run.records().to_csv().encode(), images.tobytes() + repr(candidates).encode()


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("healthy") / "run")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_a_mutated_file_is_an_error_or_changes_nothing(
    healthy: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    before = read_everything(healthy)
    folder = shutil.copytree(healthy, tmp_path_factory.mktemp("mutated") / "run")
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".parquet", ".json"})
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "empty", "swap"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    elif kind == "empty":
        content.clear()
    else:
        content[:] = data.draw(st.sampled_from(files)).read_bytes()
    path.write_bytes(content)
    try:
        after = read_everything(folder)
    except StoreError as error:
        assert str(folder) in str(error)  # noqa: PT017 - the other outcome is allowed as well
    else:
        # White space in the manifest, or a file swapped for itself.
        assert after == before


@pytest.mark.parametrize(
    ("stamp", "lacking"), [("1", ["pixels", "best_seen", "curve"]), ("2", ["best_seen", "curve"]), ("3", ["curve"])]
)
def test_parts_of_older_formats_have_the_columns_of_today(stamp: str, lacking: list[str]) -> None:
    table = to_table([record("A", "a-l2", 0)]).drop_columns(lacking).replace_schema_metadata({"bench.format": stamp})
    (line,) = upgrade.records(table).to_pylist()
    assert upgrade.records(table).schema.equals(schema())
    assert line["curve"] is None
    today = table.replace_schema_metadata({"bench.format": str(store.FORMAT)})
    assert upgrade.records(today) is today, "today's format lacks nothing"
