"""Every part of a run killed at random moments; gone on with, it has the records of an undisturbed one to the bit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fake_run
import pandas as pd
import pytest

from bench import store

NAMED = ("--suite", fake_run.SUITE, "--samples", "20", "--name", "r")
PARTS = ("main", "worker starting", "worker at work", "all workers", "worker at the end", "interrupted")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, fake_run.__file__, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=fake_run.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of a run's workers."""
    with contextlib.suppress(OSError):
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        found = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def blocks(folder: Path) -> int:
    return len(list((folder / "results" / "r" / "records").glob("*.parquet")))


def kill(part: str, process: subprocess.Popen[str], folder: Path, chance: random.Random) -> None:
    """Kill a part of a run, once, at a random moment."""

    def wait(condition: Callable[[], object]) -> None:
        while process.poll() is None and not condition():
            time.sleep(0.005)

    goal = chance.randint(0, 12)
    if part in ("main", "interrupted"):
        wait(lambda: blocks(folder) >= goal) if chance.random() < 0.7 else time.sleep(3 * chance.random())
        time.sleep(0.1 * chance.random())
        process.send_signal(signal.SIGKILL if part == "main" else chance.choice([signal.SIGTERM, signal.SIGHUP]))
        return
    if part == "worker starting":
        wait(lambda: workers(process))
        time.sleep(2 * chance.random())
    else:
        wait(lambda: blocks(folder) >= (goal if part != "worker at the end" else 14))
        time.sleep(0.1 * chance.random())
    for pid in workers(process)[: None if part == "all workers" else 1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))


def disturbed(folder: Path, part: str, seed: int) -> pd.DataFrame:
    """The records of a run of which a part was killed, and which went on."""
    chance = random.Random(seed)
    process = start(folder, *NAMED, "--workers", str(chance.randint(1, 2)))
    kill(part, process, folder, chance)
    _, said = process.communicate(timeout=200)
    assert "Traceback" not in said, said
    if part not in ("main", "interrupted"):
        assert process.returncode == 0, said
    elif process.returncode != 0:
        last = start(folder, *NAMED)
        _, said = last.communicate(timeout=200)
        assert last.returncode == 0, said
    return records(folder)


def records(folder: Path) -> pd.DataFrame:
    return store.read(folder / "results" / "r").records().drop(columns="seconds")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, *NAMED, "--workers", "1")
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return records(folder)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_run_of_which_a_part_is_killed_has_the_records_of_an_undisturbed_one(
    tmp_path: Path, undisturbed: pd.DataFrame, part: str
) -> None:
    pd.testing.assert_frame_equal(disturbed(tmp_path, part, len(part)), undisturbed, check_exact=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100))
def test_a_hundred_killed_runs(tmp_path: Path, undisturbed: pd.DataFrame, seed: int) -> None:
    pd.testing.assert_frame_equal(
        disturbed(tmp_path, PARTS[seed % len(PARTS)], 1000 + seed), undisturbed, check_exact=True
    )
