"""FAB, a gradient attack in L1, L2 and Linf."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.margins import other_classes
from adapters.paper.attack import HIGH, LOW, NEGLIGIBLE, Nearest, Noise, PaperAttack
from adapters.paper.projections import length, on_hyperplane
from adapters.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class FAB(PaperAttack):
    """FAB, the fast adaptive boundary attack (arXiv:1907.02044, algorithm 1), towards one class after the other.

    Attributes:
        norm: ``l1``, ``l2`` or ``linf``.
        steps: of each start.
        restarts: how often each class is tried: once from the image, then from random points nearer to it than half of
            what was found.
        candidates: the maximum number of classes for an image: see :func:`adapters.margins.other_classes`.
        overshoot: eta in the paper: how far beyond the linearised boundary a step goes.
        bias: alpha_max in the paper: the largest weight of the image's own projection.
        backward: beta in the paper: what is left of an adversarial point's change, before the attack goes on from it.
        halvings: of the bisection between the image and the point found, at the end.
    """

    norm: str
    steps: int = 100
    restarts: int = 1
    candidates: int = 10
    overshoot: float = 1.05
    bias: float = 0.1
    backward: float = 0.9
    halvings: int = 10

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`.PaperAttack.run`."""
        best, noise = Nearest(network, images, labels, self.norm), Noise(images)
        others = other_classes(best.logits, labels, self.candidates)
        for restart in range(self.restarts):
            for classes in others.unbind(1):
                start = images
                if restart:
                    radii = torch.where(best.distances.isfinite(), best.distances / 2, 0.5)
                    start = (images + noise.inside(radii, self.norm)).clamp(LOW, HIGH)
                self._towards(best, classes, start)
        best.pull(self.halvings)
        return best.points

    def _towards(self, best: Nearest, classes: Tensor, start: Tensor) -> None:
        """One start towards one (n,) class for each image; what is found goes to ``best``."""
        images, current = best.images, start
        for _ in range(self.steps):
            gap, normal = best.towards(current, classes)
            to_image = (normal * (images - current)).flatten(1).sum(1)
            projected, of_image = self._projected(
                torch.cat([current, images]), torch.cat([normal, normal]), torch.cat([gap, gap + to_image])
            ).chunk(2)
            step, whole = projected - current, of_image - images
            near, far = length(step, self.norm), length(whole, self.norm)
            weight = spread((near / (near + far).clamp(min=NEGLIGIBLE)).clamp(max=self.bias), images)
            current = (1 - weight) * (current + self.overshoot * step) + weight * (images + self.overshoot * whole)
            current = current.clamp(LOW, HIGH)
            wrong = spread(best.offer(current), images)
            current = torch.where(wrong, images + self.backward * (current - images), current)

    def _projected(self, points: Tensor, normal: Tensor, gap: Tensor) -> Tensor:
        """The nearest points of the box where gap + normal . change is 0."""
        side = torch.where(gap > 0, -1.0, 1.0)
        return on_hyperplane(points, spread(side, normal) * normal, gap.abs(), self.norm)
