"""What the harness itself costs, and what a second worker gains: ratios within one run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import fakes
import pytest
import synthetic
import torch
from fakes import comparable, execute
from pytest_benchmark.fixture import BenchmarkFixture

import suites
from adapters.layout import laid_out
from bench import data, libraries, networks, report, store
from bench.engine.executors import InlineExecutor, LocalExecutor
from bench.engine.images import Images
from bench.engine.plan import Plan, choose
from bench.engine.task import Expected
from bench.judge import Judge
from bench.networks.spec import NetworkSpec
from bench.problem import problem
from bench.specs import AttackSpec

pytestmark = pytest.mark.benchmark(group="harness")


def plan(attack: str, network: str, samples: int) -> Plan:
    suite = suites.load("minimal_norm")
    return Plan(
        suite=suite,
        rows=choose(suite, attacks=[attack]),
        holes=(),
        networks=(NetworkSpec(network),),
        indices=tuple(range(samples)),
        seed=0,
        time_limit=600.0,
    )


@pytest.mark.parametrize("attack", ["foolbox-ddn-l2", "art-hopskipjump-l2", "foolbox-cw-l2"])
def test_the_harness_share_of_a_run(benchmark: BenchmarkFixture, tmp_path: Path, attack: str) -> None:
    """Judge, store and scheduling against the bare attack calls, in one process."""
    made = plan(attack, "MLP", 20)
    mnist = data.find("mnist")
    network = laid_out(networks.load("MLP"))
    images = Images(mnist, "test", made)
    decisions = Judge(network, mnist.domain).decide(images.inputs, images.labels)
    chosen = {i for i, decision in enumerate(decisions) if not decision.wrong}
    (row,) = made.rows
    assert isinstance(row, AttackSpec)
    library = libraries.load(row.library)
    attacker = libraries.part(library, library.attacker)

    def bare() -> float:
        start = time.perf_counter()
        for block in made.blocks():
            task = images.task(block, "cpu", Expected(networks.source("MLP").identity(mnist.domain)))
            rows = [place for place, image in enumerate(block.images) if image in chosen]
            inputs, labels, starts = (torch.from_numpy(v[rows]) for v in (task.inputs, task.labels, task.starts))
            attacker.attack(row, problem(network, inputs, labels, mnist.domain, starts=starts, seed=block.seed))
        return time.perf_counter() - start

    bare()
    execute(made, tmp_path / "warm", InlineExecutor())
    run = benchmark.pedantic(execute, args=(made, tmp_path / "run", InlineExecutor()))
    inside = float(run.records()["seconds"].sum())
    alone = bare()
    benchmark.extra_info.update(attack=attack, bare_seconds=alone, seconds_inside_the_run=inside)
    assert benchmark.stats is not None
    benchmark.extra_info["harness_share"] = 1 - inside / benchmark.stats.stats.mean


def test_two_workers_against_one(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The same blocks on one and on two processes, started and warm."""
    made = plan("foolbox-cw-l2", "CNN", 100)
    seconds = {}
    records = {}
    for workers in (1, 2):
        with LocalExecutor(workers) as executor:
            execute(fakes.plan(fakes.row("clean", block=1), samples=4), tmp_path / f"warm{workers}", executor)
            start = time.perf_counter()
            if workers == 2:
                run = benchmark.pedantic(execute, args=(made, tmp_path / "2", executor))
            else:
                run = execute(made, tmp_path / "1", executor)
            seconds[workers] = time.perf_counter() - start
            records[workers] = comparable(run)
    assert records[1].equals(records[2])
    benchmark.extra_info["two_over_one"] = seconds[2] / seconds[1]


def peak_memory(samples: int, folder: Path) -> int:
    """Bytes that a worker process held at most while it attacked so many images."""
    with LocalExecutor(1) as executor:
        execute(plan("foolbox-ddn-l2", "MLP", samples), folder, executor)
        usage = executor._pool.schedule(resource.getrusage, args=(resource.RUSAGE_SELF,)).result()
    return int(usage.ru_maxrss) * 1024


def test_a_worker_needs_no_more_memory_for_more_images(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    few = peak_memory(50, tmp_path / "few")
    many = benchmark.pedantic(peak_memory, args=(2_000, tmp_path / "many"))
    benchmark.extra_info.update(bytes_for_50_images=few, bytes_for_2000_images=many)
    assert many < 1.05 * few


def test_rendering_a_report(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The page of fifty images, four networks and twenty-odd rows, from what is stored."""
    path = synthetic.write(synthetic.run(samples=50, seed=0, name="run"), tmp_path / "run")
    page = benchmark.pedantic(report.render, args=(path,), rounds=3)
    benchmark.extra_info["bytes"] = page.stat().st_size


def test_rendering_a_million_records(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Seconds and peak memory of a process that makes the page of a million records."""
    rows = len(synthetic.SUITE.rows) * len(synthetic.NETWORK_SCALE)
    path = synthetic.write_large(tmp_path / "run", -(-1_000_000 // rows))
    command = [sys.executable, "-m", "bench.report", str(path)]

    def render() -> resource.struct_rusage:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0
        return usage

    usage = benchmark.pedantic(render)
    assert benchmark.stats is not None
    peak = usage.ru_maxrss * 1024
    benchmark.extra_info.update(
        records=len(store.read(path).records()),
        peak_bytes=peak,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        bytes=(path / "report.html").stat().st_size,
    )
    assert benchmark.stats.stats.mean < 60
    assert peak < 2e9
