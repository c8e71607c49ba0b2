"""The runner with attackers that lie, raise, die and hang; every planned image has exactly one record."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakes
import pandas as pd
import pytest

from bench import data, networks, store
from bench.engine import lost, runner, worker
from bench.engine.executors import InlineExecutor, LocalExecutor
from bench.engine.lost import Absences, Crash, OutOfTime
from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import LostWork, MachineError
from bench.judge import Judge
from bench.records import Status

MNIST = data.find("mnist")


def statuses(run: store.Run) -> dict[Any, Any]:
    return dict(run.records().groupby("status", observed=True).size())


def wrong(samples: int) -> Sequence[int]:
    """The images that the MLP misclassifies among the first so many."""
    decisions = Judge(networks.load("MLP"), MNIST.domain).decide(*MNIST.load("test", range(samples)))
    return [i for i, decision in enumerate(decisions) if decision.wrong]


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("clean", Status.NOT_FOUND),
        ("nan", Status.INVALID),
        ("outside", Status.INVALID),
        ("shapeless", Status.INVALID),
        ("raises", Status.ERROR),
        ("noise", Status.FOUND),
    ],
)
def test_one_record_per_image_whatever_the_attacker_does(tmp_path: Path, behaviour: str, status: Status) -> None:
    run = fakes.execute(fakes.plan(fakes.row(behaviour, block=5)), tmp_path / "run", InlineExecutor())
    records = run.records()
    assert records["image"].tolist() == list(range(12))
    expected = [Status.MISCLASSIFIED if i in wrong(12) else status for i in range(12)]
    assert records["status"].tolist() == expected


def test_misclassified_images_are_never_attacked(tmp_path: Path) -> None:
    n = wrong(300)[0] + 1
    run = fakes.execute(fakes.plan(fakes.row("noise", block=n), samples=n), tmp_path / "run", InlineExecutor())
    last = run.records().iloc[-1]
    assert last["status"] == Status.MISCLASSIFIED
    assert last[["l0", "l1", "l2", "linf", "pixels", "forwards", "backwards"]].tolist() == [0] * 7
    assert last["predicted"] != last["label"]
    assert n - 1 not in run.candidates("MLP", "fake-noise-l2")


def test_an_attacker_cannot_touch_the_images_or_the_network(tmp_path: Path) -> None:
    together = fakes.execute(
        fakes.plan(fakes.row("vandal"), fakes.row("noise"), networks=("MLP_d",)), tmp_path / "a", InlineExecutor()
    )
    alone = fakes.execute(fakes.plan(fakes.row("noise"), networks=("MLP_d",)), tmp_path / "b", InlineExecutor())
    noise = fakes.comparable(together).query("attack == 'fake-noise-l2'")
    assert noise.astype(str).reset_index(drop=True).equals(fakes.comparable(alone).astype(str))


def test_a_raise_costs_its_own_image_only(tmp_path: Path) -> None:
    run = fakes.execute(
        fakes.plan(fakes.row("raises_for_three", block=50), samples=50), tmp_path / "run", InlineExecutor()
    )
    records = run.records()
    failed = records[records["status"] == Status.ERROR]
    assert set(failed["label"]) == {3}
    assert failed["message"].str.startswith("ValueError: I do not like threes").all()
    others = records.query("label != 3 and predicted == label")
    assert set(others["status"]) == {Status.FOUND}


def test_the_candidates_stored_are_those_of_the_found_records(tmp_path: Path) -> None:
    run = fakes.execute(fakes.plan(fakes.row("noise")), tmp_path / "run", InlineExecutor())
    records = run.records().set_index("image")
    _, images = run.images()
    candidates = run.candidates("MLP", "fake-noise-l2")
    judge = Judge(networks.load("MLP"), MNIST.domain)
    assert sorted(candidates) == sorted(records[records["status"] == Status.FOUND].index)
    for image, candidate in candidates.items():
        record = records.loc[[image]].iloc[0]
        (judgement,) = judge.judge(images[[image]], [record["label"]], candidate[None])
        assert judgement.distances == record[["l0", "l1", "l2", "linf"]].to_dict()


def test_records_do_not_depend_on_the_number_of_workers_or_the_order(tmp_path: Path) -> None:
    plan = fakes.plan(fakes.row("noise"), fakes.row("clean"), networks=("MLP", "MLP_d"))
    runs = []
    for workers in (1, 2):
        with LocalExecutor(workers) as executor:
            runs.append(fakes.comparable(fakes.execute(plan, tmp_path / str(workers), executor)))
    runs.append(fakes.comparable(fakes.execute(plan, tmp_path / "inline", InlineExecutor())))
    assert runs[0].equals(runs[1])
    assert runs[0].equals(runs[2])


def test_each_block_is_stored_before_the_next_is_computed_where_none_runs_beside_it(tmp_path: Path) -> None:
    stored: list[int] = []

    def work(task: Task) -> Part:
        stored.append(len(list((tmp_path / "run" / "records").glob("*.parquet"))))
        return worker.run(task)

    fakes.execute(fakes.plan(fakes.row("noise"), samples=12), tmp_path / "run", InlineExecutor(), work=work)
    assert stored == [0, 1, 2]


def test_a_cheap_block_of_each_network_goes_first_and_then_the_most_expensive(tmp_path: Path) -> None:
    cheap, expensive = fakes.row("clean", block=12), fakes.row("noise", block=6)
    seconds = {cheap.name: 0.1, expensive.name: 5.0}
    estimated = {"MLP": seconds, "MLP_d": {**seconds, expensive.name: 9.0}}
    order: list[tuple[str, str]] = []

    def work(task: Task) -> Part:
        order.append((task.block.network.name, task.block.row.name))
        return worker.run(task)

    plan = fakes.plan(expensive, cheap, networks=("MLP", "MLP_d"))
    fakes.execute(plan, tmp_path / "run", InlineExecutor(), work=work, estimated=estimated)
    assert set(order[:2]) == {("MLP", cheap.name), ("MLP_d", cheap.name)}
    assert order[2:] == [("MLP_d", expensive.name)] * 2 + [("MLP", expensive.name)] * 2


def test_a_slow_network_is_begun_as_early_as_a_fast_one() -> None:
    rows = [fakes.row(name, block=4) for name in ("clean", "noise", "nan", "outside")]
    seconds = {row.name: 0.1 * 3**place for place, row in enumerate(rows)}
    estimated = {"MLP": seconds, "CNN": {name: 1_000 * each for name, each in seconds.items()}}
    blocks = fakes.plan(*rows, samples=8, networks=("MLP", "CNN")).blocks()
    ordered = runner._ordered(blocks, estimated)
    assert [(block.network.name, block.row) for block in ordered[:4]] == [
        (name, row) for name in ("MLP", "CNN") for row in rows[:2]
    ]
    assert sorted(block.key for block in ordered) == sorted(block.key for block in blocks)
    left = [estimated[block.network.name][block.row.name] for block in ordered[4:]]
    assert left == sorted(left, reverse=True)


def attacked(run: store.Run, behaviour: str) -> pd.DataFrame:
    """The records of a row's attacked images."""
    return run.records().query(f"attack == '{fakes.row(behaviour).name}' and predicted == label")


