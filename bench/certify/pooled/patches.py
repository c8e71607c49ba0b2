"""Windows as dense blocks: each with the weights of its members on its own patch of the inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray, Stage


class Patches(NamedTuple):
    """The windows of a stage as dense blocks over the inputs that each of them sees.

    Attributes:
        inputs: (p, s) int64, the inputs of each window, filled up by repeating 0 where there are fewer.
        weight: (p, k, s) float64, the members' weights on them, 0 where filled up.
        bias: (p, k) float64, the members' biases; -inf for members that a window does not have.
        pixels: (p, t) int64, the pixels that each window depends on, filled up by -1.
        groups: (p,) int64: windows with the same inputs have the same number.
    """

    inputs: IntArray
    weight: FloatArray
    bias: FloatArray
    pixels: IntArray
    groups: IntArray

    @classmethod
    def of(cls, stage: Stage, before: Patches | None) -> Patches:
        """The patches of a stage; ``before`` are those of the stage it follows, None for the first."""
        matrix = sparse.csr_array(stage.weight)
        members = stage.windows
        starts, ends = matrix.indptr[members], matrix.indptr[members + 1]
        seen = [
            np.unique(np.concatenate([matrix.indices[a:b] for a, b, m in zip(s, e, row, strict=True) if m >= 0]))
            for s, e, row in zip(starts, ends, members, strict=True)
        ]
        size = max(len(one) for one in seen)
        # Inputs that see the same pixels stand together, so that their sums over those pixels can be formed at once.
        if before is not None:
            seen = [one[np.argsort(before.groups[one], kind="stable")] for one in seen]
        inputs = np.zeros((len(seen), size), dtype=np.int64)
        weight = np.zeros((*members.shape, size))
        for w, one in enumerate(seen):
            inputs[w, : len(one)] = one
            for k, member in enumerate(members[w]):
                if member >= 0:
                    span = slice(matrix.indptr[member], matrix.indptr[member + 1])
                    order = np.argsort(one)
                    at = order[np.searchsorted(one, matrix.indices[span], sorter=order)]
                    weight[w, k, at] = matrix.data[span]
        bias = np.where(members >= 0, stage.bias[members], -np.inf)
        if before is None:
            pixels = [one.astype(np.int64) for one in seen]
        else:
            reached = (before.pixels[one] for one in seen)
            pixels = [np.unique(one[one >= 0]) for one in reached]
        table = np.full((len(seen), max(len(one) for one in pixels)), -1, dtype=np.int64)
        for w, one in enumerate(pixels):
            table[w, : len(one)] = one
        _, groups = np.unique(inputs, axis=0, return_inverse=True)
        return cls(inputs, weight, bias, table, groups.reshape(-1).astype(np.int64))
