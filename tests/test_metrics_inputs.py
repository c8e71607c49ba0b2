"""Metrics on people's own numbers: whatever is given, the right value or a sentence, and closed forms where there are any."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from bench import metrics, verdict
from bench.metrics import inputs

INF, NAN = float("inf"), float("nan")

CALLS: dict[str, dict[str, Any]] = {
    "median": {"distances": [1.0, 2.0]},
    "quantile": {"distances": [1.0, 2.0], "q": 0.5},
    "mean_found": {"distances": [1.0, 2.0]},
    "found_rate": {"distances": [1.0, 2.0]},
    "robust_accuracy": {"distances": [1.0, 2.0], "eps": [0.5]},
    "curve": {"distances": [1.0, 2.0], "points": 5},
    "wilson": {"successes": [1, 2], "n": 3, "level": 0.9},
    "median_interval": {"distances": [1.0, 2.0], "level": 0.9, "resamples": 20, "seed": 1},
    "ratio_interval": {"ratios": [1.0, NAN], "level": 0.9, "resamples": 20, "seed": 1},
    "robust_accuracy_interval": {"distances": [1.0, 2.0], "eps": 1.5, "level": 0.9, "resamples": 20, "seed": 1},
    "paired": {"a": [1.0, 2.0], "b": [2.0, 1.0], "level": 0.9, "resamples": 20, "seed": 1},
    "noninferiority": {"a": [1.0, 2.0], "b": [2.0, 1.0], "least": 0.05},
    "holm": {"p": [0.01, 0.02]},
    "optimality": {"distances": [1.0, 3.0], "best": [1.0, 2.0]},
    "global_optimality": {"local": [0.5, 1.0]},
    "front": {"cost": [1.0, 2.0], "quality": [2.0, 1.0]},
}
"""Every function of plain numbers, with arguments that it takes."""

ON_RUNS = {
    "attack_scores", "attacked_less", "evidence", "invariants", "leaders", "library_choice", "recommended", "summary",
    "violations",
}  # fmt: skip
"""The functions of a run's evidence."""


def test_every_function_of_numbers_is_tried_here() -> None:
    functions = {name for name in metrics.__all__ if callable(getattr(metrics, name)) and name.islower()}
    assert functions == set(CALLS) | ON_RUNS


NUMBERS = st.floats(0, 1e6) | st.integers(0, 5).map(float) | st.just(INF)
VECTORS = st.lists(NUMBERS, min_size=1, max_size=12)

DRESSES: dict[str, Callable[[list[float]], Any]] = {
    "tuple": tuple,
    "iterator": iter,
    "values of a dict": lambda values: dict(enumerate(values)).values(),
    "array": np.array,
    "column of an array": lambda values: np.array(values)[:, None],
    "objects": lambda values: np.array(values, dtype=object),
    "decimals": lambda values: [Decimal(value) for value in values],
    "fractions": lambda values: [Fraction(value) if np.isfinite(value) else value for value in values],
    "big-endian": lambda values: np.array(values, dtype=">f8"),
    "read-only": lambda values: np.broadcast_to(np.array(values), (len(values),)),
    "long doubles": lambda values: np.array(values, dtype=np.longdouble),
    "no mask": lambda values: np.ma.masked_array(values, mask=False),
    "column of a table": lambda values: pd.Series(values, index=np.arange(len(values))[::-1] + 7),
    "nullable column": lambda values: pd.Series(values, dtype="Float64"),
    "table of one column": lambda values: pd.DataFrame({"l2": values}),
    "tensor": lambda values: torch.tensor(values, dtype=torch.float64),
    "tensor with a gradient": lambda values: torch.tensor(values, dtype=torch.float64, requires_grad=True),
    "list of tensors": lambda values: list(torch.tensor(values, dtype=torch.float64, requires_grad=True)),
}


