"""A network as flat lists that kernels walk: from one input value forwards through everything that it can move."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray, PlainNetwork

Index = NDArray[np.int32]

_MOST_ENTRIES = 32_000_000
"""The most pairs of a pixel and a unit that it can move, in one stage; lists of more are not made."""


class Columns(NamedTuple):
    """A sparse matrix by columns.

    Attributes:
        start: (columns + 1,) int64, where each column begins.
        rows: (entries,) int32, ascending in each column.
        values: (entries,) float64.
    """

    start: IntArray
    rows: Index
    values: FloatArray


class Lists(NamedTuple):
    """Lists of numbers behind each other.

    Attributes:
        start: (lists + 1,) int64, where each begins.
        items: (entries,) int32, ascending in each list.
    """

    start: IntArray
    items: Index


class Wiring(NamedTuple):
    """A network whose units, windows and members are numbered through all its stages.

    Attributes:
        units, windows: (stages + 1,) int64, where each stage's begin.
        first: the first stage's weight, a column for each pixel.
        later: the other stages' weights, a column for each window; those of the last stage's windows are empty.
        members: for each window its members' units; -1 is the 0 of a rectified one.
        moved_units, moved_windows: for each pixel those that it can move.
        unit_sizes: (units,) float64, the sizes that the sum of a unit adds up, at most, over the box.
        window_sizes: (windows,) float64, the largest of the members'.
    """

    units: IntArray
    windows: IntArray
    first: Columns
    later: Columns
    members: Lists
    moved_units: Lists
    moved_windows: Lists
    unit_sizes: FloatArray
    window_sizes: FloatArray


def wire(plain: PlainNetwork) -> Wiring | None:
    """A network of at least one stage as flat lists; None where they would be too long."""
    stages = plain.stages
    units = np.cumsum([0, *(len(stage.bias) for stage in stages)])
    windows = np.cumsum([0, *(len(stage.windows) for stage in stages)])
    weights = []
    for stage in stages:
        weights.append(sparse.csc_array(stage.weight))
        weights[-1].eliminate_zeros()
        weights[-1].sort_indices()
    moved = _moved(plain, weights)
    if moved is None:
        return None
    counts, members, sizes = [], [], [np.ones(plain.inputs)]
    unit_sizes = []
    for stage, weight, offset in zip(stages, weights, units[:-1], strict=True):
        numbers = np.where(stage.windows >= 0, stage.windows + offset, -2)
        if stage.rectified:
            numbers = np.hstack([numbers, np.full((len(numbers), 1), -1)])
        counts.append((numbers != -2).sum(axis=1))
        members.append(numbers[numbers != -2])
        unit_sizes.append(abs(weight) @ sizes[-1] + np.abs(stage.bias))
        sizes.append(np.where(stage.windows >= 0, unit_sizes[-1][stage.windows], 0.0).max(axis=1))
    return Wiring(
        units, windows, _beside(weights[:1], units, 0), _beside(weights[1:], units[1:], len(stages[-1].windows)),
        Lists(_starts(np.concatenate(counts)), np.concatenate(members).astype(np.int32)), *moved,
        np.concatenate(unit_sizes), np.concatenate(sizes[1:]),
    )  # fmt: skip


def _beside(weights: list[sparse.csc_array], offsets: IntArray, empty: int) -> Columns:
    """Matrices side by side, each with rows of its own, and a number of empty columns."""
    counts = [*(np.diff(weight.indptr) for weight in weights), np.zeros(empty, dtype=np.int64)]
    rows = [weight.indices + offset for weight, offset in zip(weights, offsets, strict=False)]
    values = [weight.data for weight in weights]
    return Columns(
        _starts(np.concatenate(counts)),
        np.concatenate([*rows, np.zeros(0)]).astype(np.int32),
        np.concatenate([*values, np.zeros(0)]),
    )


def _starts(counts: IntArray) -> IntArray:
    """Where lists of these lengths begin, behind each other, and where the last ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _moved(plain: PlainNetwork, weights: list[sparse.csc_array]) -> tuple[Lists, Lists] | None:
    """The units and the windows that each pixel can move; None for too many."""
    reached = sparse.csc_array(sparse.identity(plain.inputs, format="csc"))
    units, windows = [], []
    for stage, weight in zip(plain.stages, weights, strict=True):
        products = int(np.diff(weight.indptr)[reached.indices].sum())
        if min(products, plain.inputs * len(stage.bias)) > _MOST_ENTRIES:
            return None
        pattern = sparse.csc_array((np.ones(weight.nnz, dtype=np.int32), weight.indices, weight.indptr), weight.shape)
        units.append(_ones(pattern @ reached))
        at, place = np.nonzero(stage.windows >= 0)
        inside = sparse.csc_array(
            (np.ones(len(at), dtype=np.int32), (at, stage.windows[at, place])),
            shape=(len(stage.windows), len(stage.bias)),
        )
        reached = _ones(inside @ units[-1])
        windows.append(reached)
    return _lists(units), _lists(windows)


def _ones(matrix: Any) -> sparse.csc_array:
    """The pattern of a matrix."""
    pattern: sparse.csc_array = sparse.csc_array(matrix)
    pattern.data = np.ones(pattern.nnz, dtype=np.int32)
    return pattern


def _lists(parts: list[sparse.csc_array]) -> Lists:
    """For each column the rows that it has, the parts' below each other."""
    matrix = sparse.csc_array(sparse.vstack(parts))
    matrix.sort_indices()
    return Lists(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32))
