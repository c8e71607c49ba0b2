"""A run beside its baseline: what compares, what is left out and said, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import gates
import numpy as np
import pytest
import synthetic

from bench.check import baseline, runs
from bench.check.decision import Outcome
from bench.errors import UsageError
from bench.norms import Norm
from bench.specs import Kind

INF = float("inf")
HELD, BROKEN, OPEN = Outcome.HELD, Outcome.BROKEN, Outcome.UNDECIDED
RNG = np.random.default_rng(0)
SPREAD = np.exp(RNG.normal(0, 0.4, 100))
NEAR, DEEP, LARGEST = gates.NEAR.name, gates.DEEP.name, gates.LARGEST.name
BEFORE = {"A": SPREAD}


def main(values: Any = BEFORE, **options: Any) -> synthetic.SyntheticRun:
    return gates.made(values, name="main", **options)


@pytest.mark.parametrize(
    ("ratio", "text", "outcome"),
    [
        (1.0, "l2 no-worse", HELD),
        (0.9, "l2 no-worse by 5%", BROKEN),
        (0.9, "l2 no-worse by 20%", HELD),
        (0.97, "l2 no-worse", HELD),
        (0.97, "l2 no-worse by 2%", BROKEN),
        (0.97, "l2 no-worse by 0%", BROKEN),
        (1.2, "l2 no-worse by 0%", HELD),
        (1.0, "l2 no-worse by 0%", OPEN),
    ],
)
def test_a_run_is_no_worse_than_its_baseline(ratio: float, text: str, outcome: Outcome) -> None:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, 100)) if ratio != 1 else 1
    one = gates.decided(gates.made({"A": SPREAD * ratio * noise}), text, main())
    assert one.outcome is outcome
    assert one.measured.startswith(f"typically {ratio:.2g}" if ratio == 1 else "typically ")
    assert one.measured.endswith(", 100 images")


def test_what_is_open_says_about_how_many_images_it_takes() -> None:
    noise = np.exp(np.random.default_rng(3).normal(0, 0.4, 100))
    one = gates.decided(gates.made({"A": SPREAD * noise * 1.05}), "l2 no-worse", main())
    assert one.outcome is OPEN
    assert re.fullmatch(
        r"about [\d,]+ images would decide it, if the figures stay(; the split has 10,000)?", one.needed
    )
    nothing = gates.decided(gates.made({"A": [INF] * 9}), "l2 no-worse", main({"A": [INF] * 9}))
    assert nothing.outcome is OPEN
    assert nothing.measured.startswith("no difference to see: on all 9 images")


def test_all_comparisons_of_a_call_share_the_level() -> None:
    alone = {"A": [0.9] * 7}
    before = {"A": [1.0] * 7}
    assert gates.decided(gates.made(alone), "l2 no-worse", main(before)).outcome is BROKEN
    names = "ABCD"
    many = gates.checked(
        gates.made({name: [0.9] * 7 for name in names}),
        "l2 no-worse",
        baseline=main({name: [1.0] * 7 for name in names}),
    )
    assert many.count(OPEN) == 4


def test_images_are_matched_by_index_and_content_never_by_place() -> None:
    run, before = gates.made({"A": SPREAD * 0.9}), main()
    # The baseline was run on images 50 to 149: half of them are the run's.
    before.frame["image"] += 50
    hashes = synthetic.manifest(samples=150)["image_sha256"]
    before.manifest["image_sha256"] = {str(i): hashes[str(i)] for i in range(50, 150)}
    common = baseline.common(runs.opened(run), runs.opened(before))
    mine, theirs = common.distances("A", Norm.L2)
    np.testing.assert_array_equal(mine, SPREAD[50:] * 0.9)
    np.testing.assert_array_equal(theirs, SPREAD[:50])
    assert "50 of the 100 images of the run are in the baseline" in common.notes


def test_images_of_another_content_or_label_are_left_out() -> None:
    run, before = gates.made(BEFORE), main(labels=[1] * 5 + [0] * 95)
    before.manifest["image_sha256"]["7"] = "another"
    every = gates.checked(run, "l2 no-worse", baseline=before)
    assert every.decisions[0].measured.endswith(", 94 images")
    assert "1 images have another content in the baseline and are left out" in every.notes
    assert "5 images have another label in the baseline and are left out" in every.notes


def test_an_attack_that_only_one_run_had_counts_for_neither() -> None:
    both = {"A": {NEAR: SPREAD, DEEP: SPREAD * 1.1}}
    with_more = {"A": {NEAR: SPREAD, DEEP: SPREAD * 0.5}}
    # More search alone makes the run's distances smaller, and less search makes them larger.
    more = gates.checked(gates.made(with_more), "l2 no-worse", baseline=main())
    assert more.decisions[0].outcome is HELD
    assert more.notes == [f"attacks only in the run, left out: {DEEP}"]
    less = gates.checked(gates.made({"A": SPREAD * 0.9}), "l2 no-worse", baseline=main(both))
    assert less.decisions[0].outcome is BROKEN
    assert less.notes == [f"attacks only in the baseline, left out: {DEEP}"]


def test_an_attack_with_other_parameters_counts_for_neither() -> None:
    run = gates.made({"A": {NEAR: SPREAD, DEEP: SPREAD * 0.5}})
    before = main({"A": {NEAR: SPREAD, DEEP: SPREAD}})
    for row in before.manifest["rows"]:
        if row["name"] == DEEP:
            row["params"] = {"steps": 10}
        row["reasons"], row["label"], row["cap"] = {"steps": "other words"}, "another label", 100
    every = gates.checked(run, "l2 no-worse", baseline=before)
    assert every.decisions[0].outcome is HELD
    assert every.notes == [f"attacks with other parameters in the baseline, left out: {DEEP}"]


def test_an_attack_that_failed_in_one_run_counts_on_that_image_for_neither() -> None:
    statuses = {("A", DEEP): ["error"] * 100}
    values = {"A": {NEAR: SPREAD, DEEP: SPREAD * 0.5}}
    every = gates.checked(gates.made(values, statuses=statuses), "l2 no-worse", baseline=main(values))
    assert every.decisions[0].measured.startswith("typically 1 times")
    assert any(note.startswith("100 of 200 results are left out") for note in every.notes)
    back = gates.checked(gates.made(values), "l2 no-worse", baseline=main(values, statuses=statuses))
    assert back.decisions[0].measured.startswith("typically 1 times")


def test_an_image_without_an_attack_of_the_norm_in_both_runs_is_left_out() -> None:
    capped = {("A", NEAR): ["timeout"] * 60 + ["found"] * 40}
    values = {"A": {NEAR: SPREAD, LARGEST: SPREAD * 3}}
    one = gates.checked(gates.made(values, statuses=capped), "l2 no-worse", baseline=main(values)).decisions[0]
    assert one.measured.endswith(", 40 images")
    none = {("A", NEAR): ["timeout"] * 100}
    with pytest.raises(
        UsageError, match="no attack that minimises l2 ended on the same image of network A in the run and in"
    ):
        gates.checked(gates.made(BEFORE), "l2 no-worse", baseline=main(statuses=none))


def test_bounds_take_no_part_and_an_exact_search_only_where_it_found_something_in_both_runs() -> None:
    bounds = (gates.bounded([0.0] * 20, ["unsupported"] * 20), gates.bounded([0.1] * 20))
    assert gates.checked(bounds[0], "linf no-worse", baseline=bounds[1]).notes == []
    run = gates.bounded([0.1] * 20, kind=Kind.EXACT)
    before = gates.bounded([0.1] * 20, ["found"] * 20, kind=Kind.EXACT)
    every = gates.checked(run, "linf no-worse", baseline=before)
    assert every.decisions[0].measured.startswith("typically 1 times")
    assert every.notes[0].startswith("20 of 40 results are left out, as in one of the two runs")
    assert gates.checked(run, "linf no-worse", baseline=run).notes == []
    both = gates.checked(before, "linf no-worse", baseline=before)
    assert both.decisions[0].outcome is HELD
    with pytest.raises(UsageError, match="no attack in common"):
        gates.checked(run, "linf no-worse", baseline=gates.bounded([0.1] * 20, attacked=False))


def test_a_baseline_that_hides_from_attacks_is_said() -> None:
    hidden = [INF] * 10 + [1.0] * 90
    every = gates.checked(gates.made(BEFORE), "l2 no-worse", baseline=main({"A": hidden}))
    (note,) = every.notes
    assert note.startswith("network A of the baseline has the verdict 'fail'")
    assert not gates.checked(gates.made(BEFORE), "l2.median >= 0.1", baseline=main({"A": hidden})).notes


def test_other_versions_are_said() -> None:
    run, before = gates.made(BEFORE), main(code="another")
    before.manifest["libraries"][0]["versions"] = {"some-package": "1.0.0"}
    assert gates.checked(run, "l2 no-worse", baseline=before).notes == [
        "versions in the baseline and in the run: some-package 1.0.0 and 1.2.3",
        "the baseline was computed by another version of the bench's own code",
    ]


def test_networks_are_matched_by_name_and_a_single_one_with_a_single_one() -> None:
    two = main({"A": SPREAD, "B": SPREAD * 2})
    every = gates.checked(gates.made({"B": SPREAD * 2, "A": SPREAD}), "l2 no-worse", baseline=two)
    assert every.count(HELD) == 2
    renamed = gates.checked(gates.made({"new": SPREAD * 0.9}), "l2 no-worse", baseline=main())
    assert renamed.count(BROKEN) == 1
    assert renamed.notes == ["network new is compared with A of the baseline"]
    more = gates.made({"A": SPREAD, "C": SPREAD})
    with pytest.raises(
        UsageError,
        match=re.escape(
            "the baseline main has no network C; name the networks that it is required of, as in 'A: l2 no-worse by 5%'"
        ),
    ):
        gates.checked(more, "l2 no-worse", baseline=two)
    assert gates.checked(more, "A: l2 no-worse", baseline=two).count(HELD) == 1
    with pytest.raises(UsageError, match="none in common; give the networks the same names"):
        gates.checked(gates.made({"C": SPREAD, "D": SPREAD}), "l2 no-worse", baseline=two)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"data": {"name": "other"}}, "differ in the dataset ('made-up' and 'other')"),
        ({"split": "val"}, "differ in the split ('test' and 'val')"),
        ({"domain": {"high": 255.0}}, "differ in the high of the images (1.0 and 255.0)"),
        ({"domain": {"shape": [2, 2]}}, "differ in the shape of the images"),
        (
            {"image_sha256": {"0": "x", "900": "y"}},
            "have no image in common (1 of the same index in the split, none with",
        ),
        ({"rows": []}, "have no attack in common with the same parameters"),
    ],
)
def test_what_does_not_compare_is_refused(change: dict[str, Any], part: str) -> None:
    before = main()
    for key, value in change.items():
        known = before.manifest[key]
        before.manifest[key] = known | value if isinstance(value, dict) and key != "image_sha256" else value
    opened = runs.Opened("main", before.manifest, runs.opened(main()).evidence)
    with pytest.raises(UsageError, match=re.escape(part)) as caught:
        baseline.common(runs.opened(gates.made(BEFORE)), opened)
    assert str(caught.value).startswith("run and its baseline main ")


def test_an_unfinished_baseline_is_refused() -> None:
    with pytest.raises(Exception, match="main is not finished, its status is 'running'"):
        gates.checked(gates.made(BEFORE), "l2 no-worse", baseline=main(status="running"))


def test_the_baseline_is_not_read_where_nothing_compares() -> None:
    every = gates.checked(gates.made(BEFORE), "l2.median >= 0.1", baseline=main(split="val"))
    assert every.count(HELD) == 1
    assert not every.notes