@pytest.mark.parametrize("dress", DRESSES)
@given(values=VECTORS)
@settings(max_examples=20)
def test_the_same_numbers_give_the_same_value_however_they_are_held(dress: str, values: list[float]) -> None:
    held = DRESSES[dress]
    np.testing.assert_equal(metrics.median(held(values)), metrics.median(values))
    np.testing.assert_equal(metrics.robust_accuracy(held(values), 1.0), metrics.robust_accuracy(values, 1.0))
    np.testing.assert_equal(metrics.optimality(held(values), held(values)), metrics.optimality(values, values))
    np.testing.assert_equal(metrics.front(held(values), held(values)), metrics.front(values, values))
    one, two = (metrics.paired(a, b, resamples=5) for a, b in ((held(values), held(values)), (values, values)))
    np.testing.assert_equal(asdict(one), asdict(two))
    np.testing.assert_equal(
        metrics.holm(held([value / 1e6 for value in values if value <= 1e6] + [1.0])),
        metrics.holm([value / 1e6 for value in values if value <= 1e6] + [1.0]),
    )


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(
        [10**400, Decimal("NaN"), Decimal(-1), datetime.now(UTC), object(), pd.NA, pd.NaT, np.float32(0.5), ...]
    ),
    st.lists(st.floats() | st.none() | st.text(max_size=2) | st.booleans() | st.integers(), max_size=4),
    st.lists(st.lists(st.floats(), max_size=2), max_size=3),
    st.dictionaries(st.integers(), st.floats(), max_size=2),
    st.sets(st.floats(), max_size=2),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)),
    hnp.arrays(np.float32, st.integers(0, 4)).map(torch.from_numpy),
    hnp.arrays(np.float64, 3).map(lambda values: np.ma.masked_array(values, mask=[False, True, False])),
    st.just(torch.tensor([1 + 2j])),
    st.just(torch.tensor([0.5], dtype=torch.bfloat16)),
    st.just(torch.eye(2).to_sparse()),
    st.just(pd.Series(["a", "b"], dtype="category")),
    st.just(pd.Series([1, 2], index=[5, 4])),
)


@pytest.mark.parametrize("name", CALLS)
@given(data=st.data())
@settings(max_examples=60)
def test_whatever_is_given_the_answer_is_a_value_or_a_sentence(name: str, data: st.DataObject) -> None:
    valid = CALLS[name]
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(valid)), ODD, min_size=1))
    try:
        result = getattr(metrics, name)(**(valid | changed))
    except ValueError as error:
        result = str(error)
        sentence = re.fullmatch("[^\n]+", result) and "operand" not in result
        result = result if sentence else None
    assert result is not None


ANY: Any = metrics
"""The same functions, called with what their types do not allow."""


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ANY.median(["1", "2"]), "distances are numbers, not text"),
        (lambda: ANY.median([True, False]), "distances are numbers, not truth values"),
        (lambda: ANY.median(np.array([1 + 2j])), "distances are numbers, not complex numbers"),
        (lambda: ANY.median({0: 1.0}), "distances are a dict"),
        (lambda: ANY.median([[1.0, 2.0], [3.0, 4.0]]), r"one dimension.*shape \(2, 2\)"),
        (lambda: ANY.median([1.0, None]), "distances are 0 or more.*number 2 is nan"),
        (
            lambda: ANY.median(np.ma.masked_array([1.0, 2.0], mask=[False, True])),
            "masked values: leave these images out",
        ),
        (lambda: ANY.robust_accuracy_interval([0.1], [0.1, 0.2]), "eps is one number, not 2"),
        (lambda: ANY.holm([1.5, -1]), r"a p value is a number in \[0, 1\]"),
        (lambda: ANY.ratio_interval([-1, 2]), "ratios are 0 or more"),
        (lambda: ANY.curve([1, 2, 3], 0), "points is a whole number from 1"),
        (lambda: ANY.paired([1], [2], seed=-1), "seed is a whole number from 0"),
        (lambda: ANY.paired([1], [2], resamples=2.5), "resamples is a whole number"),
        (lambda: ANY.paired([1], [2], resamples=10**12), "resamples is a whole number from 1 to 1000000"),
        (lambda: ANY.wilson(1, NAN), "n >= 1 trials"),
        (lambda: ANY.wilson(1, [3, 4]), "n is one number"),
        (lambda: ANY.front([1, 2], [1]), "one of each per point"),
        (lambda: ANY.paired(pd.Series([1.0, 2.0]), pd.Series([2.0, 1.0], index=[1, 0])), "not in the same order"),
        (lambda: ANY.optimality([1, 2], [1, 2.1]), "below the best known"),
    ],
)
def test_what_is_no_input_is_answered_in_a_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()


