"""Worse by a least difference that matters: the statistics, and how often they are right on simulated networks."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bench import metrics
from bench.check import worse
from bench.check.decide import _side
from bench.check.grammar import parse
from bench.guide.gate import LEAST, SPREAD, favour, pair, table
from bench.metrics.needed import LEAST_OF_A_MEDIAN, images_for_fraction, pairs_for_ranks
from bench.metrics.resample import ranked, signed_ranks

INF = float("inf")


def test_a_network_that_is_worse_by_a_tenth_is_caught_with_100_images() -> None:
    rng = np.random.default_rng(0)
    caught = sum(favour(*pair(rng, 0.9)) is False for _ in range(100))
    assert caught >= 97


def test_of_200_comparisons_of_equal_networks_no_more_than_the_level_are_called_worse() -> None:
    rng = np.random.default_rng(1)
    outcomes = [favour(*pair(rng, 1.0)) for _ in range(200)]
    assert outcomes.count(False) <= 0.05 * 200
    assert outcomes.count(True) > 100


def test_the_documentation_has_the_table_that_the_command_prints() -> None:
    documented = (Path(__file__).parents[1] / "docs" / "gate.md").read_text()
    few = table(20).splitlines()
    assert "\n".join(few[:2]) in documented
    shown = [re.findall(r"([\d.]+) %", line) for line in documented.splitlines() if re.match(r"\| 0\.[23] \|", line)]
    made = [re.findall(r"([\d.]+) %", line) for line in few[2:]]
    # Of 20 comparisons a fraction is off by at most 5 standard deviations of 11 %.
    assert np.abs(np.array(shown, float) - np.array(made, float)).max() < 55
    assert np.array(shown, float)[:, 0].max() <= 5
    assert np.array(shown, float)[:, 2].min() > 85


def test_what_is_worse_by_the_least_difference_is_held_no_more_often_than_the_level() -> None:
    rng = np.random.default_rng(2)
    outcomes = [favour(*pair(rng, 1 - LEAST)) for _ in range(200)]
    assert outcomes.count(True) <= 0.05 * 200


def test_a_difference_that_is_sure_but_small_does_not_matter() -> None:
    before = np.exp(np.random.default_rng(3).normal(0, SPREAD, 100))
    assert metrics.noninferiority(before * 0.98, before, LEAST).p < 1e-9
    assert favour(before * 0.98, before) is True
    assert favour(before * 0.951, before) is True
    assert favour(before * 0.949, before) is False


def test_exactly_the_least_difference_is_worse() -> None:
    before = np.exp(np.random.default_rng(3).normal(0, SPREAD, 100))
    found = metrics.noninferiority(before * 0.95, before, LEAST)
    assert found.effect_least == 0
    assert found.p_least == 1
    assert favour(before * 0.95, before) is False


def test_the_tests_of_one_call_share_the_level() -> None:
    found = metrics.noninferiority(np.full(7, 0.9), np.ones(7), LEAST)
    assert found.p == pytest.approx(2**-6)
    assert worse.decided(found, found.p, found.p_least, tests=1).favour is False
    assert worse.decided(found, 4 * found.p, found.p_least, tests=4).favour is None


@pytest.mark.parametrize("images", [3, 4, 9, 60])
def test_the_typical_ratio_is_that_of_hodges_and_lehmann(images: int) -> None:
    rng = np.random.default_rng(images)
    a, b = np.exp(rng.normal(0.1, 0.3, images)), np.exp(rng.normal(0, 0.3, images))
    logarithms = np.log(a / b)
    means = [(one + other) / 2 for one, other in itertools.combinations_with_replacement(logarithms, 2)]
    assert metrics.noninferiority(a, b, LEAST).ratio == pytest.approx(np.exp(np.median(means)), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "ratio", "informative"),
    [
        ([1.0, 2.0], [2.0, 4.0], 0.5, 2),
        ([0.0, 0.0], [0.0, 0.0], np.nan, 0),
        ([INF, 0.0], [INF, 0.0], np.nan, 0),
        ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], 0.0, 3),
        ([1.0, 1.0, 1.0], [INF, INF, 1.0], 0.0, 3),
        ([1.0, 1.0, 1.0], [0.0, 0.0, 1.0], INF, 3),
        ([INF, INF, 3.0], [2.0, 2.0, 3.0], INF, 3),
        ([0.9, 0.9, 0.9, INF], [1.0, 1.0, 1.0, INF], 0.9, 3),
    ],
)
def test_zero_and_infinite_distances(a: list[float], b: list[float], ratio: float, informative: int) -> None:
    found = metrics.noninferiority(a, b, LEAST)
    assert found.ratio == pytest.approx(ratio, nan_ok=True)
    assert found.informative == informative
    assert found.images == len(a)


def test_images_that_only_the_candidate_gets_wrong_count_against_it() -> None:
    before = np.ones(40)
    after = before.copy()
    assert favour(after, before) is True
    after[:12] = 0
    found = metrics.noninferiority(after, before, LEAST)
    assert found.effect == -1
    assert metrics.noninferiority(before, after, LEAST).effect == 1


DISTANCES = st.floats(0, 100) | st.just(INF)


@given(st.lists(st.tuples(DISTANCES, DISTANCES), min_size=1, max_size=60), st.floats(0, 0.9))
@settings(max_examples=150)
def test_what_is_typical_agrees_with_the_tests(pairs: list[tuple[float, float]], least: float) -> None:
    a, b = (np.array(each) for each in zip(*pairs, strict=True))
    found = metrics.noninferiority(a, b, least)
    assert found.effect <= found.effect_least + 1e-9
    if found.ratio < (1 - least) * (1 - 1e-6):
        assert found.effect_least <= 0
    if found.ratio > (1 - least) * (1 + 1e-6):
        assert found.effect_least >= 0
    other = metrics.noninferiority(b, a, least)
    assert other.effect == pytest.approx(-found.effect, abs=1e-9)
    assert other.p == pytest.approx(found.p)


@pytest.mark.parametrize(
    ("a", "b", "least", "part"),
    [
        ([], [], 0.05, "at least one pair"),
        ([1.0], [1.0, 2.0], 0.05, "at least one pair"),
        ([1.0], [1.0], 1.0, "a fraction from 0 to below 1"),
        ([1.0], [1.0], float("nan"), "a fraction from 0 to below 1"),
        ([-1.0], [1.0], 0.05, "distances a are 0 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: list[float], b: list[float], least: float, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        metrics.noninferiority(a, b, least)


@given(hnp.arrays(np.float64, st.integers(51, 90), elements=st.integers(-9, 9).map(float)))
@settings(max_examples=40)
def test_beyond_50_pairs_p_is_scipys(differences: np.ndarray) -> None:
    kept = differences[differences != 0]
    if len(kept) <= 50:
        return
    np.testing.assert_array_equal(ranked(kept), np.sign(kept) * stats.rankdata(np.abs(kept)))
    expected = stats.wilcoxon(kept, method="approx", correction=True).pvalue
    assert signed_ranks(differences, np.zeros(len(differences)))[1] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("measured", "required"), [(0.53, 0.5), (0.9, 0.95), (0.31, 0.2), (1.0, 0.9)])
def test_so_many_images_decide_a_fraction_and_a_tenth_less_do_not(measured: float, required: float) -> None:
    needed = images_for_fraction(measured, required)
    assert needed is not None
    for images, decides in ((round(needed * 1.1) + 2, True), (round(needed * 0.9) - 2, False)):
        low, high = metrics.wilson(measured * images if measured < 1 else images, max(images, 1))
        assert (not low < required < high) == decides


def test_a_fraction_at_the_limit_is_decided_by_no_number() -> None:
    assert images_for_fraction(0.5, 0.5) is None
    assert images_for_fraction(1.0, 1.0) is None
    assert pairs_for_ranks(0.0) is None


@pytest.mark.parametrize("tests", [1, 10])
def test_so_many_pairs_make_an_effect_significant(tests: int) -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, 4000)
    effect, _ = signed_ranks(differences, np.zeros(4000))
    needed = pairs_for_ranks(effect, tests)
    assert needed is not None
    sizes = (2 * needed, needed // 2)
    more, fewer = (
        np.median([signed_ranks(rng.choice(differences, size), np.zeros(size))[1] for _ in range(60)]) for size in sizes
    )
    assert more < 0.05 / tests < fewer


def test_images_that_say_nothing_are_needed_as_well() -> None:
    rng = np.random.default_rng(4)
    after, before = np.exp(rng.normal(0, 0.4, 40)), np.exp(rng.normal(0, 0.4, 40))
    alone = metrics.noninferiority(after, before, LEAST)
    beside = metrics.noninferiority(np.append(after, [INF] * 40), np.append(before, [INF] * 40), LEAST)
    needed = [worse.decided(each, each.p, each.p_least, tests=1).needed for each in (alone, beside)]
    assert needed[0] is not None
    assert needed[1] == 2 * needed[0]


def test_five_images_enclose_no_median() -> None:
    assert 1 - 2.0 ** (1 - LEAST_OF_A_MEDIAN) >= 0.95
    assert 1 - 2.0 ** (2 - LEAST_OF_A_MEDIAN) < 0.95


@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        (">=", {(1.0, 2.0): True, (0.5, 1.0): None, (0.5, 0.9): False, (0.5, 2.0): None}),
        (">", {(1.0, 2.0): None, (1.1, 2.0): True, (0.5, 1.0): False, (0.5, 2.0): None}),
        ("<=", {(0.5, 1.0): True, (1.0, 2.0): None, (1.1, 2.0): False, (0.5, 2.0): None}),
        ("<", {(0.5, 1.0): None, (0.5, 0.9): True, (1.0, 2.0): False, (0.5, 2.0): None}),
    ],
)
def test_an_interval_has_a_side(sign: str, expected: dict[tuple[float, float], bool | None]) -> None:
    one = parse(f"l2.median {sign} 1")
    assert {interval: _side(one, *interval) for interval in expected} == expected
