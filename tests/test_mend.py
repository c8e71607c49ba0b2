"""Going on with a damaged run: what is damaged is reported at once, set aside and computed again; nothing is lost or changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import points
import pytest
from damage import is_one_line, mutated, resign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import run as runs
from bench import store
from bench.report import __main__ as command

EXAMPLES = int(os.environ.get("DAMAGES", "12"))
"""How many random damages are tried; ``DAMAGES`` in the environment sets another number."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's file, weights and images, and a run of them."""
    folder = tmp_path_factory.mktemp("mend")
    suite = points.copied(folder, weights=True)
    arguments = ["--suite", str(suite), "--weights", str(folder / "points.safetensors"), "--workers", "0"]
    assert runs.main([*arguments, "--out", str(folder), "--name", "run"]) == 0
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


@pytest.fixture
def run(original: Path) -> Path:
    """The run, and all beside it, as it was; its paths are absolute, so that it stays in its place."""
    restored(original)
    return original / "run"


def restored(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("kept"), folder)


def comparable(run: Path) -> pd.DataFrame:
    return store.read(run).records().drop(columns="seconds")


def resumed(run: Path) -> int:
    return runs.main(["--resume", str(run), "--trust", "--workers", "0"])


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def misnamed(path: Path) -> None:
    path.rename(path.with_name("x" + path.name))


def unnamed(path: Path) -> None:
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff\x1b[31m.parquet"))


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


DAMAGES: list[Callable[[Path], None]] = [fifo, folder, loop, device, gone, empty, misnamed, unnamed, huge]


def part(run: Path, folder: str, attack: str) -> Path:
    return min((run / folder).glob(f"*{attack}*.parquet"))


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_is_told_at_once_and_computed_again(
    run: Path, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    before = comparable(run)
    damage(part(run, "records", "scatter"))
    damage(part(run, "candidates", "ddn"))
    damage(run / "images.parquet")
    assert resumed(run) == 0
    output, errors = capfd.readouterr()
    assert "Traceback" not in output + errors
    assert "\x1b" not in output + errors
    # Before the first block is computed.
    told = output.partition(" blocks, ")[0]
    assert "computed again" in told
    assert "images.parquet is written again" in told
    pd.testing.assert_frame_equal(comparable(run), before, check_exact=True)
    assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(run)]) == 0
    # What was set aside is not read again.
    capfd.readouterr()
    assert resumed(run) == 0
    assert "warning: " not in capfd.readouterr().out


@pytest.mark.parametrize("damage", [fifo, loop, huge], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("place", ["records", "images.parquet", "manifest.json"])
def test_reading_a_run_waits_for_nothing(
    run: Path, place: str, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    damage(part(run, place, "ddn") if (run / place).is_dir() else run / place)
    assert command.main([str(run)]) == 2
    errors = capfd.readouterr().err
    assert is_one_line(errors), errors


def test_a_block_that_was_being_stored_is_no_damage(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resign(run, lambda content: content.update(status="running"))
    part(run, "records", "ddn").unlink()
    assert resumed(run) == 0
    assert "warning: " not in capsys.readouterr().out
    assert not (run / "damaged").exists()


def test_a_part_of_another_run_is_set_aside(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = comparable(run)
    path = part(run, "candidates", "ddn")
    content = path.read_bytes()
    shutil.copy(path, path.with_name(f"points.other-l2.00000.{store.digest(content)[:32]}.parquet"))
    assert resumed(run) == 0
    assert "1 stored parts cannot be used" in capsys.readouterr().out
    pd.testing.assert_frame_equal(comparable(run), before, check_exact=True)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(data=st.data())
def test_any_damage_of_a_run_is_mended_or_one_line(
    original: Path, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    restored(original)
    run = original / "run"
    before = comparable(run)
    files = sorted([*run.rglob("*.parquet"), run / "manifest.json"])
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True)):
        kind = data.draw(st.sampled_from([*DAMAGES, None]))
        if kind is None:
            path.write_bytes(mutated(path.read_bytes(), data, files))
        else:
            kind(path)
    capfd.readouterr()
    code = resumed(run)
    output, errors = capfd.readouterr()
    assert "Traceback" not in output + errors
    if code == 2:
        assert is_one_line(errors), errors
        assert str(run) in errors
        restored_manifest = original.with_name("kept") / "run" / "manifest.json"
        manifest = run / "manifest.json"
        assert not manifest.is_file() or manifest.read_bytes() != restored_manifest.read_bytes()
    else:
        assert code == 0
        pd.testing.assert_frame_equal(comparable(run), before, check_exact=True)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(data=st.data())
def test_any_damage_of_weights_data_and_code_is_one_line_or_changes_nothing(
    original: Path, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    restored(original)
    run = original / "run"
    before = comparable(run)
    files = [original / name for name in ("points.safetensors", "points.npz", "points.py")]
    path = data.draw(st.sampled_from(files))
    kind = data.draw(st.sampled_from([*DAMAGES, *[None] * 12]))
    if kind is None:
        path.write_bytes(mutated(path.read_bytes(), data, files))
    else:
        kind(path)
    capfd.readouterr()
    verify = data.draw(st.booleans())
    code = (
        command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(run)]) if verify else resumed(run)
    )
    output, errors = capfd.readouterr()
    assert "Traceback" not in output + errors
    if code == 2:
        assert is_one_line(errors), errors
    else:
        # A byte of an archive that is no image's; images made of whatever is there when there is no file.
        assert (code, verify) in {(0, True), (0, False), (1, True)}
        if code == 1:
            assert "BROKEN" in output
    pd.testing.assert_frame_equal(comparable(run), before, check_exact=True)


def test_weights_by_a_relative_path_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points.copied(tmp_path, weights=True)
    monkeypatch.chdir(tmp_path)
    arguments = ["--suite", "smoke", "--attacks", "foolbox-ddn-l2", "--data", "points.py:data", "--workers", "0"]
    network = ["--networks", "points.py:make", "--weights", "points.safetensors"]
    assert runs.main([*arguments, *network, "--out", "out", "--name", "r"]) == 0
    next((tmp_path / "out" / "r" / "records").iterdir()).unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert runs.main(["--resume", "../out/r", "--workers", "0"]) == 2
    assert f"{tmp_path / 'points.py'} for" in capsys.readouterr().err
    assert runs.main(["--resume", "../out/r", "--trust", "--workers", "0"]) == 0
    assert len(store.read(tmp_path / "out" / "r").records()) == 9