def test_columns_of_two_tables_are_paired_by_place() -> None:
    a, b = pd.Series([1.0, 2.0, 3.0]), pd.Series([2.0, 3.0, 4.0], index=[10, 11, 12])
    assert metrics.paired(a, b).losses == 1


def enumerated(a: np.ndarray, b: np.ndarray) -> float:
    """Two-sided p over all signs of the ranks, zero differences left out."""
    difference = np.array([x - y if x != y else 0.0 for x, y in zip(a, b, strict=True)])
    kept = difference[difference != 0]
    ranks = stats.rankdata(np.abs(kept))
    signs = np.array(list(itertools.product([-1, 1], repeat=len(kept))))
    return float((np.abs(signs @ ranks) >= abs((np.sign(kept) * ranks).sum()) - 1e-9).mean()) if len(kept) else 1.0


@given(
    st.lists(st.tuples(*[st.integers(0, 4).map(float) | st.floats(0, 9) | st.just(INF)] * 2), min_size=1, max_size=12)
)
def test_p_is_that_of_all_signs(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    assert metrics.paired(a, b, resamples=5).p == pytest.approx(enumerated(a, b))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12), st.integers(0, 9))
@example([(INF, INF), (INF, 0.0), (0.0, 0.0), (INF, 0.0), (INF, 0.0)], 7)
def test_the_interval_of_a_difference_is_never_nan_and_holds_what_is_unknown(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    result = metrics.paired(a, b, resamples=50, seed=seed)
    assert result.low <= result.high
    if np.isinf(a).all() and np.isinf(b).all():
        assert (result.low, result.high) == (-INF, INF)


def test_few_resamples_with_two_infinite_medians_leave_the_interval_finite() -> None:
    a = np.r_[np.linspace(1, 2, 30), np.full(20, INF)]
    b = np.r_[np.linspace(0.5, 1, 30), np.full(20, INF)]
    medians = [np.median(side[np.random.default_rng(0).integers(0, 50, (2000, 50))], axis=1) for side in (a, b)]
    assert np.isinf(medians).all(axis=0).any()
    result = metrics.paired(a, b, level=0.5)
    assert 0 < result.low < result.high < INF


@given(
    st.lists(st.floats(2**-10, 1e4, width=32) | st.sampled_from([0.3, 8 / 255, 0.1, 0.5]), min_size=1, max_size=8),
    st.sampled_from([np.float64, np.float32, float]),
)
def test_single_precision_distances_are_reached_at_their_own_eps(
    values: list[float], held: Callable[[Any], Any]
) -> None:
    distances = np.array(values, dtype=np.float32)
    for value, decimal in zip(distances, values, strict=True):
        expected = (distances > value * np.float32(1 + 4e-6)).mean()
        for eps in (held(value), held(decimal), held(float(str(value)))):
            found = float(metrics.robust_accuracy(distances, eps))
            assert expected - 1e-9 <= found <= (distances > value).mean() + 1e-9
            assert found == metrics.robust_accuracy(torch.from_numpy(distances), eps)


def test_the_tolerance_of_single_precision_is_as_stated() -> None:
    distances = np.array([1.0], dtype=np.float32)
    for excess, robust in ((9e-7, 0.0), (1.1e-6, 1.0)):
        assert metrics.robust_accuracy(distances, 1 - excess) == robust
        assert metrics.robust_accuracy(distances.astype(np.float64), np.float32(1 - excess)) == robust
        assert metrics.robust_accuracy([1.0], 1 - excess) == 1.0, "in double precision there is none"
    low, high = metrics.robust_accuracy_interval(np.full(4, 0.3, np.float32), 0.3)
    assert (low, high) == (0, 0)


@given(VECTORS.map(lambda values: [0.0, *[min(value, 1e6) + 0.01 for value in values]]), st.data())
def test_optimality_forgives_a_solvers_tolerance_and_no_more(best: list[float], data: st.DataObject) -> None:
    below = data.draw(hnp.arrays(np.float64, len(best), elements=st.floats(0, 6e-6)))
    distances = np.maximum(np.array(best) - below, 0)
    value = metrics.optimality(distances, best)
    assert value == 1 or np.isnan(value)
    worse = np.array(best)
    worse[-1] *= 0.98
    assume(worse[-1] < best[-1])
    with pytest.raises(ValueError, match="below the best known"):
        metrics.optimality(worse, best)


@given(st.lists(st.floats(0, 1) | st.just(NAN), max_size=8))
def test_holm_is_its_definition(p: list[float]) -> None:
    adjusted = metrics.holm(p)
    tests = sorted(value for value in p if not np.isnan(value))
    for value, found in zip(p, adjusted, strict=True):
        if np.isnan(value):
            assert np.isnan(found)
        else:
            smaller = [(len(tests) - place) * other for place, other in enumerate(tests) if other <= value]
            assert found == pytest.approx(min(1.0, max(smaller)))


@given(st.lists(st.tuples(*[st.integers(0, 3).map(float) | st.sampled_from([NAN, INF, -INF])] * 2), max_size=9))
def test_the_front_is_what_no_point_beats(points: list[tuple[float, float]]) -> None:
    cost, quality = [x for x, _ in points], [y for _, y in points]

    def beaten(x: float, y: float) -> bool:
        return any(c <= x and q <= y and (c < x or q < y) for c, q in points)

    expected = [not (np.isnan(x) or np.isnan(y) or beaten(x, y)) for x, y in points]
    assert metrics.front(cost, quality).tolist() == expected


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.999))
def test_wilson_is_scipys_at_any_level(counted: tuple[int, int], level: float) -> None:
    expected = stats.binomtest(*counted).proportion_ci(level, method="wilson")
    low, high = metrics.wilson(*counted, level)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_generator_is_read_once_and_a_mask_that_hides_nothing_is_none() -> None:
    assert inputs.vector((value for value in (1, 2)), "numbers").tolist() == [1.0, 2.0]
    assert inputs.whole(3.0, "points", 1, 5) == 3
    assert inputs.floats(torch.tensor(0.25, dtype=torch.bfloat16), "eps") == 0.25


