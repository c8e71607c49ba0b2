"""A command and its surroundings: signals at any moment, closed and full output, limits, and the memory of a worker."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_run
import psutil
import pytest

import suites
from bench import store
from bench.engine.executors import LocalExecutor
from bench.engine.worker import run
from bench.networks.spec import NetworkSpec

COMMAND = [
    sys.executable,
    "-m",
    "bench.run",
    "--suite",
    fake_run.SUITE,
    "--samples",
    "8",
    "--name",
    "r",
    "--workers",
    "1",
]


def through_bash(folder: Path, before: str, after: str) -> subprocess.CompletedProcess[str]:
    """A run that a shell has started."""
    line = " ".join(f"'{word}'" for word in COMMAND)
    return subprocess.run(
        ["bash", "-c", f"{before}; {line} {after}"],
        cwd=folder,
        env=fake_run.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def begin(folder: Path, interrupts: str) -> subprocess.Popen[str]:
    """A run that was started with interrupts as ``SIG_IGN`` or ``SIG_DFL``."""
    first = f"import os, signal, sys; signal.signal(signal.SIGINT, signal.{interrupts}); os.execv(sys.executable, sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-S", "-c", first, *COMMAND],
        cwd=folder,
        env=fake_run.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_signals_at_any_moment_end_a_run_with_one_line_and_no_traceback(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    process = begin(tmp_path, "SIG_DFL")
    time.sleep(0.3 + 8 * chance.random())
    number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    to = chance.choice([os.kill, os.killpg])
    for _ in range(chance.randint(1, 2)):
        if process.poll() is None:
            to(process.pid, number)
            time.sleep(chance.choice([0.01, 0.3]))
    out, error = process.communicate(timeout=60)
    assert not error
    if process.returncode == 0:
        return
    assert process.returncode == 130
    assert out.splitlines()[-1].startswith("interrupted")
    if (tmp_path / "results" / "r" / "manifest.json").exists():
        assert "--resume results/r" in out
        assert store.read(tmp_path / "results" / "r").manifest["status"] in ("interrupted", "finished")


@pytest.mark.slow
def test_a_run_that_was_started_to_ignore_interrupts_ends_on_termination(tmp_path: Path) -> None:
    process = begin(tmp_path, "SIG_IGN")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert "interrupted" in out


@pytest.mark.slow
@pytest.mark.parametrize("output", ["| head -1", ">&-", ">/dev/full", ">&- 2>&- <&-"])
def test_output_that_nobody_takes_does_not_end_a_run(tmp_path: Path, output: str) -> None:
    done = through_bash(tmp_path, "set -o pipefail", output)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == ("/dev/full" in output)
    assert store.read(tmp_path / "results" / "r").manifest["status"] == "finished"
    assert (tmp_path / "results" / "r" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["-n 12", "-f 8", "-v 3000000"])
def test_limits_of_the_machine_are_told_in_one_line(tmp_path: Path, limit: str) -> None:
    # Through pipes, as the limit on files would end the shell's own.
    done = through_bash(tmp_path, f"ulimit {limit}", "")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "ulimit" in done.stderr or "TMPDIR" in done.stderr


@pytest.mark.slow
def test_a_block_of_hopskipjump_leaves_a_worker_as_large_as_it_was(tmp_path: Path) -> None:
    import test_worker  # noqa: PLC0415 - tests are no package

    (row,) = suites.rows(name="art-hopskipjump-l2")
    task = test_worker.task(row, 1, NetworkSpec("CNN"))
    with LocalExecutor(1, kernels=16) as executor:
        executor.submit(run, test_worker.task(suites.rows(name="art-deepfool-l2")[0], 1, NetworkSpec("CNN"))).result()
        (worker,) = (child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline()))
        before = worker.memory_info().rss
        executor.submit(run, task).result()
        assert worker.memory_info().rss - before < 200 * 2**20
