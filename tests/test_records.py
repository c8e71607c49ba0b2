"""Records keep their rules, and go through Arrow unchanged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.norms import Norm
from bench.records import SCHEMA, Record, Status, from_table, problems, to_table
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
    l0=4.0,
    l1=2.0,
    l2=1.0,
    linf=0.5,
)

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
    **{norm.value: st.floats(0, allow_nan=False) for norm in Norm},
    lower=st.floats(0, allow_nan=False),
    seconds=st.floats(0, 1e6),
    forwards=st.floats(0, 1e9),
    backwards=st.floats(0, 1e9),
    message=st.text(max_size=20),
)


@given(st.lists(records, max_size=5))
def test_a_table_gives_the_same_records_back(given_records: list[Record]) -> None:
    table = to_table(given_records)
    assert table.schema == SCHEMA
    assert from_table(table) == given_records


@pytest.mark.parametrize(
    "record",
    [
        FOUND,
        replace(FOUND, status=Status.NOT_FOUND, l0=math.inf, l1=math.inf, l2=math.inf, linf=math.inf),
        replace(FOUND, status=Status.MISCLASSIFIED, l0=0, l1=0, l2=0, linf=0),
        replace(FOUND, status=Status.ERROR, l0=math.inf, l1=math.inf, l2=math.inf, linf=math.inf, message="why"),
        replace(FOUND, lower=1.0),
    ],
)
def test_a_sound_record_has_no_problem(record: Record) -> None:
    assert problems([record]) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"l1": math.nan}, "not a number"),
        ({"l1": -1.0}, "negative"),
        ({"l2": math.inf}, "found with distances"),
        ({"status": Status.NOT_FOUND}, "not_found with distances"),
        ({"l0": 0.0, "l1": 0.0, "l2": 0.0, "linf": 0.0}, "found with distances"),
        ({"status": Status.MISCLASSIFIED}, "misclassified with distances"),
        ({"l0": 1.5}, "number of pixels"),
        ({"lower": 1.01}, "certified lower bound 1.01 and distance 1.0"),
        ({"lower": -0.1}, "certified lower bound"),
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