RUNS = st.fixed_dictionaries(
    {
        "samples": st.integers(1, 6),
        "networks": st.sampled_from([["one"], ["one", "two"], ["one", "two", "three"]]),
        "clean_errors": st.sampled_from([0.0, 0.5, 1.0]),
        "failures": st.sampled_from([0.0, 1.0]),
        "solved": st.sampled_from([0.0, 1.0]),
        "seed": st.integers(0, 99),
    }
)


@given(options=RUNS, data=st.data())
@settings(max_examples=12)
def test_every_function_of_a_run_takes_any_part_of_it(options: dict[str, Any], data: st.DataObject) -> None:
    run = synthetic.run(**options)
    records = run.records()
    kept = data.draw(hnp.arrays(bool, len(records)) | st.just(np.ones(len(records), dtype=bool)))
    evidence = metrics.evidence(records[kept], run.manifest)
    for name in metrics.METRICS:
        metrics.METRICS[name](evidence)
    found = verdict.findings(evidence, run.manifest)
    failing = verdict.failing(found, evidence.networks)
    wrong = evidence.best.groupby("network", observed=True)["misclassified"].all()
    for leader in metrics.leaders(evidence, failing):
        assert leader.network not in {str(name) for name in wrong.index[wrong]}
        assert set(evidence.attacks["norm"].astype(str)) >= {leader.norm.value}
    metrics.recommended(evidence)
    metrics.library_choice(evidence)
    metrics.violations(evidence)
    assert all(rule.detail for rule in metrics.invariants(evidence, run.manifest))
