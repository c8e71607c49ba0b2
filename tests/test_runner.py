"""The runner with attackers that lie, raise, die and hang; every planned image has exactly one record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fakes
import pytest

from bench import data, networks, store
from bench.engine import worker
from bench.engine.executors import InlineExecutor, LocalExecutor
from bench.engine.task import Task
from bench.engine.worker import Part
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


def test_a_cheap_block_of_each_network_goes_first_and_then_the_most_expensive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap, expensive = fakes.row("clean", block=12), fakes.row("noise", block=6)
    seconds = {cheap.name: 0.1, expensive.name: 5.0}
    monkeypatch.setattr(
        "bench.engine.costs.load", lambda suite: {"MLP": seconds, "MLP_d": {**seconds, expensive.name: 9.0}}
    )
    order: list[tuple[str, str]] = []

    def work(task: Task) -> Part:
        order.append((task.block.network.name, task.block.row.name))
        return worker.run(task)

    fakes.execute(
        fakes.plan(expensive, cheap, networks=("MLP", "MLP_d")), tmp_path / "run", InlineExecutor(), work=work
    )
    assert set(order[:2]) == {("MLP", cheap.name), ("MLP_d", cheap.name)}
    assert order[2:] == [("MLP_d", expensive.name)] * 2 + [("MLP", expensive.name)] * 2


def test_dead_and_hanging_workers_cost_their_images_only(tmp_path: Path) -> None:
    plan = fakes.plan(
        fakes.row("dies_for_three", block=50),
        fakes.row("eats_memory", block=25),
        fakes.row("noise", block=25),
        samples=50,
    )
    with LocalExecutor(2) as executor:
        records = fakes.execute(plan, tmp_path / "run", executor).records()
    dead = records[records["attack"] == "fake-dies-for-three-l2"].query("predicted == label")
    assert set(dead.query("label == 3")["status"]) == {Status.ERROR}
    assert dead.query("label == 3")["message"].str.contains("the worker process died").all()
    assert set(dead.query("label != 3")["status"]) == {Status.FOUND}
    hungry = records[records["attack"] == "fake-eats-memory-l2"].query("predicted == label")
    assert set(hungry["status"]) == {Status.ERROR}
    assert hungry["message"].str.contains("MemoryError").all()
    assert set(records[records["attack"] == "fake-noise-l2"].query("predicted == label")["status"]) == {Status.FOUND}


def test_a_hanging_attack_is_stopped_at_its_limit(tmp_path: Path) -> None:
    # A worker process needs some seconds to start; they count.
    plan = fakes.plan(fakes.row("hangs", block=1), fakes.row("noise"), samples=1, time_limit=15.0)
    with LocalExecutor(2) as executor:
        records = fakes.execute(plan, tmp_path / "run", executor).records().set_index("attack")
    assert records.loc["fake-hangs-l2", "status"] == Status.TIMEOUT
    assert "limit of 15.0 seconds" in str(records.loc["fake-hangs-l2", "message"])
    assert records.loc["fake-noise-l2", "status"] == Status.FOUND
