"""The command line as a user meets it: a real run, its report, bad input, interruption, and going on after a kill."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

import fake_run
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import run, store
from bench.engine.verify import verify
from bench.norms import Norm
from bench.records import Status
from bench.report.tables import figure


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A real run of the smallest suite on one network, and what it printed."""
    folder = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-m", "bench.run", "--suite", "smoke", "--networks", "MLP", "--samples", "10"]
    done = subprocess.run([*command, "--name", "s"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "results" / "s", done.stdout


def test_a_run_ends_with_the_path_of_its_report(smoke: tuple[Path, str]) -> None:
    folder, output = smoke
    assert output.splitlines()[-1] == "results/s/report.html"
    page = (folder / "report.html").read_text()
    assert "<!doctype html>" in page[:20].lower()
    assert not re.search(r'(src|href)="https?:', page)


def test_every_planned_image_has_a_record_and_the_norms_are_plausible(smoke: tuple[Path, str]) -> None:
    stored = store.read(smoke[0])
    records = stored.records()
    assert len(records) == stored.manifest["planned"] == 10 * len(stored.manifest["rows"])
    assert stored.manifest["status"] == "finished"
    best = records[records["status"] == Status.FOUND].groupby("image")[[norm.value for norm in Norm]].min()
    assert 0.2 < best["l2"].median() < 1
    assert 0.01 < best["linf"].median() < 0.06
    assert 1 <= best["l0"].median() <= 8


def test_every_stored_example_is_adversarial_again(smoke: tuple[Path, str]) -> None:
    found = verify(store.read(smoke[0]), seconds=0)
    assert found.judged == (store.read(smoke[0]).records()["status"] == Status.FOUND).sum()
    assert found.broken == ()


def test_verifying_finds_what_was_tampered_with(smoke: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.read(smoke[0])
    indices, images = stored.images()
    clean = dict(zip(indices.tolist(), images, strict=True))
    monkeypatch.setattr(store.Run, "candidates", lambda *_: {i: clean[i] for i in list(clean)[:5]})
    broken = verify(stored, seconds=0).broken
    assert any("judged not found now" in line for line in broken)
    assert any("no adversarial example is stored" in line for line in broken)


def test_the_table_on_the_screen_is_the_parquet(smoke: tuple[Path, str]) -> None:
    folder, output = smoke
    records = store.read(folder).records()
    for row in store.read(folder).manifest["rows"]:
        distances = records.loc[records["attack"] == row["name"], row["norm"]]
        (line,) = (line for line in output.splitlines() if line.startswith(f"{row['label']} "))
        assert figure(np.median(distances)) in line.split()


def test_the_same_command_gives_the_same_records(smoke: tuple[Path, str], tmp_path: Path) -> None:
    arguments = ["--suite", "smoke", "--networks", "MLP", "--samples", "10", "--workers", "1", "--out", str(tmp_path)]
    assert run.main([*arguments, "--name", "again"]) == 0
    first, second = (store.read(path).records().drop(columns="seconds") for path in (smoke[0], tmp_path / "again"))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


BAD = [
    ([], "--suite is missing; known: .*minimal_norm"),
    (["--suite", "maximal"], "unknown suite 'maximal'; known: .*minimal_norm.*smoke"),
    (["--suite", "smoke", "--networks", "LeNet"], "unknown network 'LeNet'; known: MLP, MLP_d, CNN, CNN_d"),
    (["--suite", "smoke", "--attacks", "fgsm"], "unknown attack 'fgsm'; known: "),
    (["--suite", "smoke", "--norms", "l3"], "unknown norm 'l3'; known: .*l0"),
    (["--suite", "smoke", "--libraries", "cleverhans"], "unknown library 'cleverhans'; known: art"),
    (["--suite", "smoke", "--norms", "l0", "--attacks", "*ddn*"], "no attack .* is left by --norms l0, --attacks"),
    (["--suite", "smoke", "--samples", "0"], r"--samples 0 .*'test' of MNIST has 1 to 10,000"),
    (["--suite", "smoke", "--samples", "10001"], r"--samples 10001 is not possible"),
    (["--suite", "smoke", "--seed", "-1"], "--seed -1 is not possible"),
    (["--suite", "smoke", "--workers", "-1"], "--workers -1 is not possible"),
    (["--suite", "smoke", "--time-limit", "0"], "--time-limit 0 is not possible"),
    (["--suite", "smoke", "--time-limit", "nan"], "--time-limit nan is not possible"),
    (["--suite", "smoke", "--time-limit", "inf"], "--time-limit inf is not possible"),
    (["--suite", "smoke", "--exact", "inf"], "--exact inf is not possible"),
    (["--suite", "smoke", "--device", "meta"], "--device meta cannot be used here"),
    (["--suite", "smoke", "--data", "imagenet"], "unknown dataset 'imagenet'; known: breast_cancer, digits, mnist"),
    (["--suite", "smoke", "--split", "dev"], "unknown split of MNIST 'dev'; known: train, test, val"),
    (["--suite", "mine.py"], "there is no file .*mine.py"),
    (["--suite", "smoke", "--exact", "-1"], "--exact -1 is not possible"),
    (["--suite", "smoke", "--device", "quantum"], "--device quantum cannot be used here"),
    (["--suite", "smoke", "--name", "../escape"], "'../escape' cannot name a run"),
    (["--suite", "smoke", "--weights", "w.safetensors"], "needs exactly one path/to/file.py:factory"),
    (["--suite", "smoke", "--networks", "none.py:make"], "there is no file .*none.py"),
    (["--suite", "smoke", "--networks", "MLP", "--out", "/proc/nowhere"], "cannot be written"),
    (["--resume", "nowhere"], "nowhere is not a run"),
    (["--resume", "nowhere", "--seed", "3"], "leave out --seed"),
]


@pytest.mark.parametrize(
    ("arguments", "complaint"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    arguments: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(arguments) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(rf"error: .*{complaint}.*\n", captured.err)
    # Networks are looked at before anything is written: until then it says what it is doing.
    assert re.fullmatch(r"((loading|checking|measuring) ?.*\n)*", captured.out)


words = st.sampled_from(
    ["--suite", "smoke", "minimal_norm", "--networks", "MLP", "x.py:f", "--norms", "l2", "--attacks", "*", "--samples"]
) | st.sampled_from(
    ["5", "-5", "1e9", "--split", "val", "--seed", "--name", "a/b", "--resume", "--full", "--exact", "\0"]
)


@given(st.lists(words | st.text(max_size=5), max_size=6))
def test_any_words_at_all_end_in_words(arguments: list[str]) -> None:
    try:
        code = run.main(["--dry-run", *arguments])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 2
    assert code in (0, 2)


def test_list_and_dry_run_show_and_write_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert run.main(["--suite", "minimal_norm", "--dry-run"]) == 0
    planned = capsys.readouterr().out
    for word in ("minimal_norm", "smoke", "CNN_d", "native", "port", "decision"):
        assert word in listed
    assert re.search(r"\d+ blocks, \d+ records, about \d+:\d\d:\d\d with \d+ workers", planned)
    assert list(tmp_path.iterdir()) == []


class Started(Protocol):
    """Starts the fake run in a folder and returns its process."""

    def __call__(self, folder: Path, *arguments: str) -> ForkServerProcess: ...


@pytest.fixture(scope="module")
def start() -> Iterator[Started]:
    """Processes forked from a server that has imported everything, so that a hundred starts cost little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["fake_run"])

        def started(folder: Path, *arguments: str) -> ForkServerProcess:
            process = context.Process(target=fake_run.exit_with, args=(list(arguments), folder))
            process.start()
            return process

        yield started


@pytest.fixture(scope="module")
def undisturbed(start: Started, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, *NAMED, "--workers", "1")
    process.join()
    assert process.exitcode == 0
    return records_of(folder)


NAMED = ("--suite", fake_run.SUITE, "--name", "r")


def records_of(folder: Path) -> pd.DataFrame:
    return store.read(folder / "results" / "r").records().drop(columns="seconds")


def blocks(folder: Path) -> int:
    return len(list((folder / "results" / "r" / "records").glob("*.parquet")))


def wait_for(condition: Callable[[], bool], process: ForkServerProcess) -> None:
    """Wait until something holds, or the process has ended."""
    while process.is_alive() and not condition():
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_at_random_points_a_run_ends_with_the_records_of_an_undisturbed_one(
    start: Started, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    generator = random.Random(20)
    for point in range(20):
        # Every other kill may hit the start of a process, the others the work on a block or its writing.
        process = start(tmp_path, *NAMED, "--workers", "0")
        goal = blocks(tmp_path) + generator.randint(0, 1) if point % 2 else 0
        wait_for(lambda goal=goal: blocks(tmp_path) >= goal, process)  # type: ignore[misc]
        time.sleep(generator.random() * (0.06 if point % 2 else 2.5))
        process.kill()
        process.join()
    process = start(tmp_path, "--resume", "results/r", "--trust", "--workers", "2")
    process.join()
    assert process.exitcode == 0
    pd.testing.assert_frame_equal(records_of(tmp_path), undisturbed, check_exact=True)


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_behind_and_goes_on(
    start: Started, undisturbed: pd.DataFrame, tmp_path: Path
) -> None:
    process = start(tmp_path, *NAMED, "--workers", "2")
    wait_for(lambda: blocks(tmp_path) >= 3, process)
    workers = children(process)
    assert len(workers) >= 2
    process.kill()
    process.join()
    assert 3 <= blocks(tmp_path) < len(undisturbed)
    deadline = time.monotonic() + 30
    while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if alive(worker)]
    process = start(tmp_path, *NAMED, "--workers", "2")
    process.join()
    assert process.exitcode == 0
    pd.testing.assert_frame_equal(records_of(tmp_path), undisturbed, check_exact=True)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(start: Started, undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    process = start(tmp_path, *NAMED, "--workers", "2")
    wait_for(lambda: blocks(tmp_path) >= 2, process)
    for worker in children(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    process.join()
    assert process.exitcode == 0
    pd.testing.assert_frame_equal(records_of(tmp_path), undisturbed, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_blocks_reports_them_and_goes_on(
    start: Started, undisturbed: pd.DataFrame, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(tmp_path, *NAMED, "--workers", "1")
    wait_for(lambda: blocks(tmp_path) >= 3, process)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == 130
    assert store.read(tmp_path / "results" / "r").manifest["status"] == "interrupted"
    assert 0 < len(records_of(tmp_path)) < len(undisturbed)
    assert "interrupted" in (tmp_path / "results" / "r" / "report.html").read_text()
    process = start(tmp_path, "--resume", "results/r", "--trust")
    process.join()
    assert process.exitcode == 0
    assert store.read(tmp_path / "results" / "r").manifest["status"] == "finished"
    pd.testing.assert_frame_equal(records_of(tmp_path), undisturbed, check_exact=True)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few blocks."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_is_told_and_what_is_stored_stays_readable(
    tiny_disk: Path, tmp_path: Path, undisturbed: pd.DataFrame
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, fake_run.__file__, *NAMED, "--workers", "0"]
    done = subprocess.run(
        [*command, "--out", str(tiny_disk)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert re.fullmatch(r"error: .* cannot be written: No space left on device; .*--resume\n", done.stderr)
    stored = store.read(tiny_disk / "r").records()
    assert 0 < len(stored) < len(undisturbed)
    room = tmp_path / "results"
    shutil.copytree(tiny_disk, room)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(records_of(tmp_path), undisturbed, check_exact=True)


def test_a_run_whose_plan_changed_refuses_to_mix(smoke: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--suite", "smoke", "--networks", "MLP", "--out", str(smoke[0].parent), "--name", "s"]
    before = store.read(smoke[0]).manifest
    for change, complaint in (
        (["--samples", "10", "--seed", "1"], "seed was 0, is 1"),
        (["--samples", "9"], "samples was 10, is 9"),
        (["--samples", "10", "--norms", "l2"], "attack paper-deepfool-linf was sha256 [0-9a-f]+, is absent"),
    ):
        assert run.main([*arguments, *change]) == 2
        assert re.search(f"run s cannot go on.*{complaint}.*--name", capsys.readouterr().err)
    assert store.read(smoke[0]).manifest == before


def children(process: ForkServerProcess) -> list[int]:
    """The process ids of a process's children, on Linux."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs, on Linux; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
