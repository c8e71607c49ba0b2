"""The norms of the bench: the one place that knows what a distance is."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

L0_TOLERANCE = 1e-4
"""A value that changes by no more than this counts as unchanged in L0 (if the judge's witness agrees).

It lies far above the rounding of attacks that work in tanh space (about 1e-6) and far below one grey
level (1/255 = 4e-3).
"""


class Norm(StrEnum):
    """A way to measure the size of a change; its members are the records' distance columns.

    Attributes:
        label: how tables and plots print it.
        unit: what a distance of 1 is.
        tolerance: a per-value change up to this size counts as none.
    """

    label: str
    unit: str
    tolerance: float

    def __new__(cls, value: str, label: str = "", unit: str = "", tolerance: float = 0.0) -> Self:
        """A member with its attributes; ``Norm("l2")`` looks one up."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.unit = unit
        member.tolerance = tolerance
        return member

    L0 = ("l0", "L0", "pixels changed", L0_TOLERANCE)
    L1 = ("l1", "L1", "sum of grey-level changes, black to white = 1")
    L2 = ("l2", "L2", "Euclidean grey-level change, black to white = 1")
    LINF = ("linf", "Linf", "largest grey-level change, black to white = 1")

    def of(self, differences: ArrayLike) -> FloatArray:
        """The norm of each row's difference.

        Args:
            differences: (n, ...) array of ``candidate - image``.

        Returns:
            (n,) float64. L0 counts every value that is not exactly 0; for images of several channels each
            channel counts by itself, as in ART and Foolbox. NaN gives NaN in L1, L2 and Linf.
        """
        rows = np.asarray(differences, dtype=np.float64)
        return _MEASURES[self](rows.reshape(len(rows), -1))


_MEASURES: dict[Norm, Callable[[FloatArray], FloatArray]] = {
    Norm.L0: lambda rows: np.count_nonzero(rows, axis=1).astype(np.float64),
    Norm.L1: lambda rows: np.abs(rows).sum(axis=1),
    Norm.L2: lambda rows: np.sqrt(np.square(rows).sum(axis=1)),
    Norm.LINF: lambda rows: np.abs(rows).max(axis=1, initial=0.0),
}


def distances(images: ArrayLike, candidates: ArrayLike) -> dict[Norm, FloatArray]:
    """Every norm of ``candidates - images``, computed in float64.

    Args:
        images: (n, ...) clean images.
        candidates: (n, ...) array of the same shape.

    Returns:
        For each ``Norm`` an (n,) float64 array.

    Raises:
        ValueError: the shapes differ.
    """
    clean, changed = np.asarray(images, dtype=np.float64), np.asarray(candidates, dtype=np.float64)
    if clean.shape != changed.shape:
        raise ValueError(f"images {clean.shape} and candidates {changed.shape} differ in shape")
    return {norm: norm.of(changed - clean) for norm in Norm}


def without_small_changes(images: ArrayLike, candidates: ArrayLike) -> NDArray[np.float64]:
    """The candidates with every change of at most ``L0_TOLERANCE`` put back: the witness of an L0 distance.

    Args:
        images: (n, ...) clean images.
        candidates: (n, ...) array of the same shape.

    Returns:
        (n, ...) float64.
    """
    clean, changed = np.asarray(images, dtype=np.float64), np.asarray(candidates, dtype=np.float64)
    return np.where(np.abs(changed - clean) <= L0_TOLERANCE, clean, changed)
