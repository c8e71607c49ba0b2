"""What rows cost, fitted to stored runs and measured networks; the time left; runs that end in time."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

import suites
from bench import networks, store
from bench.engine import budget, costs, forecast, pace, planning, runner, session
from bench.engine.costs import AttackCost, BoundCost, Line, Pace
from bench.engine.images import Images
from bench.engine.plan import Plan
from bench.engine.request import Request, resolve
from bench.engine.watch import Watch
from bench.errors import StoreError, UsageError
from bench.guide import costs as fitting
from bench.norms import Norm
from bench.specs import AttackSpec, Kind, VerifierSpec

EXACT = VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5.0)


def paced(values: int, seconds: float, attacked: float = 1.0) -> Pace:
    """A network that takes some seconds for an image forward, half of it for a call, and as long backward."""
    line = Line(seconds / 2, seconds / 2)
    bounds = dict.fromkeys(Norm, 10 * seconds)
    return Pace(forward=line, backward=line, overhead=0.1, values=values, attacked=attacked, bounds=bounds)


PACES = [paced(64, 1e-5), paced(784, 2e-5), paced(784, 3e-3), paced(3072, 1e-2)]


@given(
    forwards=st.tuples(st.floats(1, 1000), st.floats(0, 1)),
    backwards=st.tuples(st.floats(0, 1000), st.just(0.0)),
    own=st.tuples(st.floats(0.1, 10), st.floats(0, 0.01)),
    batch=st.sampled_from(fitting.BATCHES),
)
def test_a_cost_is_found_again_from_what_it_made_networks_take(
    forwards: tuple[float, float], backwards: tuple[float, float], own: tuple[float, float], batch: int
) -> None:
    cost = AttackCost(forwards=Line(*forwards), backwards=Line(*backwards), batch=batch, own=Line(*own))
    every = [
        fitting.Seen(
            kind=Kind.UPPER,
            norm=Norm.L2,
            pace=one,
            seconds=cost.seconds(one),
            forwards=cost.forwards.at(one.values),
            backwards=cost.backwards.at(one.values),
        )
        for one in PACES
    ]
    found = fitting.fitted(every)
    assert isinstance(found, AttackCost)
    unseen = paced(300, 1e-3)
    assert found.seconds(unseen) == pytest.approx(cost.seconds(unseen), rel=0.02)


def test_what_a_row_never_asks_for_costs_nothing() -> None:
    every = [
        fitting.Seen(kind=Kind.UPPER, norm=Norm.L2, pace=one, seconds=1.0, forwards=100.0, backwards=0.0)
        for one in PACES
    ]
    found = fitting.fitted(every)
    assert isinstance(found, AttackCost)
    assert found.backwards == Line(0.0)


def test_a_bound_costs_a_multiple_of_what_is_reckoned() -> None:
    pooled, dense = PACES[1], replace(PACES[2], dense=True)
    seen = [
        fitting.Seen(
            kind=Kind.LOWER,
            norm=Norm.L2,
            pace=one,
            seconds=factor * one.bounds[Norm.L2] * one.overhead,
            forwards=0,
            backwards=0,
        )
        for one, factor in ((pooled, 3.0), (pooled, 12.0), (dense, 5.0))
    ]
    cost = fitting.fitted(seen)
    assert isinstance(cost, BoundCost)
    assert cost.dense == pytest.approx((5.0, 1.0))
    assert cost.pooled == pytest.approx((6.0, 1.0))
    two = fitting.fitted([replace(seen[0], pace=PACES[0], seconds=seen[0].seconds), seen[0]])
    assert isinstance(two, BoundCost)
    assert two.pooled is not None
    assert two.pooled[1] == pytest.approx(0.0, abs=1e-9), "as long on a network that is twice as large"


def test_what_a_row_should_take_is_its_queries_and_its_library() -> None:
    row = fakes.row("noise")
    cost = AttackCost(forwards=Line(10, 1), backwards=Line(5), batch=2, own=Line(3, 0.5))
    network = Pace(forward=Line(0.02, 0.01), backward=Line(0, 0.04), overhead=0.1, values=4, attacked=0.5)
    # 14 forwards at (0.02 + 2 * 0.01) / 2, 5 backwards at 0.04, and 5 times the overhead; half of the images are attacked.
    expected = (14 * 0.02 + 5 * 0.04 + 5 * 0.1) / 2
    assert costs.estimates([row], {row.name: cost}, {"mine": network}) == {"mine": {row.name: pytest.approx(expected)}}
    assert costs.estimates([row], {}, {"mine": network}) == {"mine": {}}


def test_a_row_with_fewer_steps_than_were_measured_costs_less() -> None:
    (row,) = suites.rows(name="foolbox-ddn-l2")
    assert isinstance(row, AttackSpec)
    network = Pace(forward=Line(0.02, 0.01), backward=Line(0, 0.04), overhead=0.1, values=4)
    known = {row.name: AttackCost(forwards=Line(300), backwards=Line(300), batch=2, own=Line(3), steps=300)}
    half = replace(row, params={**row.params, row.steps: 150})
    whole, less = (costs.estimates([one], known, {"mine": network})["mine"][row.name] for one in (row, half))
    assert row.params[row.steps] == 300
    assert less == pytest.approx(whole / 2)


def test_a_verifier_takes_no_longer_than_its_limit_and_nothing_where_it_cannot_run() -> None:
    network = paced(784, 1.0)
    known = {EXACT.name: BoundCost(dense=None, pooled=(1.0, 1.0))}
    assert costs.estimates([EXACT], known, {"mine": network})["mine"][EXACT.name] == pytest.approx(1.0)
    assert costs.estimates([EXACT], known, {"mine": replace(network, overhead=9.0)})["mine"][EXACT.name] == 5.0
    assert costs.estimates([EXACT], known, {"mine": replace(network, dense=True)})["mine"][EXACT.name] == 5.0
    assert costs.estimates([EXACT], known, {"mine": replace(network, bounds={})})["mine"][EXACT.name] == 0.0
    assert costs.expected(EXACT, "mine", {}) == 5.0
    assert costs.expected(fakes.row("noise"), "mine", {}) == costs.UNKNOWN


def test_costs_and_paces_are_read_back() -> None:
    for cost in (
        AttackCost(forwards=Line(1, 2), backwards=Line(3), batch=5, own=Line(0.25, 0.5), steps=40),
        BoundCost(dense=None, pooled=(2.5, 0.5)),
    ):
        assert costs.from_json(costs.to_json(cost)) == cost
    assert costs.pace_from_json(costs.pace_to_json(PACES[0])) == PACES[0]


NORMS = {"smoke": None, "quick": ("l0", "l1", "l2", "linf"), "minimal_norm": ("l0", "l1", "l2", "linf")}


def test_every_row_of_the_suites_has_a_cost() -> None:
    for name, norms in NORMS.items():
        rows = resolve(Request(suite=name, norms=norms)).plan.rows
        assert {row.name for row in rows} <= costs.load(name).keys()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    made = synthetic.run(samples=4, seed=1, name="run", networks=("MLP",))
    made.manifest["pace"] = {"MLP": costs.pace_to_json(PACES[1])}
    return store.read(synthetic.write(made, tmp_path_factory.mktemp("costs") / "run"))


def test_costs_are_kept_beside_those_that_are_known(
    stored: store.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "costs.json"
    monkeypatch.setattr(costs, "FILE", file)
    old = BoundCost(dense=(1.0, 1.0), pooled=None)
    fitting._keep("synthetic", {"old": old})
    assert fitting.main([str(stored.path)]) == 0
    kept, records = costs.load("synthetic", file), stored.records()
    assert kept["old"] == old
    for row in stored.manifest["rows"]:
        attacked = records[(records["attack"] == row["name"]) & (records["status"] != "misclassified")]
        cost = kept[row["name"]]
        if isinstance(cost, AttackCost):
            assert cost.steps == (row["params"][row["steps"]] if row["steps"] else 0)
        if isinstance(cost, AttackCost) and len(attacked):
            assert cost.seconds(PACES[1]) == pytest.approx(attacked["seconds"].mean(), rel=0.02)
    assert costs.load("unknown", file) == kept
    assert costs.load("unknown", tmp_path / "none.json") == {}


def test_only_a_finished_run_that_knows_its_pace_has_costs(
    capsys: pytest.CaptureFixture[str], stored: store.Run, tmp_path: Path
) -> None:
    assert fitting.main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
    with pytest.raises(StoreError, match="is interrupted; costs are taken from a finished run"):
        fitting.seen(replace(stored, manifest=stored.manifest | {"status": "interrupted"}))
    with pytest.raises(StoreError, match="does not say how fast its networks were"):
        fitting.seen(replace(stored, manifest=stored.manifest | {"pace": None}))


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
    names = ("CNN", "MLP", *(f"{file}:{name}" for name in ("like_cnn", "like_mlp", "unreadable")))
    job, found, chosen = planning.planned(Request(suite="minimal_norm", networks=names, samples=5), 2)
    assert chosen is None
    assert set(found) == {"CNN", "MLP", "like_cnn", "like_mlp", "unreadable"}
    assert set(found["CNN"]) == {row.name for row in job.plan.rows}
    for name, like in (("like_cnn", "CNN"), ("like_mlp", "MLP")):
        own, known = sum(found[name].values()), sum(found[like].values())
        assert known / 2 < own < known * 2
        assert found[name]["certify-lower-l2"] == pytest.approx(found[like]["certify-lower-l2"])
    assert found["unreadable"]["certify-lower-l2"] == 0, "it has no verifier"
    assert 0 < found["unreadable"]["foolbox-ddn-l2"] < found["CNN"]["foolbox-ddn-l2"]


def test_the_pace_of_a_network_says_how_many_images_are_attacked() -> None:
    job = resolve(Request(suite="smoke", networks=("MLP",), samples=60))
    images = Images(job.dataset, job.split, job.plan)
    images.labels[:15] = (images.labels[:15] + 1) % 10
    found = pace.measure({"MLP": networks.source("MLP")}, {"MLP": ()}, images, "cpu")["MLP"]
    assert found.attacked == pytest.approx(45 / 60, abs=0.04)
    assert found.values == 784
    assert 0 < found.forward.slope < 1e-2
    assert found.dense


SECONDS = {"cheap": 0.01, "usual": 1.0, "expensive": 10.0}


def timed_plan(samples: int = 100) -> tuple[Plan, costs.Estimates]:
    rows = [fakes.row(name, block=5) for name in SECONDS]
    seconds = {fakes.row(name).name: each for name, each in SECONDS.items()}
    return fakes.plan(*rows, samples=samples, networks=("MLP", "CNN")), {"MLP": seconds, "CNN": seconds}


@given(st.floats(0.01, 1000), st.integers(1, 8), st.integers(1, 100))
def test_a_run_in_time_has_as_many_images_as_there_is_time_for(minutes: float, workers: int, samples: int) -> None:
    plan, estimated = timed_plan(samples)
    seconds = budget.FILLED * 60 * minutes - budget.AROUND
    cheapest = min(plan.rows, key=lambda row: estimated["MLP"][row.name])
    if budget.takes(plan, [cheapest], 1, estimated, workers) > seconds:
        with pytest.raises(UsageError, match="is not possible: one image takes about"):
            budget.fitted(plan, estimated, minutes, workers)
        return
    found = budget.fitted(plan, estimated, minutes, workers)
    assert budget.takes(plan, found.rows, found.samples, estimated, workers) <= seconds
    assert found.samples == samples or budget.takes(plan, found.rows, found.samples + 1, estimated, workers) > seconds
    # An attack is left out only where ten images, or all, are too many with it.
    fewest = min(budget.FEWEST, samples)
    for row in plan.rows:
        if row not in found.rows:
            assert budget.takes(plan, [*found.rows, row], fewest, estimated, workers) > seconds
    assert found.rows
    assert set(found.left_out) == {row.name for row in plan.rows} - {row.name for row in found.rows}


def test_a_run_in_minutes_says_what_it_left_out(tmp_path: Path) -> None:
    request = Request(suite="smoke", networks=("MLP",), samples=40, minutes=0.6)
    told: list[str] = []
    run = session.run(request, tmp_path / "run", how=session.How(workers=0), watch=Watch(say=told.append))
    chosen = run.manifest["budget"]
    assert chosen["minutes"] == 0.6
    assert chosen["asked"] == 40
    assert run.manifest["samples"] == chosen["samples"] <= 40
    assert set(run.manifest["request"]["attacks"]).isdisjoint(chosen["left_out"])
    assert any(line.startswith("0.6 minutes are enough for ") for line in told)
    # The same request goes on with what was chosen, whatever the machine says now.
    again = session.run(request, tmp_path / "run", how=session.How(workers=0))
    assert again.manifest["budget"] == chosen
    assert again.manifest["request"] == run.manifest["request"]
    with pytest.raises(StoreError, match="cannot go on"):
        session.run(replace(request, networks=("MLP_d",)), tmp_path / "run", how=session.How(workers=0))


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.inf, math.nan])
def test_minutes_that_are_none_are_refused(minutes: float) -> None:
    with pytest.raises(UsageError, match="is not possible; give a finite number above 0"):
        resolve(Request(suite="smoke", minutes=minutes))


def replayed(
    seconds: costs.Estimates, measured: costs.Estimates, workers: int, seed: int
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
    expected, found = forecast.Forecast(blocks, measured, workers), []
    for end, block, took in sorted(ends, key=lambda each: each[0]):
        expected.finished(block, took, end)
        found.append((end, expected.left(end), max(free) - end))
    return found


@pytest.mark.parametrize("known", ["as measured", "five times slower here", "a guess", "another network", "nothing"])
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
        "a guess": {
            where: {name: 3 * x * math.exp(chance.gauss(0, 0.25)) for name, x in found.items()}
            for where, found in seconds.items()
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
    expected = forecast.Forecast(blocks, {}, 2)
    assert expected.left(0.0) is None
    for number, block in enumerate(blocks):
        expected.finished(block, 20.0, 30.0 + 10.0 * number)
    assert expected.left(100.0) == 0.0


def test_a_row_is_expected_to_be_compiled_as_others_of_its_method_were() -> None:
    first, second = fakes.row("noise", block=2), replace(fakes.row("noise", block=2), norm=Norm.LINF)
    others = [fakes.row(f"x{number}", block=2) for number in range(8)]
    plan = fakes.plan(first, second, *others, samples=4)
    blocks = sorted(plan.blocks(), key=lambda block: block.row is second)
    expected = forecast.Forecast(blocks, {"MLP": {row.name: 1.0 for row in plan.rows}}, 1)
    now = 0.0
    for block in blocks[:-2]:
        seconds = 62.0 if block.row is first and block.number == 0 else 2.0
        now += seconds
        expected.finished(block, seconds, now)
    left = expected.left(now)
    assert left == pytest.approx(66, abs=2), "two blocks of 2 seconds, and what the first row took to be compiled"
    expected.finished(blocks[-2], 63.0, now + 63)
    assert expected.left(now + 63) == pytest.approx(2, abs=1.5)
