"""A real Dask scheduler with real worker processes, one of them killed in the middle: the same records to the bit."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import fake_run
import fakes
import pandas as pd
import pytest
from fakes import comparable, execute

from bench import run, store
from bench.engine import runner
from bench.engine.executors import InlineExecutor
from bench.engine.plan import Plan
from bench.errors import MachineError

cluster = pytest.importorskip("bench.engine.cluster", reason="Dask is an extra")

pytestmark = [
    pytest.mark.slow,
    # Dask's processes are ended from outside; what they had open at that moment is theirs.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def dask(*arguments: str) -> subprocess.Popen[str]:
    module = {"scheduler": "distributed.cli.dask_scheduler", "worker": "distributed.cli.dask_worker"}[arguments[0]]
    command = [sys.executable, "-m", module, *arguments[1:]]
    return subprocess.Popen(
        command, env=fake_run.environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler of its own process on this machine."""
    with started_scheduler() as (_, address):
        yield address


@contextmanager
def started_scheduler() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    assert process.stderr is not None
    address = None
    for line in process.stderr:
        match = re.search(r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)", line)
        if match:
            address = match[1]
            break
    assert address is not None
    try:
        yield process, address
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def workers(scheduler: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Two single-threaded workers without a nanny: a killed one stays dead."""
    processes = [dask("worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def plan() -> Plan:
    return fakes.plan(fakes.row("slow_noise", block=2), fakes.row("raises_for_three", block=10), samples=40)


def test_records_are_the_same_with_a_worker_killed_in_the_middle(
    scheduler: str, workers: list[subprocess.Popen[str]], plan: Plan, tmp_path: Path
) -> None:
    executor = cluster.connect(scheduler, 1)
    client = executor._client
    client.wait_for_workers(2, timeout=60)
    parts = tmp_path / "cluster" / "records"

    def kill_later() -> None:
        while len(list(parts.glob("*.parquet"))) < 4:
            time.sleep(0.01)
        workers[0].send_signal(signal.SIGKILL)

    thread = Thread(target=kill_later)
    thread.start()
    with executor:
        over_there = comparable(execute(plan, tmp_path / "cluster", executor))
    thread.join()
    assert workers[0].wait(10) == -signal.SIGKILL
    here = comparable(execute(plan, tmp_path / "here", InlineExecutor()))
    pd.testing.assert_frame_equal(over_there, here, check_exact=True)


def test_workers_with_several_threads_are_refused(
    scheduler: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    crowded = dask("worker", scheduler, "--nthreads", "2", "--no-nanny", "--no-dashboard")
    try:
        assert crowded.stderr is not None
        while "Registered to" not in (line := crowded.stderr.readline()):
            assert line
        arguments = ["--suite", "smoke", "--networks", "MLP", "--samples", "2", "--executor", "dask"]
        assert run.main([*arguments, "--scheduler", scheduler, "--out", str(tmp_path)]) == 2
        assert re.search(r"has 2 threads.*--nthreads 1", capsys.readouterr().err)
    finally:
        crowded.kill()
        crowded.communicate()


def test_a_scheduler_that_does_not_answer_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--suite", "smoke", "--networks", "MLP", "--samples", "2", "--out", str(tmp_path)]
    assert run.main([*arguments, "--executor", "dask", "--scheduler", "nonsense"]) == 2
    assert "--scheduler nonsense does not answer" in capsys.readouterr().err
    assert run.main([*arguments, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "is for --executor dask" in capsys.readouterr().err


def one_worker(address: str) -> subprocess.Popen[str]:
    return dask("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")


def watched(plan: Plan, address: str, folder: Path, said: list[str]) -> None:
    with cluster.connect(address, 1, said.append) as executor:
        execute(plan, folder, executor)


def test_a_scheduler_that_dies_stops_the_run_and_leaves_nothing_wrong(plan: Plan, tmp_path: Path) -> None:
    with started_scheduler() as (process, address):
        worker = one_worker(address)
        parts = tmp_path / "cluster" / "records"

        def kill_later() -> None:
            while len(list(parts.glob("*.parquet"))) < 4:
                time.sleep(0.01)
            process.kill()

        thread = Thread(target=kill_later)
        thread.start()
        with pytest.raises(MachineError, match=rf"the Dask scheduler at {address} was lost; .*--resume"):
            watched(plan, address, tmp_path / "cluster", [])
        thread.join()
        worker.kill()
        worker.communicate()
    # As text: which categories there are depends on the blocks that were stored.
    stored = comparable(store.read(tmp_path / "cluster")).astype(str)
    here = comparable(execute(plan, tmp_path / "here", InlineExecutor())).astype(str)
    assert 0 < len(stored) < len(here)
    keys = ["network", "attack", "image"]
    kept = here.merge(stored[keys], on=keys)
    pd.testing.assert_frame_equal(
        stored.sort_values(keys, ignore_index=True), kept.sort_values(keys, ignore_index=True), check_exact=True
    )


def test_without_workers_it_says_so_and_stops_in_time(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "WAIT", 6.0)
    monkeypatch.setattr(runner, "PATIENCE", 0.5)
    said: list[str] = []
    with started_scheduler() as (_, address):
        with pytest.raises(MachineError, match=rf"no workers at {address} for 6 seconds; start 'dask worker"):
            watched(plan, address, tmp_path / "none", said)
        assert said == [f"waiting for workers at {address}, at most 6 seconds"]
        worker = one_worker(address)

        def kill_later() -> None:
            while len(list((tmp_path / "killed" / "records").glob("*.parquet"))) < 2:
                time.sleep(0.01)
            worker.kill()

        thread = Thread(target=kill_later)
        thread.start()
        monkeypatch.setattr(cluster, "WAIT", 20.0)
        with pytest.raises(MachineError, match=rf"no workers at {address}"):
            watched(plan, address, tmp_path / "killed", said)
        thread.join()
        worker.communicate()
    assert said[-1] == f"waiting for workers at {address}, at most 20 seconds"
    stored = store.read(tmp_path / "killed").records()
    assert stored.query("status == 'error'")["message"].str.contains("I do not like threes").all()