def test_crashes_of_its_own_cost_an_attack_the_images_that_crash_only(tmp_path: Path) -> None:
    rows = (
        fakes.row("crashes_for_zero", block=6),
        fakes.row("leaves", block=2, cap=2),
        fakes.row("quits", block=1, cap=1),
    )
    with LocalExecutor(2) as executor:
        run = fakes.execute(fakes.plan(*rows, samples=6), tmp_path / "run", executor)
    crashed = attacked(run, "crashes_for_zero")
    assert set(crashed.query("label == 0")["status"]) == {Status.ERROR}
    expected = "the worker process was ended by SIGSEGV, 3 times, with no other image in it"
    assert set(crashed.query("label == 0")["message"]) == {expected}
    assert set(crashed.query("label != 0")["status"]) == {Status.FOUND}
    left = attacked(run, "leaves")
    assert set(left["status"]) == {Status.ERROR}
    assert left["message"].str.contains("SystemExit: enough").all()
    (quitted,) = attacked(run, "quits").itertuples()
    assert quitted.status == Status.ERROR
    assert re.search(r"ended itself with exit code [07], 3 times", str(quitted.message))


@pytest.mark.parametrize(
    ("code", "at_work", "expected"),
    [
        (-signal.SIGSEGV, True, Crash("the worker process was ended by SIGSEGV")),
        (-signal.SIGSEGV, False, LostWork("the worker process was ended by SIGSEGV")),
        (-signal.SIGKILL, True, LostWork("the worker process was ended by SIGKILL")),
        (-signal.SIGTERM, True, LostWork("the worker process was ended by SIGTERM")),
        (7, True, Crash("the worker process ended itself with exit code 7")),
        (7, False, LostWork("the worker process ended itself with exit code 7")),
        (None, True, LostWork("the worker process was lost")),
    ],
)
def test_only_what_a_process_did_itself_while_at_work_is_its_own_fault(
    code: int | None, at_work: bool, expected: Exception
) -> None:
    found = lost.ended(code, at_work=at_work)
    assert (type(found), str(found)) == (type(expected), str(expected))


