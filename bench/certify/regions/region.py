"""A region: a ball of a norm around an image, cut by the box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from bench.certify.regions.rounding import FloatArray, slack
from bench.certify.regions.support import CODES, Ball, BoolArray, suprema
from bench.norms import Norm

_SMALL_BOXES = (Norm.LINF, Norm.L1)
"""Norms in which no value of a ball moves by more than the radius, and whose regions' boxes say so."""


@dataclass(frozen=True, slots=True)
class Region:
    """A ball around an image, cut by the box.

    Attributes:
        norm: of the ball.
        centre: (d,) float64, the image.
        radius: the ball's radius; for L0 how many pixels may change.
        low, high: (d,) float64, the box as moves away from the centre; for Linf it is the ball too; for L1 it holds it.
        chosen: (d,) bool, L0 only: pixels that are free to move and do not count towards the radius.
    """

    norm: Norm
    centre: FloatArray
    radius: float
    low: FloatArray
    high: FloatArray
    chosen: BoolArray

    @classmethod
    def ball(cls, norm: Norm, centre: FloatArray, radius: float) -> Self:
        """The ball of a radius around an image in [0, 1], cut by that box."""
        low, high = -centre, 1.0 - centre
        if norm in _SMALL_BOXES:
            low, high = np.maximum(low, -radius), np.minimum(high, radius)
        return cls(norm, centre, radius, low, high, np.zeros(len(centre), dtype=np.bool_))

    def resized(self, radius: float) -> Self:
        """The same ball with another radius."""
        if self.norm in _SMALL_BOXES:
            return self.ball(self.norm, self.centre, radius)
        return replace(self, radius=radius)

    @property
    def arguments(self) -> Ball:
        """The region as the kernels take it."""
        return Ball(CODES[self.norm], self.low, self.high, float(self.radius), self.chosen)

    def suprema(self, rows: FloatArray, constants: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Upper bounds of ``row.x + constant`` over the region.

        Args:
            rows: (n, d) float64.
            constants: (n,) float64.

        Returns:
            (n,) upper bounds, slack included, and (n, d) points of the region that (nearly) reach them.
        """
        moves = np.empty_like(rows)
        values = suprema(self.arguments, np.ascontiguousarray(rows), moves)
        values += rows @ self.centre + constants
        return values + slack(rows, constants), self.centre + moves

    def reach(self, row: FloatArray, constant: float) -> float:
        """A radius, at most the region's, below which ``row.x + constant`` is certainly negative.

        Args:
            row: (d,) float64.
            constant: of the linear function.

        Returns:
            The region's radius where the function is negative all over the region; 0 where it is not even negative
            at the centre. For L0 the radius is a whole number of pixels.
        """

        def negative(region: Region) -> bool:
            return float(region.suprema(row[None], np.array([constant]))[0][0]) < 0

        return self.largest(negative, 1e-6)

    def largest(self, holds: Callable[[Region], bool], precision: float) -> float:
        """The largest radius, at most the region's, at which something holds that holds at every smaller one.

        Args:
            holds: asked of regions that differ from this one in their radius.
            precision: how close to come, as a fraction of the region's radius.

        Returns:
            The radius, from below; a whole number for L0; 0 where it holds nowhere.
        """
        if holds(self):
            return self.radius
        if self.norm is Norm.L0:
            return float(next((k for k in range(int(self.radius) - 1, 0, -1) if holds(self.resized(k))), 0))
        low, high = 0.0, self.radius
        while high - low > precision * self.radius:
            middle = (low + high) / 2
            low, high = (middle, high) if holds(self.resized(middle)) else (low, middle)
        return low
