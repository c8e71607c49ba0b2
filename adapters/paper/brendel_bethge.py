"""Brendel-Bethge from many starts, a gradient attack in L1, L2 and Linf."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.margins import excess
from adapters.paper.attack import HIGH, LOW, Nearest, StartedAttack
from adapters.paper.trust_region import boundary
from adapters.view import View
from bench.domain import VALUES


@dataclass(frozen=True, slots=True, kw_only=True)
class BrendelBethge(StartedAttack):
    """Brendel-Bethge (arXiv:1907.01003), from each of the images that a problem offers to start from.

    From the boundary between the image and a start it follows the boundary. Its steps come as near to the image as the
    linearised boundary and a trust region allow.

    Attributes:
        norm: ``l1``, ``l2`` or ``linf``.
        steps: from each start.
        starts: the maximum number of starts for an image.
        radius: of the first trust region, as a fraction of the box's diagonal.
        halvings: how often the trust region is halved, at equal intervals.
        momentum: the weight of earlier gradients in the boundary's normal.
        overshoot: how far beyond the linearised boundary a step goes, in units of the way to it.
        bisections: between the image and a start, and between the image and the point found.
    """

    norm: str
    steps: int = 60
    starts: int = 16
    radius: float = 0.06
    halvings: int = 10
    momentum: float = 0.5
    overshoot: float = 1.1
    bisections: int = 10

    def run_from(self, network: View, images: Tensor, labels: Tensor, starts: Tensor) -> Tensor:
        """See :meth:`.StartedAttack.run_from`."""
        # All starts go through the network together; they count like images.
        together = max(1, VALUES // (self.starts * images[0].numel()))
        parts = (each.split(together) for each in (images, labels, starts))
        return torch.cat([self._run(network, *part) for part in zip(*parts, strict=True)])

    def _run(self, network: View, images: Tensor, labels: Tensor, starts: Tensor) -> Tensor:
        """The same, of a few images."""
        with torch.no_grad():
            classes = torch.stack([network(offered).argmax(1) for offered in starts.unbind(1)], 1)
        usable = (classes != labels.unsqueeze(1)) & ~starts.flatten(2).isnan().any(2)
        rows, columns = (usable & (usable.cumsum(1) <= self.starts)).nonzero(as_tuple=True)
        best = Nearest(network, images, labels, self.norm)
        if len(rows):
            each = Nearest(network, images[rows], labels[rows], self.norm)
            each.offer(starts[rows, columns])
            each.pull(self.bisections)
            self._follow(each)
            for column in columns.unique():
                chosen = columns == column
                best.offer(each.points[chosen], rows[chosen])
            best.pull(self.bisections)
        return best.points

    def _follow(self, each: Nearest) -> None:
        """Follow the boundary from the points that are known; what is nearer goes to ``each``."""
        images, current = each.images, each.points.clone()
        radii = torch.full_like(each.distances, self.radius * math.sqrt(images[0].numel()))
        every, normal = max(1, self.steps // self.halvings), None
        for step in range(1, self.steps + 1):
            variable = current.detach().requires_grad_()
            logits = each.network(variable)
            ahead = excess(logits, each.labels).amax(1)
            (gradient,) = torch.autograd.grad(ahead.sum(), variable)
            each.offer(current, logits=logits.detach())
            # A little less would be rounding, and might not count.
            ahead = ahead.detach() - each.doubt
            normal = gradient if normal is None else (1 - self.momentum) * gradient + self.momentum * normal
            # The step ends a little inside the other class, from either side.
            beyond = torch.where(ahead < 0, self.overshoot, 2 - self.overshoot)
            problem = boundary(current, images, normal, needed=-beyond * ahead, radii=radii, norm=self.norm)
            current = (current + problem.step().view_as(current)).clamp(LOW, HIGH)
            radii = radii / 2 if step % every == 0 else radii
