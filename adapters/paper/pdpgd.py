"""PDPGD, a gradient attack in L0, L1, L2 and Linf."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapters.calls import spread
from adapters.paper.attack import HIGH, LOW, Descent, Nearest, lead
from adapters.paper.projections import proximal

LIMIT = math.log(1e6)
"""The margin's weight and the norm's differ by a factor of at most exp(LIMIT)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PDPGD(Descent):
    """PDPGD, primal-dual proximal gradient descent (arXiv:2106.01538).

    Attributes:
        norm: ``l0``, ``l1``, ``l2`` or ``linf``.
        steps: gradient steps.
        primal: the first learning rate of the change; it falls to a hundredth exponentially.
        dual: the first learning rate of the multipliers; it falls to a tenth linearly.
        ratio: the norm's weight over the margin's, at the beginning.
        averaging: of the multipliers.
        squares: of Adam's average of squared gradients.
        inner: steps of proximal Adam (arXiv:1910.10094) towards the proximal point in Adam's metric. That point itself would
            be another attack: values whose gradient is small would never move.
        candidates: see :class:`.Descent`.
    """

    steps: int = 500
    primal: float = 0.1
    dual: float = 0.1
    ratio: float = 0.01
    averaging: float = 0.9
    squares: float = 0.999
    inner: int = 5

    def descend(self, best: Nearest, classes: Tensor | None) -> None:
        """See :meth:`.Descent.descend`."""
        images = best.images
        change, first, second = (torch.zeros_like(images) for _ in range(3))
        dual = torch.zeros((len(images), 2), device=images.device)
        dual[:, 1] = -math.log(self.ratio)
        weights = dual.softmax(1)
        for step in range(self.steps):
            done = step / self.steps
            primal = self.primal * 0.01**done
            variable = change.detach().requires_grad_()
            logits = best.network(images + variable)
            behind = -lead(logits, best.labels, classes)
            (gradient,) = torch.autograd.grad(nn.functional.softplus(behind).sum(), variable)
            best.offer(images + change, logits=logits.detach())
            first = 0.9 * first + 0.1 * gradient
            second = self.squares * second + (1 - self.squares) * gradient.square()
            metric = (second / (1 - self.squares ** (step + 1))).sqrt() + 1e-8
            target = change - primal * first / (1 - 0.9 ** (step + 1)) / metric
            change = self._proximal(images, target, metric, primal * weights[:, 0] / weights[:, 1])
            dual[:, 1] += self.dual * (1 - 0.9 * done) * behind.detach().sign()
            dual[:, 1].clamp_(-LIMIT, LIMIT)
            weights = self.averaging * weights + (1 - self.averaging) * dual.softmax(1)

    def _proximal(self, images: Tensor, target: Tensor, metric: Tensor, weights: Tensor) -> Tensor:
        """Changes inside the box near the proximal points of targets, where the norm has (n,) weights."""
        largest = metric.flatten(1).amax(1)
        scaled = metric / spread(largest, metric)
        target = (images + target).clamp(LOW, HIGH) - images
        change = target
        for _ in range(self.inner):
            change = proximal(change - scaled * (change - target), weights / largest, self.norm)
            change = (images + change).clamp(LOW, HIGH) - images
        return change
