"""Records keep their rules, and go through Arrow unchanged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.norms import Norm
from bench.records import Record, Status, curve_problem, problems, query_count, query_counts, schema, to_table
from bench.specs import Kind

FOUND = Record(
    network="MLP",
    attack="fake-l2",
    library="fake",
    norm=Norm.L2,
    kind=Kind.UPPER,
    block=0,
    image=3,
    label=7,
    predicted=7,
    status=Status.FOUND,
    adversarial_class=9,
    distances={Norm.L0: 4.0, Norm.L1: 2.0, Norm.L2: 1.0, Norm.LINF: 0.5},
    pixels=3.0,
)
NOTHING: dict[str, Any] = {"distances": dict.fromkeys(Norm, math.inf), "pixels": math.inf}
ZERO: dict[str, Any] = {"distances": dict.fromkeys(Norm, 0.0), "pixels": 0.0}


def but(**distances: float) -> dict[str, Any]:
    """The distances of ``FOUND``, some of them changed."""
    return {"distances": {**FOUND.distances, **{Norm(name): value for name, value in distances.items()}}}


records = st.builds(
    Record,
    network=st.sampled_from(["MLP", "CNN"]),
    attack=st.text(max_size=8),
    library=st.just("fake"),
    norm=st.sampled_from(Norm),
    kind=st.sampled_from(Kind),
    block=st.integers(0, 9),
    image=st.integers(0, 9999),
    label=st.integers(0, 9),
    predicted=st.integers(-1, 9),
    status=st.sampled_from(Status),
    adversarial_class=st.integers(-1, 9),
    distances=st.fixed_dictionaries({norm: st.floats(0, allow_nan=False) for norm in Norm}),
    pixels=st.floats(0, allow_nan=False),
    lower=st.floats(0, allow_nan=False),
    best_seen=st.none() | st.floats(0, allow_nan=False),
    curve=st.none() | st.lists(st.floats(0, allow_nan=False), max_size=4).map(tuple),
    seconds=st.floats(0, 1e6),
    forwards=st.floats(0, 1e9),
    backwards=st.floats(0, 1e9),
    message=st.text(max_size=20),
)


@given(st.lists(records, max_size=5))
def test_a_table_gives_the_same_records_back(given_records: list[Record]) -> None:
    table = to_table(given_records)
    assert table.schema == schema()
    lines = table.to_pylist()
    back = [
        Record(
            **{name: value for name, value in line.items() if name not in set(Norm)}
            | {"curve": None if line["curve"] is None else tuple(line["curve"])},
            distances={norm: line[norm.value] for norm in Norm},
        )
        for line in lines
    ]
    assert back == given_records


@pytest.mark.parametrize(
    "record",
    [
        FOUND,
        replace(FOUND, status=Status.NOT_FOUND, **NOTHING),
        replace(FOUND, status=Status.MISCLASSIFIED, **ZERO),
        replace(FOUND, status=Status.ERROR, **NOTHING, message="why"),
        replace(FOUND, lower=1.0),
        replace(FOUND, best_seen=0.75, lower=0.5),
        replace(FOUND, status=Status.NOT_FOUND, **NOTHING, best_seen=2.0),
        replace(FOUND, forwards=3.5, curve=(math.inf, 2.0, 2.0)),
        replace(FOUND, forwards=0.5, curve=()),
        replace(FOUND, status=Status.NOT_FOUND, **NOTHING, forwards=1.0, curve=(math.inf,)),
    ],
)
def test_a_sound_record_has_no_problem(record: Record) -> None:
    assert problems([record]) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (but(l1=math.nan), "not a number"),
        (but(l1=-1.0), "negative"),
        (but(l2=math.inf), "found with distances"),
        ({"status": Status.NOT_FOUND}, "not_found with distances"),
        (ZERO, "found with distances"),
        ({"status": Status.MISCLASSIFIED}, "misclassified with distances"),
        (but(l0=4.5), "no whole numbers"),
        ({"pixels": 2.5}, "no whole numbers"),
        ({"pixels": 5.0}, "5 changed pixels of 4 changed values"),
        ({"lower": 1.01}, "certified lower bound 1.01 and distance 1.0"),
        ({"lower": -0.1}, "certified lower bound"),
        ({"best_seen": 1.1}, "nearest point seen at 1.1, candidate at 1.0"),
        ({"best_seen": math.nan}, "nearest point seen at nan"),
        ({"best_seen": 0.5, "lower": 0.6}, "certified lower bound 0.6"),
        ({"message": "but why"}, "message 'but why'"),
        ({"forwards": 2.0, "curve": (1.0, 2.0)}, "a curve that rises"),
        ({"forwards": 2.0, "curve": (1.0, math.inf)}, "a curve that rises"),
        ({"forwards": 2.0, "curve": (1.0,)}, "a curve of 1 values for 2 queries per image, which reach 2 counts"),
        ({"forwards": 1.0, "curve": (1.0, 0.5)}, "which reach 1 counts"),
        ({"forwards": 2.0, "curve": (1.0, math.nan)}, "no numbers above 0"),
        ({"forwards": 2.0, "curve": (1.0, 0.0)}, "no numbers above 0"),
        ({"forwards": 2.0, "curve": (1.0, 0.5), "lower": 0.6}, "the certified lower bound 0.6"),
        ({"forwards": 1.0, "curve": (1.0,), "kind": Kind.EXACT}, "a curve of what was not attacked"),
    ],
)
def test_a_record_that_contradicts_itself_is_named(change: dict[str, Any], complaint: str) -> None:
    (problem,) = problems([replace(FOUND, **change)])
    assert "MLP, fake-l2, image 3" in problem
    assert complaint in problem


def test_the_distance_of_a_record_is_in_its_rows_norm() -> None:
    assert FOUND.distance == 1.0
    assert replace(FOUND, norm=Norm.LINF).distance == 0.5


@pytest.mark.parametrize("status", Status)
def test_every_status_explains_itself(status: Status) -> None:
    assert Status(status.value) is status
    assert status.label
    assert status.explanation


def test_curves_are_noted_at_four_counts_in_each_power_of_ten() -> None:
    assert query_counts(1000) == (1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000)
    assert query_counts(999.9) == query_counts(562)
    assert query_counts(0.9) == query_counts(0) == ()


@given(st.floats(0, 1e12))
def test_counts_rise_as_far_as_they_are_reached(most: float) -> None:
    counts = query_counts(most)
    assert counts == tuple(sorted(set(counts)))
    assert [query_count(place) for place in range(len(counts))] == list(counts)
    assert all(count <= most for count in counts)
    assert query_count(len(counts)) > most


@given(st.lists(st.floats(0, exclude_min=True, allow_nan=False), max_size=13))
def test_a_curve_is_sound_exactly_where_it_never_rises(values: list[float]) -> None:
    queries = query_count(len(values) - 1) if values else 0
    falls = values == sorted(values, reverse=True)
    assert (curve_problem(values, queries) == "") == falls
    assert curve_problem(sorted(values, reverse=True), queries) == ""
