"""A network as plain arrays: affine maps and maxima over windows, nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stage:
    """An affine map, then a maximum over windows: ``z = weight x + bias``, ``p_w = max(z_i for i in window w)``.

    Where ``rectified``, each maximum also includes 0. A plain ReLU layer has windows of one unit. ReLU and
    max-pooling commute, so either order of the two reads as one stage.

    Attributes:
        weight: (units, inputs) float64, CSR where it comes from a convolution.
        bias: (units,) float64.
        windows: (outputs, width) int64 indices into the units; -1 fills places without a unit.
        rectified: whether 0 takes part in every maximum.
    """

    weight: sparse.csr_array | FloatArray
    bias: FloatArray
    windows: IntArray
    rectified: bool

    @property
    def is_relu(self) -> bool:
        """Whether this is an affine map followed by a plain ReLU on each unit."""
        units = len(self.bias)
        return self.rectified and self.windows.shape == (units, 1) and bool((self.windows[:, 0] == range(units)).all())

    def activate(self, units: FloatArray) -> FloatArray:
        """The maxima, (n, outputs), of (n, units) values."""
        floor = 0.0 if self.rectified else -np.inf
        highest: FloatArray = np.where(self.windows >= 0, units[:, self.windows], floor).max(axis=2).clip(min=floor)
        return highest


@dataclass(frozen=True, slots=True)
class PlainNetwork:
    """A network as arrays: stages, then a last affine map to the logits. Inputs are flat.

    Attributes:
        stages: the hidden layers, from the input on.
        weight: (classes, last stage's outputs) float64.
        bias: (classes,) float64.
    """

    stages: tuple[Stage, ...]
    weight: FloatArray
    bias: FloatArray

    @property
    def inputs(self) -> int:
        """How many values an image has."""
        return int(self.stages[0].weight.shape[1] if self.stages else self.weight.shape[1])

    def logits(self, images: FloatArray) -> FloatArray:
        """The logits, (n, classes), of (n, inputs) flat images."""
        values = images
        for stage in self.stages:
            values = stage.activate((stage.weight @ values.T).T + stage.bias)
        return values @ self.weight.T + self.bias

    def in_unit_box(self, low: FloatArray, width: FloatArray) -> PlainNetwork:
        """The network of unit points u that gives the logits of the input ``low + width * u``.

        Args:
            low: (inputs,) float64, the low ends of the box.
            width: (inputs,) float64, its widths; 0 for a value that the box leaves no choice.
        """
        if not self.stages:
            weight, bias = _folded(self.weight, self.bias, low, width)
            return replace(self, weight=dense(weight), bias=bias)
        first, *others = self.stages
        weight, bias = _folded(first.weight, first.bias, low, width)
        return replace(self, stages=(replace(first, weight=weight, bias=bias), *others))

    @property
    def digest(self) -> str:
        """A fingerprint of every number in it."""
        found = hashlib.sha256()
        for stage in self.stages:
            weight = stage.weight
            parts = [weight] if isinstance(weight, np.ndarray) else [weight.data, weight.indices, weight.indptr]
            for part in (*parts, stage.bias, stage.windows):
                found.update(f"{part.shape}{part.dtype}".encode())
                found.update(np.ascontiguousarray(part).tobytes())
            found.update(f"{weight.shape}{stage.rectified}".encode())
        found.update(self.weight.tobytes() + self.bias.tobytes())
        return found.hexdigest()

    def margin(self, label: int, target: int) -> tuple[FloatArray, float]:
        """Row and constant of ``logit[target] - logit[label]`` on the last stage's outputs."""
        return self.weight[target] - self.weight[label], float(self.bias[target] - self.bias[label])


def dense(weight: sparse.csr_array | FloatArray) -> FloatArray:
    """A weight as a dense matrix."""
    return weight if isinstance(weight, np.ndarray) else weight.toarray()


def _folded(
    weight: sparse.csr_array | FloatArray, bias: FloatArray, low: FloatArray, width: FloatArray
) -> tuple[sparse.csr_array | FloatArray, FloatArray]:
    """Weight and bias on u of ``weight (low + width * u) + bias``.

    A box far from 0 makes the new bias a small difference of large terms: they are summed in extended precision, so
    that it is right to float64 rounding and the slack of bounds, which is made for |u| <= 1, covers it.
    """
    wide = low.astype(np.longdouble)
    if isinstance(weight, np.ndarray):
        moved = np.concatenate(
            [part.astype(np.longdouble) @ wide for part in np.array_split(weight, 1 + len(weight) // 64)]
        )
        return weight * width, np.asarray(moved + bias, dtype=np.float64)
    terms = sparse.csr_array((weight.data * wide[weight.indices], weight.indices, weight.indptr), shape=weight.shape)
    moved = terms @ np.ones(weight.shape[1], dtype=np.longdouble)
    scaled = weight.data * width[weight.indices]
    return (
        sparse.csr_array((scaled, weight.indices, weight.indptr), shape=weight.shape),
        np.asarray(moved + bias, dtype=np.float64),
    )
