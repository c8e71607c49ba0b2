"""Records keep their rules, and go through Arrow unchanged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.norms import Norm
from bench.records import Record, Status, problems, schema, to_table
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
            **{name: value for name, value in line.items() if name not in set(Norm)},
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
