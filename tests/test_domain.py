"""The domain: to the unit box and back, what leaves the box, what counts as changed, and what contradicts itself."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.domain import ROUNDING, Domain
from bench.errors import DataError
from bench.norms import Norm

GREY = Domain(shape=(1, 2, 3), classes=2, low=0.0, high=1.0, channel_axis=0)

numbers = st.floats(-1e4, 1e4, width=32)
widths = st.floats(1, 1e4, width=32)
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    """Boxes of all kinds: of one interval, of one for each value, of values that have no choice."""
    shape = draw(shapes)
    size = math.prod(shape)
    if draw(st.booleans()):
        low = draw(numbers)
        return Domain(shape=shape, classes=3, low=low, high=low + draw(widths))
    lows = draw(st.lists(numbers, min_size=size, max_size=size))
    wide = [draw(widths), *draw(st.lists(st.just(0.0) | widths, min_size=size - 1, max_size=size - 1))]
    return Domain(shape=shape, classes=3, low=tuple(lows), high=tuple(a + b for a, b in zip(lows, wide, strict=True)))


@st.composite
def points(draw: st.DrawFn) -> tuple[Domain, np.ndarray, np.ndarray]:
    """A domain, inputs of it as float32, and points of the unit box."""
    domain = draw(domains())
    batch = (2, *domain.shape)
    fractions = draw(arrays(np.float64, batch, elements=st.floats(0, 1)))
    low, high = domain.ends
    inputs = domain.checked((low + (high - low) * fractions).astype(np.float32))
    return domain, inputs, draw(arrays(np.float64, batch, elements=st.floats(0, 1)))


@given(points())
def test_the_unit_box_and_back(drawn: tuple[Domain, np.ndarray, np.ndarray]) -> None:
    domain, inputs, moved = drawn
    unit = domain.to_unit(inputs)
    assert ((unit >= 0) & (unit <= 1)).all()
    there = domain.from_unit(moved, inputs, unit)
    assert domain.excess(there).max() <= ROUNDING
    # A value without a choice is where it was, whatever an attack says of it.
    low, high = (np.broadcast_to(end, inputs.shape) for end in domain.ends)
    assert (there[low == high] == low[low == high]).all()
    free = high > low
    assert np.allclose(domain.to_unit(there)[free], moved[free], rtol=0, atol=1e-9)


@given(points(), st.data())
def test_what_an_attack_leaves_alone_is_exactly_the_clean_value(
    drawn: tuple[Domain, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    domain, inputs, moved = drawn
    images = domain.to_unit(inputs).astype(np.float32)
    alone = data.draw(arrays(np.bool_, inputs.shape))
    there = domain.from_unit(np.where(alone, images, moved), inputs, images)
    assert (there[alone] == inputs[alone]).all()


@given(points())
def test_in_the_unit_box_nothing_is_computed(drawn: tuple[Domain, np.ndarray, np.ndarray]) -> None:
    shape = drawn[0].shape
    unit = Domain(shape=shape, classes=2, low=0.0, high=1.0)
    moved = drawn[2]
    assert unit.is_unit
    assert (unit.to_unit(moved) == moved).all()
    assert (unit.from_unit(moved + 0.25, moved, moved) == moved + 0.25).all()


@given(domains(), st.sampled_from(Norm), st.data())
def test_a_distance_of_the_unit_box_is_scaled_to_that_of_records(
    domain: Domain, norm: Norm, data: st.DataObject
) -> None:
    changes = data.draw(arrays(np.float64, (3, *domain.shape), elements=st.floats(-1, 1, width=32)))
    low, high = domain.ends
    own = domain.measured((high - low) * changes)
    free = np.broadcast_to(high > low, domain.shape)
    wanted = norm.of(np.where(free, changes, 0)) * domain.scale(norm)
    assert norm.of(own) == pytest.approx(wanted, rel=1e-9, abs=1e-300)


@given(domains(), st.data())
def test_the_ends_lie_inside_and_what_is_beyond_does_not(domain: Domain, data: st.DataObject) -> None:
    low, high = (np.broadcast_to(end, domain.shape) for end in domain.ends)
    assert domain.excess([low, high]).max() == 0
    assert (domain.checked([low, high]) == np.stack([low, high]).astype(np.float32)).all()
    beyond = data.draw(st.floats(1e-2, 10))
    outside = np.stack([low - beyond * domain.width, high + beyond * domain.width])
    assert domain.excess(outside) == pytest.approx(beyond, rel=1e-6)
    with pytest.raises(DataError, match="outside the box"):
        domain.checked(outside)
    assert (domain.clip(outside) == np.stack([low, high])).all()


def test_what_lies_outside_by_rounding_alone_is_set_to_the_end() -> None:
    domain = Domain(shape=(2,), classes=2, low=0.0, high=255.0)
    assert domain.checked([[-1e-4, 255.0001]]).tolist() == [[0.0, 255.0]]
    assert domain.checked(np.zeros((0, 2))).shape == (0, 2)


def test_the_ends_of_the_box_are_those_of_float32() -> None:
    domain = Domain(shape=(1,), classes=2, low=0.0, high=0.1)
    assert domain.high == float(np.float32(0.1))
    assert domain.excess([[np.float32(0.1)]]).max() == 0


@pytest.mark.parametrize(("axis", "pixels"), [(0, 3), (1, 4), (2, 4), (None, 5)])
def test_a_pixel_counts_once_whichever_axis_holds_its_channels(axis: int | None, pixels: int) -> None:
    domain = Domain(shape=(3, 2, 4), classes=2, low=0.0, high=1.0, channel_axis=axis)
    change = np.zeros((1, 3, 2, 4))
    for place in ((0, 0, 0), (1, 0, 0), (2, 1, 3), (0, 1, 3), (0, 1, 0)):
        change[(0, *place)] = 1e-9
    assert domain.changed_pixels(change).tolist() == [pixels]
    assert domain.pixels == 24 // (1 if axis is None else domain.shape[axis])


@given(domains())
def test_a_domain_goes_through_json_unchanged(domain: Domain) -> None:
    assert Domain.from_json(json.loads(json.dumps(domain.to_json()))) == domain


def test_one_interval_for_every_value_is_one_interval() -> None:
    same = Domain(shape=(3,), classes=2, low=(0.0, 0.0, 0.0), high=(1.0, 1.0, 1.0))
    assert same == Domain(shape=(3,), classes=2, low=0.0, high=1.0)
    assert same.is_unit
    assert not same.per_feature
    mixed = Domain(shape=(3,), classes=2, low=0.0, high=(1.0, 2.0, 3.0))
    assert mixed.per_feature
    assert [end.shape for end in mixed.ends] == [(3,), (3,)]


def test_classes_have_names_or_numbers() -> None:
    named = Domain(shape=(1,), classes=2, low=0.0, high=1.0, class_names=("cat", "dog"))
    assert [named.class_name(number) for number in (0, 1, 2, -1)] == ["cat", "dog", "2", "-1"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"shape": ()}, "are not possible; a shape has"),
        ({"shape": (2, 0)}, "are not possible; a shape has"),
        ({"classes": 1}, "1 classes are not possible"),
        ({"low": 1.0}, "box 1 to 1 is empty; give a low end below the high end"),
        ({"low": 2.0}, "is empty"),
        ({"low": (0.0, 0.0, 0.0, 0.0, 0.0, 2.0)}, r"box 0\.\.2 to 1 is empty"),
        ({"low": math.nan}, "give one finite number"),
        ({"high": math.inf}, "give one finite number"),
        ({"high": 1e300}, "give one finite number"),
        ({"high": (1.0, 2.0)}, "has 2 numbers for 6 values"),
        ({"high": "much"}, "is 'much'; give a number"),
        ({"channel_axis": 3}, "channel axis 3 is not possible; inputs have axes 0 to 2"),
        ({"channel_axis": -1}, "channel axis -1"),
        ({"class_names": ("a",)}, "1 names for 2 classes"),
        ({"feature_names": ("a", "b")}, "2 names for 6 values of an input"),
    ],
)
def test_a_domain_that_contradicts_itself_is_refused_in_a_line(change: dict[str, Any], complaint: str) -> None:
    content: dict[str, Any] = GREY.to_json() | change
    with pytest.raises(DataError, match=complaint) as raised:
        Domain(**content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [{}, {"shape": [1]}, GREY.to_json() | {"depth": 3}])
def test_what_is_no_domain_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="this is no domain"):
        Domain.from_json(content)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        (np.zeros((2, 2, 3)), r"images have shape \(2, 3\); the domain says \(1, 2, 3\)"),
        (np.full((1, 1, 2, 3), np.nan), "NaN or infinite"),
        (np.full((1, 1, 2, 3), 1e300), "NaN or infinite"),
        (np.full((1, 1, 2, 3), 1.1), "values from 1.1 to 1.1, outside the box 0 to 1"),
        (np.full((1, 1, 2, 3), 1j), "dtype complex128; give real numbers"),
        (np.full((1, 1, 2, 3), "a"), "give real numbers"),
    ],
)
def test_inputs_of_another_domain_are_refused(inputs: np.ndarray, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        GREY.checked(inputs)
