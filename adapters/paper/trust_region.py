"""The step of an attack that follows the boundary: as near to the image as a linearised boundary and a trust region allow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.paper.attack import HIGH, LOW, NEGLIGIBLE

WEIGHTS = 8
"""Bisections of how far a step goes towards the image: to a 256th."""

MULTIPLIERS = 8
"""Newton's steps, at most, for the multiplier of the boundary; what they find is piecewise linear."""

FLATTEST = 0.1
"""The least slope that Newton's steps assume: where all values are at their ends there is none."""

MISSED = 0.05
"""The fraction of the way to the boundary, and of the radius, by which a step may miss."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """A linearised boundary, a trust region and the box, all for n points at once.

    Attributes:
        points: (n, values) in the box.
        back: (n, values) from the points to their images.
        normal: (n, values) of length 1.
        needed: (n, 1) what normal . step has to be.
        radii: (n, 1) the largest length of a step in L2.
        norm: ``l1``, ``l2`` or ``linf``: in which the image is to be near.
    """

    points: Tensor
    back: Tensor
    normal: Tensor
    needed: Tensor
    radii: Tensor
    norm: str

    def at(self, weights: Tensor, multipliers: Tensor) -> Tensor:
        """The step of some weights and multipliers.

        At a weight of 0 it is the shortest one in L2; at 1 the one that ends nearest to the image; in between it
        solves the trust region's problem for one radius. Along the boundary's normal it goes as far as its multiplier says.

        Args:
            weights: (n, 1), 0 to 1.
            multipliers: (n, 1).

        Returns:
            (n, values).
        """
        along, low, high = multipliers * self.normal, LOW - self.points, HIGH - self.points
        farthest = self.back.abs().amax(1, keepdim=True)
        if self.norm == "l2":
            return (weights * self.back + along).clamp(low, high)
        if self.norm == "linf":
            # A step may have to lead away from the image: at a weight of 0 the trust region alone limits it.
            left = (1 - weights) * (farthest + self.radii)
            return along.clamp(torch.maximum(low, self.back - left), torch.minimum(high, self.back + left))
        restored = 2 * weights * farthest
        return torch.minimum(torch.maximum(self.back, along - restored), along + restored).clamp(low, high)

    def reached(self, weights: Tensor, multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The steps of some weights that end at the boundary.

        Args:
            weights: (n, 1), 0 to 1.
            multipliers: (n, 1) to begin with.

        Returns:
            (n, values) steps; their multipliers; (n, 1) whether they end at the boundary and in the trust region.
        """
        below, above = torch.full_like(multipliers, -torch.inf), torch.full_like(multipliers, torch.inf)
        for _ in range(MULTIPLIERS):
            step = self.at(weights, multipliers)
            missing = self.needed - (self.normal * step).sum(1, keepdim=True)
            below = torch.where(missing > 0, multipliers, below)
            above = torch.where(missing > 0, above, multipliers)
            moved = self.at(weights, multipliers + self._small())
            slope = (self.normal * (moved - step)).sum(1, keepdim=True) / self._small()
            newton = multipliers + missing / slope.clamp(min=FLATTEST)
            middle = (below + above) / 2
            inside = (newton > below) & (newton < above)
            multipliers = torch.where(inside | ~middle.isfinite(), newton, middle)
        step = self.at(weights, multipliers)
        missing = (self.needed - (self.normal * step).sum(1, keepdim=True)).abs()
        fits = torch.linalg.vector_norm(step, 2, 1, keepdim=True) <= self.radii * (1 + MISSED)
        return step, multipliers, fits & (missing <= MISSED * self.needed.abs().maximum(MISSED * self.radii))

    def step(self) -> Tensor:
        """The step after which the image is nearest: (n, values), of length ``radii`` at most.

        Where the trust region does not hold the boundary, or the box keeps from it, the shortest step towards it.
        """
        weights = torch.zeros_like(self.needed)
        best, multipliers, _ = self.reached(weights, self.needed)
        whole, _, fits = self.reached(weights + 1, self.needed)
        best, low, high = torch.where(fits, whole, best), fits.to(weights), torch.ones_like(weights)
        for _ in range(WEIGHTS):
            weights = (low + high) / 2
            tried, multipliers, fits = self.reached(weights, multipliers)
            best = torch.where(fits, tried, best)
            low, high = torch.where(fits, weights, low), torch.where(fits, high, weights)
        lengths = torch.linalg.vector_norm(best, 2, 1, keepdim=True).clamp(min=NEGLIGIBLE)
        shortened: Tensor = best * (self.radii / lengths).clamp(max=1)
        return shortened

    def _small(self) -> Tensor:
        """A change of a multiplier over which the step is linear but for a few values."""
        return 1e-3 * self.radii


def boundary(points: Tensor, images: Tensor, normal: Tensor, *, needed: Tensor, radii: Tensor, norm: str) -> Boundary:
    """The problem of points at a linearised boundary.

    Args:
        points, images: (n, *shape) in the box.
        normal: (n, *shape) a gradient.
        needed: (n,) what gradient . step has to be. It is cut to what the trust region allows.
        radii: (n,) above 0.
        norm: ``l1``, ``l2`` or ``linf``.
    """
    flat = normal.flatten(1)
    size = torch.linalg.vector_norm(flat, 2, 1, keepdim=True).clamp(min=NEGLIGIBLE)
    reach = radii.unsqueeze(1)
    return Boundary(
        points.flatten(1),
        (images - points).flatten(1),
        flat / size,
        (needed.unsqueeze(1) / size).clamp(-reach, reach),
        reach,
        norm,
    )
