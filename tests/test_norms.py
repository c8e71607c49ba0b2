"""Norms, against NumPy's own and their defining properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from bench.norms import FloatArray, Norm, distances

pixels = st.floats(-1, 1, width=32).map(lambda value: 0.0 if abs(value) < 1e-30 else value)
batches = array_shapes(min_dims=2, max_dims=4, max_side=5).flatmap(
    lambda shape: arrays(np.float64, shape, elements=pixels)
)
ORDER = {Norm.L0: 0, Norm.L1: 1, Norm.L2: 2, Norm.LINF: math.inf}


@given(batches)
def test_each_norm_is_numpys(differences: FloatArray) -> None:
    for norm, order in ORDER.items():
        rows = differences.reshape(len(differences), -1)
        expected = [np.linalg.norm(row, order) for row in rows]
        assert norm.of(differences) == pytest.approx(expected, rel=1e-12)


@given(batches)
def test_norms_are_ordered_and_even(differences: FloatArray) -> None:
    of = {norm: norm.of(differences) for norm in Norm}
    slack = 1 + 1e-12
    assert (of[Norm.LINF] <= of[Norm.L2] * slack).all()
    assert (of[Norm.L2] <= of[Norm.L1] * slack).all()
    assert (of[Norm.L1] <= of[Norm.L0] * of[Norm.LINF] * slack).all()
    for norm in Norm:
        assert (norm.of(-differences) == of[norm]).all()


def test_distances_take_float32_and_measure_in_float64() -> None:
    images = np.zeros((2, 1, 2, 2), dtype=np.float32)
    candidates = images + np.float32(0.1)
    found = distances(candidates - images)
    assert set(found) == set(Norm)
    assert found[Norm.L2].dtype == np.float64
    assert found[Norm.L2][0] == 2 * float(np.float32(0.1))


@pytest.mark.parametrize("norm", Norm)
def test_a_norm_knows_how_to_print_itself(norm: Norm) -> None:
    assert Norm(norm.value) is norm
    assert norm.label
    assert norm.unit
