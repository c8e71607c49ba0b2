"""Minimal APGD_t, a gradient attack in L1, L2 and Linf."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.margins import other_classes
from adapters.paper.attack import NEGLIGIBLE, Nearest, Noise, PaperAttack, lead
from adapters.paper.projections import DUALS, in_ball, length
from adapters.view import View

GAIN = 0.005
"""A class, or another start, is given up where it finds nothing nearer by this part of the distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalAPGD(PaperAttack):
    """APGD towards one class after the other (arXiv:2003.01690; L1: arXiv:2103.01208), in a bisection over the radius.

    Attributes:
        norm: ``l1``, ``l2`` or ``linf``.
        steps: of APGD in each ball.
        halvings: the maximum number of balls for each class and start.
        restarts: how often each class is tried: once from the image, then from random points of the ball.
        candidates: the maximum number of classes for an image: see :func:`adapters.margins.other_classes`.
        momentum: alpha in the paper.
        fraction: rho in the paper: the step is halved where fewer than this fraction of steps raise the loss.
    """

    norm: str
    steps: int = 20
    halvings: int = 10
    restarts: int = 1
    candidates: int = 10
    momentum: float = 0.75
    fraction: float = 0.75

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`.PaperAttack.run`."""
        best, noise = Nearest(network, images, labels, self.norm), Noise(images)
        others = other_classes(best.logits, labels, self.candidates)
        for restart in range(self.restarts):
            for classes in others.unbind(1):
                self._bisect(best, classes, noise if restart else None)
        best.pull(self.halvings)
        return best.points

    def _bisect(self, best: Nearest, classes: Tensor, noise: Noise | None) -> None:
        """The smallest balls in which one (n,) class for each image is found."""
        ahead, gradient = best.towards(best.images, classes)
        slope = torch.linalg.vector_norm(gradient.flatten(1), DUALS[self.norm], 1).clamp(min=NEGLIGIBLE)
        widest = length(torch.ones_like(best.images), self.norm)
        known = best.distances.isfinite()
        radii = torch.where(known, (1 - GAIN) * best.distances, torch.minimum(2 * ahead.abs() / slope, widest))
        low, rows = torch.zeros_like(radii), torch.arange(len(radii), device=radii.device)
        start = torch.zeros_like(best.images) if noise is None else noise.inside(radii, self.norm)
        for _ in range(self.halvings):
            self._ascend(best, _Balls(rows, classes[rows], radii[rows]), start[rows])
            reached = best.distances <= radii * (1 + 1e-5)
            low = torch.where(reached, low, radii)
            radii = torch.where(best.distances.isfinite(), (low + best.distances) / 2, (2 * radii).minimum(widest))
            rows = rows[(low < (1 - GAIN) * best.distances * (1 - 1e-6))[rows]]
            start = torch.where(spread(best.distances.isfinite(), start), best.points - best.images, start)
            if not len(rows):
                break

    def _ascend(self, best: Nearest, balls: _Balls, change: Tensor) -> None:
        """APGD in balls around some of the images; what is found goes to ``best``."""
        images, radii = best.images[balls.rows], balls.radii
        change = in_ball(images, change, radii, self.norm)
        loss, gradient = balls.loss(best, change)
        top, top_change, top_gradient, previous = loss, change, gradient, change
        step, rises = 2 * radii, torch.zeros_like(radii)
        sparsity = torch.full_like(radii, max(1.0, 0.05 * images[0].numel()))
        last_top, last_halved = top, torch.zeros_like(radii, dtype=torch.bool)
        ends = dict(self._checkpoints())
        for number in range(1, self.steps):
            moved = change + spread(step, change) * self._steepest(gradient, sparsity)
            moved = in_ball(images, moved, radii, self.norm)
            momentum = self.momentum if number > 1 else 1.0
            moved = change + momentum * (moved - change) + (1 - momentum) * (change - previous)
            previous, change, before = change, in_ball(images, moved, radii, self.norm), loss
            loss, gradient = balls.loss(best, change)
            rises = rises + (loss > before)
            better = loss > top
            top = torch.where(better, loss, top)
            top_change = torch.where(spread(better, change), change, top_change)
            top_gradient = torch.where(spread(better, change), gradient, top_gradient)
            if number not in ends:
                continue
            if self.norm == "l1":
                fewer = (length(top_change, "l0") / 1.5).clamp(min=1)
                halved = fewer > 0.95 * sparsity
                step = torch.where(halved, (step / 1.5).maximum(radii / 5), 2 * radii)
                sparsity = fewer
            else:
                halved = (rises < self.fraction * ends[number]) | (~last_halved & (top == last_top))
                step = torch.where(halved, step / 2, step)
            last_top, last_halved, rises = top, halved, torch.zeros_like(rises)
            again = spread(halved, change)
            change, previous = torch.where(again, top_change, change), torch.where(again, top_change, previous)
            gradient, loss = torch.where(again, top_gradient, gradient), torch.where(halved, top, loss)

    def _checkpoints(self) -> list[tuple[int, int]]:
        """The steps at which the step size is looked at, and how many steps since the last."""
        if self.norm == "l1":
            every = max(1, round(0.04 * self.steps))
            return [(number, every) for number in range(every, self.steps, every)]
        parts = [0.0, 0.22]
        while parts[-1] < 1:
            parts.append(parts[-1] + max(parts[-1] - parts[-2] - 0.03, 0.06))
        steps = sorted({-int(-part * self.steps // 1) for part in parts})
        return [(after, after - before) for before, after in pairwise(steps)]

    def _steepest(self, gradient: Tensor, sparsity: Tensor) -> Tensor:
        """The direction of length 1 in which a step begins; in L1 along the (n,) largest derivatives."""
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l2":
            return gradient / spread(length(gradient, "l2").clamp(min=NEGLIGIBLE), gradient)
        sizes = gradient.flatten(1).abs()
        last = sizes.sort(1, descending=True).values.gather(
            1, sparsity.long().clamp(max=sizes.shape[1]).unsqueeze(1) - 1
        )
        chosen = ((sizes >= last) & (sizes > 0)).view_as(gradient) * gradient.sign()
        return chosen / spread(length(chosen, "l1").clamp(min=1), chosen)


@dataclass(frozen=True, slots=True)
class _Balls:
    """Balls around some images, and the class that is wanted there.

    Attributes:
        rows: (m,) which images.
        classes: (m,).
        radii: (m,).
    """

    rows: Tensor
    classes: Tensor
    radii: Tensor

    def loss(self, best: Nearest, change: Tensor) -> tuple[Tensor, Tensor]:
        """The targeted DLR loss at some (m, ...) changes, and its gradient; what is adversarial goes to ``best``."""
        variable = (best.images[self.rows] + change).detach().requires_grad_()
        logits = best.network(variable)
        loss = lead(logits, best.labels[self.rows], self.classes)
        # With fewer than four classes the loss is the margin itself.
        if logits.shape[1] > 3:
            top = logits.topk(4, 1).values
            loss = loss / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp(min=NEGLIGIBLE)
        (gradient,) = torch.autograd.grad(loss.sum(), variable)
        best.offer(variable.detach(), self.rows, logits.detach())
        return loss.detach(), gradient
