"""The norms of the bench: the one place that knows what a distance is."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Measure = Callable[[FloatArray], FloatArray]

L0_TOLERANCE = 1e-4
"""A value that changes by no more than this many widths of the box counts as unchanged in L0 (if the judge's witness agrees).

It lies far above the rounding of attacks that work in tanh space (about 1e-6) and far below one level of an 8-bit image
(1/255 = 4e-3).
"""


def _l0(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.count_nonzero(rows, axis=1).astype(np.float64)
    return lengths


def _l1(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.abs(rows).sum(axis=1)
    return lengths


def _l2(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.sqrt(np.square(rows).sum(axis=1))
    return lengths


def _linf(rows: FloatArray) -> FloatArray:
    lengths: FloatArray = np.abs(rows).max(axis=1, initial=0.0)
    return lengths


class Norm(StrEnum):
    """A way to measure the size of a change; its members are the records' distance columns.

    Attributes:
        label: how tables and plots print it.
        unit: what it sums up, of a change; distances are in the data's own units.
        measure: from the differences (n, d) to the distances (n,).
        counts: whether distances are whole numbers, without a unit.
    """

    label: str
    unit: str
    counts: bool
    measure: Measure

    def __new__(cls, value: str, label: str = "", unit: str = "", measure: Measure = _l2, counts: bool = False) -> Self:
        """A member with its attributes; ``Norm("l2")`` looks one up."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.unit = unit
        member.counts = counts
        member.measure = measure
        return member

    L0 = ("l0", "L0", "number of changed values", _l0, True)
    L1 = ("l1", "L1", "sum of all changes", _l1)
    L2 = ("l2", "L2", "Euclidean length of the change", _l2)
    LINF = ("linf", "Linf", "largest change of a value", _linf)

    def of(self, differences: ArrayLike) -> FloatArray:
        """The norm of each row's difference.

        Args:
            differences: (n, ...) array of ``candidate - image``.

        Returns:
            (n,) float64. L0 counts every value that is not exactly 0; for images of several channels each
            channel counts by itself, as in ART and Foolbox. NaN gives NaN in the other norms.
        """
        rows = np.asarray(differences, dtype=np.float64)
        return self.measure(rows.reshape(len(rows), -1))


def distances(differences: ArrayLike) -> dict[Norm, FloatArray]:
    """Every norm of (n, ...) differences, computed in float64: for each ``Norm`` an (n,) array."""
    return {norm: norm.of(differences) for norm in Norm}
