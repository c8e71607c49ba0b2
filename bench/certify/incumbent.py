"""The best adversarial example so far, as the float32 input that a judge will see, and an attack that looks for one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.certify.layers import FloatArray
from bench.domain import Domain
from bench.norms import Norm
from bench.problem import InUnitBox

_BISECTIONS = 26

_LONG, _STARTS = 200, 4
"""Steps of a long attack, and random points for each class that it starts from."""


class Incumbent:
    """The nearest adversarial example of one image so far.

    Points are flat and lie in the unit box; whether a point is adversarial is decided on the input that it stands for,
    rounded to float32 in the domain's own units, by the user's own network in float64.

    Attributes:
        network: (n, *shape) float64 unit points to logits.
        label: the true class.
        norm: what near means.
        shape: of an input.
        centre: (d,) float64, the image: the exact translation of the clean input to the unit box.
        clean: how far the best other class lies above the label at the image; negative.
        distance: of the nearest one in the unit box, float64; +inf before any is found.
        candidate: (d,) float64 unit point, the translation of a float32 input; None before any is found.
    """

    def __init__(self, network: nn.Module, clean: Tensor, label: int, norm: Norm, domain: Domain) -> None:
        """The start: nothing found.

        Args:
            network: (n, *shape) unit points to logits, in float64 (:func:`bench.certify.reading.in_double`).
            clean: (*shape) float32, the input in the domain's box.
            label: the true class.
            norm: what near means.
            domain: of the inputs.
        """
        self.network, self.label, self.norm, self.domain = network, label, norm, domain
        self.judge = network.network if isinstance(network, InUnitBox) else network
        self.shape = clean.shape
        self._input = clean.double().numpy()
        self.centre = self._points(clean.double()[None])[0]
        self.clean = float(self._excess(clean.double()[None])[0])
        self.distance = float("inf")
        self.candidate: FloatArray | None = None

    @torch.no_grad()
    def _excess(self, inputs: Tensor) -> Tensor:
        """How far the best other class lies above the label's: (n,) float64, adversarial where positive."""
        logits = self.judge(inputs.reshape(-1, *self.shape)).clone()
        own = logits[:, self.label].clone()
        logits[:, self.label] = -torch.inf
        excess: Tensor = logits.max(dim=1).values - own
        return excess

    def propose(self, points: FloatArray | Tensor, *, shrink: bool = True) -> bool:
        """Pull points back towards the image as far as they stay adversarial, and keep the nearest.

        Args:
            points: (n, d) float64 in the unit box; those that are not adversarial are passed over.
            shrink: whether to pull back; without it the points are taken as they are.

        Returns:
            Whether one of them is nearer than what was known.
        """
        points = torch.as_tensor(points, dtype=torch.float64)
        points = points[torch.isfinite(points).all(dim=1)].clamp(0.0, 1.0)
        points = points[self._excess(self._inputs(points)) > 0] if len(points) else points
        if not len(points):
            return False
        high = torch.ones(len(points), 1, dtype=torch.float64)
        if shrink and self.norm is not Norm.L0:
            low = torch.zeros_like(high)
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                wrong = self._excess(self._inputs(self.centre + middle * (points - self.centre)))[:, None] > 0
                low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        nearest = self._inputs(self.centre + high * (points - self.centre))
        found = self._points(nearest)
        distances = self.norm.of((found - self.centre).numpy())
        best = int(distances.argmin())
        if distances[best] >= self.distance or not float(self._excess(nearest[best][None])[0]) > 0:
            return False
        self.distance, self.candidate = float(distances[best]), found[best].numpy()
        return True

    def _inputs(self, points: Tensor) -> Tensor:
        """The float32 inputs, (n, *shape) as float64, of (n, d) points: unmoved values stay exactly those of the input."""
        shaped = points.reshape(-1, *self.shape).numpy()
        inputs = self.domain.from_unit(shaped, self._input, self.centre.reshape(self.shape).numpy())
        return torch.from_numpy(self.domain.clip(inputs.astype(np.float32)))

    def _points(self, inputs: Tensor) -> Tensor:
        """The unit points, (n, d) float64, of (n, *shape) inputs."""
        return torch.from_numpy(self.domain.to_unit(inputs.numpy())).reshape(len(inputs), -1)


