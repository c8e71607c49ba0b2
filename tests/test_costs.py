"""Costs: measured from a stored run, kept per suite, and never above a verifier's limit."""

from __future__ import annotations

import heapq
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import synthetic

from bench import networks, store
from bench.engine import costs, pace, runner
from bench.engine.request import Request, resolve
from bench.errors import StoreError
from bench.norms import Norm
from bench.specs import Kind, VerifierSpec


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    path = tmp_path_factory.mktemp("costs") / "run"
    return store.read(synthetic.write(synthetic.run(samples=4, seed=1, name="run", networks=("MLP",)), path))


def test_costs_are_the_mean_seconds_of_the_records(
    stored: store.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"other": {"MLP": {"a": 1.0}}, "synthetic": {"MLP": {"old": 2.0}}}))
    monkeypatch.setattr(costs, "FILE", file)
    assert costs.main([str(stored.path)]) == 0
    kept = costs.load("synthetic", file)["MLP"]
    records = stored.records()
    for row in stored.manifest["rows"]:
        seconds = records.loc[records["attack"] == row["name"], "seconds"]
        assert kept[row["name"]] == pytest.approx(seconds.mean(), rel=0.01)
    assert kept["old"] == 2.0
    assert costs.load("other", file) == {"MLP": {"a": 1.0}}
    assert costs.load("unknown", file) == {}


def test_only_a_finished_run_has_costs(capsys: pytest.CaptureFixture[str], stored: store.Run, tmp_path: Path) -> None:
    assert costs.main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
    broken = replace(stored, manifest=stored.manifest | {"status": "interrupted"})
    with pytest.raises(StoreError, match="is interrupted; costs are taken from a finished run"):
        costs.measure(broken)


def test_an_unknown_network_costs_what_the_dearest_does_and_a_verifier_at_most_its_limit() -> None:
    row = fakes.row("noise")
    measured = {"MLP": {row.name: 0.5}, "CNN": {row.name: 2.0}}
    assert costs.expected(row, "MLP", measured) == 0.5
    assert costs.expected(row, "mine", measured) == 2.0
    assert costs.expected(row, "mine", {}) == costs.UNKNOWN
    exact = VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5.0)
    assert costs.expected(exact, "MLP", {}) == 5.0
    assert costs.expected(exact, "MLP", {"MLP": {exact.name: 40.0}}) == 5.0


def test_a_network_of_ones_own_costs_what_its_speed_says(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\nfrom bench import networks\n\n"
        "def like_cnn():\n    return networks.load('CNN')\n\n"
        "def like_mlp():\n    return networks.load('MLP')\n\n"
        "class Whole(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = networks.load('MLP')\n\n"
        "    def forward(self, images):\n        return self.net(images.round())\n\n"
        "def unreadable():\n    return Whole()\n"
    )
    job = resolve(
        Request(suite="minimal_norm", networks=tuple(f"{file}:{n}" for n in ("like_cnn", "like_mlp", "unreadable")))
    )
    measured = costs.load("minimal_norm")
    found = pace.with_own(measured, job.plan.rows, job.plan.networks, job.dataset.domain)
    for name, like in (("like_cnn", "CNN"), ("like_mlp", "MLP")):
        own, known = sum(found[name].values()), sum(found[like].values())
        assert known / 2 < own < known * 2
        assert found[name]["certify-lower-l2"] == pytest.approx(found[like]["certify-lower-l2"])
    assert found["unreadable"]["certify-lower-l2"] == 0, "it has no verifier"
    assert 0 < found["unreadable"]["foolbox-ddn-l2"] < found["CNN"]["foolbox-ddn-l2"]


def test_networks_that_were_measured_are_not_loaded_for_their_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(networks, "load")
    job = resolve(Request(suite="minimal_norm"))
    measured = costs.load("minimal_norm")
    assert pace.with_own(measured, job.plan.rows, job.plan.networks, job.dataset.domain) is measured


def replayed(
    seconds: costs.Costs, measured: costs.Costs, workers: int, seed: int
) -> list[tuple[float, float | None, float]]:
    """A run of blocks that take what they should, more or less: (time, time left as told, time left) at every block."""
    chance = random.Random(seed)
    rows = [fakes.row("noise", block=5), *(fakes.row(f"x{i}", block=3 + i % 4) for i in range(20))]
    blocks = runner._ordered(fakes.plan(*rows, samples=20, networks=tuple(seconds)).blocks(), measured)
    free, ends = [8.0] * workers, []
    for block in blocks:
        took = seconds[block.network.name][block.row.name] * len(block.images) * math.exp(chance.gauss(0, 0.3))
        end = heapq.heappop(free) + took + 0.05
        heapq.heappush(free, end)
        ends.append((end, block, took))
    forecast, found = costs.Forecast(blocks, measured, workers), []
    for end, block, took in sorted(ends, key=lambda each: each[0]):
        forecast.finished(block, took, end)
        found.append((end, forecast.left(end), max(free) - end))
    return found


@pytest.mark.parametrize("known", ["as measured", "five times slower here", "another network", "nothing"])
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_time_left_is_never_off_by_a_factor_of_two_after_the_first_minute(known: str, workers: int) -> None:
    chance = random.Random(workers)
    rows = [fakes.row("noise"), *(fakes.row(f"x{i}") for i in range(20))]
    one = {row.name: math.exp(chance.uniform(-4, 2)) for row in rows}
    seconds = {"MLP": one, "CNN": {name: 2 * each * math.exp(chance.gauss(0, 0.2)) for name, each in one.items()}}
    # Compilation, of which the records of a first block hold the seconds, is some rows' alone.
    measured = {
        "as measured": seconds,
        "five times slower here": {
            where: {name: x / 5 for name, x in found.items()} for where, found in seconds.items()
        },
        "another network": {"MLP": one},
        "nothing": {},
    }[known]
    told = 0
    for seed in range(10):
        for now, left, true in replayed(seconds, measured, workers, seed):
            if left is not None and now > 60 and true > 5:
                told += 1
                # How far the last block is, nobody knows.
                assert true / 2 <= left <= 2 * true or abs(left - true) < 30, (now, left, true)
    assert told > 20 or known == "nothing"


def test_before_anything_is_known_the_time_left_is_being_measured() -> None:
    blocks = fakes.plan(fakes.row("noise", block=2), samples=12).blocks()
    forecast = costs.Forecast(blocks, {}, 2)
    assert forecast.left(0.0) is None
    for number, block in enumerate(blocks):
        forecast.finished(block, 20.0, 30.0 + 10.0 * number)
    assert forecast.left(100.0) == 0.0