def test_work_that_is_lost_once_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_MARKS", str(tmp_path))
    plan = fakes.plan(fakes.row("dies_once"), fakes.row("no_memory_once"), fakes.row("noise"), samples=6)
    with LocalExecutor(2) as executor:
        disturbed = fakes.execute(plan, tmp_path / "disturbed", executor)
    assert len(list(tmp_path.glob("*-*"))) == 4
    undisturbed = fakes.execute(plan, tmp_path / "undisturbed", InlineExecutor())
    pd.testing.assert_frame_equal(fakes.comparable(disturbed), fakes.comparable(undisturbed), check_exact=True)


@pytest.mark.parametrize(
    ("behaviour", "how"),
    [("dies", "the worker process was ended by SIGKILL"), ("eats_memory", "MemoryError: Unable to allocate")],
)
def test_work_that_is_lost_again_and_again_stops_the_run_when_all_else_is_stored(
    tmp_path: Path, behaviour: str, how: str
) -> None:
    row = fakes.row(behaviour, block=3)
    with (
        LocalExecutor(2) as executor,
        pytest.raises(MachineError, match=rf"{row.name} on MLP, images 0 to 2: {how}.*4 times.*--resume.*--attacks"),
    ):
        fakes.execute(fakes.plan(row, fakes.row("noise"), samples=3), tmp_path / "run", executor)
    assert {*store.read(tmp_path / "run").records()["attack"]} == {fakes.row("noise").name}


@pytest.mark.parametrize("fault", sorted(fakes.FAULTS))
def test_no_fault_of_the_machine_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setenv("FAKE_FAULT", fault)
    with pytest.raises(MachineError, match=r"fails-l2 on MLP, images 0 to 2: .*--resume"):
        fakes.execute(fakes.plan(fakes.row("fails", block=3), samples=3), tmp_path / "run", InlineExecutor())
    assert store.read(tmp_path / "run").records().empty


def test_where_every_worker_is_lost_not_every_block_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAULT", "disk")
    calls: list[int] = []

    def work(task: Task) -> Part:
        calls.append(task.block.number)
        return worker.run(task)

    with pytest.raises(MachineError, match="No space left on device"):
        fakes.execute(
            fakes.plan(fakes.row("fails", block=1), samples=60), tmp_path / "run", InlineExecutor(), work=work
        )
    assert len(calls) < 30


def test_time_that_the_machine_slept_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = [0.0]
    watched = Absences(lambda: time.time() + ahead[0])
    with LocalExecutor(1) as executor:
        monkeypatch.setattr(executor, "_absences", watched)
        timeout = TimeoutError("Task timeout", 60.0)
        assert isinstance(executor._reason(timeout, at_work=True, absent=watched.seconds), OutOfTime)
        before = watched.seconds
        ahead[0] = 3600.0
        error = executor._reason(timeout, at_work=True, absent=before)
        assert isinstance(error, LostWork)
        assert "slept or its clock was set, for 3" in str(error)


def test_a_hanging_attack_is_stopped_at_its_limit(tmp_path: Path) -> None:
    # A worker process needs some seconds to start; they count.
    plan = fakes.plan(fakes.row("hangs", block=1), fakes.row("noise"), samples=1, time_limit=15.0)
    with LocalExecutor(2) as executor:
        records = fakes.execute(plan, tmp_path / "run", executor).records().set_index("attack")
    assert records.loc["fake-hangs-l2", "status"] == Status.TIMEOUT
    assert "limit of 15.0 seconds" in str(records.loc["fake-hangs-l2", "message"])
    assert records.loc["fake-noise-l2", "status"] == Status.FOUND