def attack(incumbent: Incumbent, targets: list[int], starts: Tensor, steps: int) -> None:
    """Look for nearer adversarial examples with the fast minimum-norm attack (arXiv:2102.12827), L2, L1 and Linf.

    Args:
        incumbent: where to keep them.
        targets: for each start the class to move towards.
        starts: (n, d) float64 points to start from.
        steps: gradient steps.
    """
    norm, centre = incumbent.norm, incumbent.centre
    delta = (starts - centre).clone()
    rows = torch.arange(len(delta))
    chosen = torch.tensor(targets)
    order, dual_order = {Norm.LINF: (torch.inf, 1), Norm.L2: (2, 2), Norm.L1: (1, torch.inf)}[norm]
    radius = torch.full((len(delta),), torch.inf, dtype=torch.float64)
    best = torch.full_like(radius, torch.inf)
    kept = centre + delta
    for step in range(steps):
        shrink = 0.5 * (1 + np.cos(np.pi * step / steps))
        rate, factor = 1e-3 + shrink, 1e-3 + 0.05 * shrink
        points = (centre + delta).requires_grad_()
        logits = incumbent.network(points.reshape(-1, *incumbent.shape))
        margin = logits[rows, chosen] - logits[:, incumbent.label]
        (gradient,) = torch.autograd.grad(margin.sum(), points)
        margin, points = margin.detach(), points.detach()
        # Steps that the box undoes would use up the radius for nothing.
        gradient = gradient.masked_fill(((points <= 0) & (gradient < 0)) | ((points >= 1) & (gradient > 0)), 0.0)
        size = torch.linalg.vector_norm(delta, ord=order, dim=1)
        wrong = margin > 0
        nearer = wrong & (size < best)
        best = torch.where(nearer, size, best)
        kept = torch.where(nearer[:, None], points, kept)
        dual = torch.linalg.vector_norm(gradient, ord=dual_order, dim=1).clamp_min(1e-12)
        outward = torch.where(best.isinf(), size + margin.abs() / dual, radius * (1 + factor))
        radius = torch.where(wrong, torch.minimum(radius, best) * (1 - factor), outward)
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).clamp_min(1e-12)
        delta = delta + rate * gradient / length
        if norm is Norm.LINF:
            delta = torch.clamp(delta, -radius[:, None], radius[:, None])
        elif norm is Norm.L1:
            delta = _onto_l1_ball(delta, radius)
        else:
            size = torch.linalg.vector_norm(delta, dim=1, keepdim=True).clamp_min(1e-12)
            delta = delta * torch.clamp(radius[:, None] / size, max=1.0)
        delta = torch.clamp(centre + delta, 0.0, 1.0) - centre
    if bool(best.isfinite().any()):
        incumbent.propose(kept[best.isfinite()])


def attack_around(incumbent: Incumbent, targets: list[int]) -> None:
    """Look at length for nearer adversarial examples: from the image, then from random points as far as the nearest one.

    Where a search up to the exact distance follows, every example that is nearer saves much of it. The points are the
    same for every call.

    Args:
        incumbent: where to keep them.
        targets: classes to move towards.
    """
    centre = incumbent.centre
    attack(incumbent, targets, centre.repeat(len(targets), 1), _LONG)
    if not np.isfinite(incumbent.distance):
        return
    repeated = targets * _STARTS
    moves = np.random.default_rng(0).standard_normal((len(repeated), len(centre)))
    moves *= incumbent.distance / incumbent.norm.of(moves)[:, None]
    attack(incumbent, repeated, (centre + torch.from_numpy(moves)).clamp(0.0, 1.0), _LONG)


def _onto_l1_ball(moves: Tensor, radius: Tensor) -> Tensor:
    """The nearest points, (n, d), of L1 balls of (n,) radii; what every value loses is found by sorting (Duchi 2008)."""
    sizes = moves.abs()
    sums = sizes.sort(dim=1, descending=True).values.cumsum(dim=1) - radius[:, None]
    ranks = torch.arange(1, moves.shape[1] + 1, dtype=moves.dtype)
    lost = (sums / ranks).max(dim=1, keepdim=True).values.clamp_min(0.0)
    return moves.sign() * (sizes - lost).clamp_min(0.0)
