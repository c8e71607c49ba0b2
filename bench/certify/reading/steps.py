"""A network as a list of steps: affine maps of one or several values, and maxima over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray

Matrix = sparse.csr_array | FloatArray


@dataclass(frozen=True, slots=True)
class Value:
    """What a step gives, in a shape. Values of one step are the same numbers, and may share memory.

    Attributes:
        step: which step.
        shape: of one image's value.
    """

    step: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Affine:
    """``sum of map @ operand, plus bias``; without operands the image itself.

    Attributes:
        operands: earlier steps.
        maps: for each operand a (size, operand's size) matrix; None for the identity.
        bias: (size,) float64; None for 0.
        size: how many numbers it gives.
    """

    operands: tuple[int, ...]
    maps: tuple[Matrix | None, ...]
    bias: FloatArray | None
    size: int


@dataclass(frozen=True, slots=True)
class Maximum:
    """A maximum over windows of an earlier affine step.

    Attributes:
        operand: that step.
        windows: (size, width) int64 indices into it; -1 fills places without a unit.
        rectified: whether 0 takes part in every maximum.
    """

    operand: int
    windows: IntArray
    rectified: bool

    @property
    def size(self) -> int:
        """How many numbers it gives."""
        return len(self.windows)


Step = Affine | Maximum


@dataclass(slots=True)
class Steps:
    """The steps of a network so far; the first is the image."""

    taken: list[Step] = field(default_factory=list)

    def image(self, shape: tuple[int, ...]) -> Value:
        """The image itself: the first step."""
        return self._took(Affine((), (), None, int(np.prod(shape))), shape)

    def affine(
        self, values: Sequence[Value], maps: Sequence[Matrix | None], bias: FloatArray | None, shape: tuple[int, ...]
    ) -> Value:
        """``sum of map @ value, plus bias``, in a shape."""
        operands = tuple(value.step for value in values)
        return self._took(Affine(operands, tuple(maps), bias, int(np.prod(shape))), shape)

    def maximum(self, value: Value, windows: IntArray, *, rectified: bool, shape: tuple[int, ...]) -> Value:
        """Maxima over windows of a value: (outputs, width) indices into it, -1 where a window has fewer."""
        before = self.taken[value.step]
        if isinstance(before, Maximum):
            # A maximum of maxima is a maximum over the union of their windows.
            inner = np.vstack([before.windows, np.full(before.windows.shape[1], -1)])
            windows, rectified = inner[windows].reshape(len(windows), -1), rectified or before.rectified
            return self._took(Maximum(before.operand, windows, rectified), shape)
        return self._took(Maximum(value.step, windows, rectified), shape)

    def _took(self, step: Step, shape: tuple[int, ...]) -> Value:
        self.taken.append(step)
        return Value(len(self.taken) - 1, shape)
