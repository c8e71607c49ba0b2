"""PDPGD, a gradient attack in L0, L1, L2 and Linf."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapters.paper.attack import HIGH, LOW, Descent, Nearest, lead
from adapters.paper.projections import proximal


@dataclass(frozen=True, slots=True, kw_only=True)
class PDPGD(Descent):
    """PDPGD, primal-dual proximal gradient descent (arXiv:2106.01538).

    The proximal step in Adam's metric is exact, where the paper takes five steps towards it.

    Attributes:
        norm: ``l0``, ``l1``, ``l2`` or ``linf``.
        steps: gradient steps.
        primal: the first learning rate of the change; it falls to a hundredth exponentially.
        dual: the first learning rate of the multipliers; it falls to a tenth linearly.
        averaging: of the multipliers.
        squares: of Adam's average of squared gradients.
        candidates: see :class:`Descent`.
    """

    steps: int = 500
    primal: float = 0.3
    dual: float = 0.03
    averaging: float = 0.9
    squares: float = 0.9

    def descend(self, best: Nearest, classes: Tensor | None) -> None:
        """See :meth:`Descent.descend`."""
        images = best.images
        change, first, second = (torch.zeros_like(images) for _ in range(3))
        dual = torch.zeros((len(images), 2), device=images.device)
        weights = dual.softmax(1)
        for step in range(self.steps):
            done = step / self.steps
            primal = self.primal * 0.01**done
            variable = change.detach().requires_grad_()
            logits = best.network(images + variable)
            behind = -lead(logits, best.labels, classes)
            (gradient,) = torch.autograd.grad((weights[:, 1] * nn.functional.softplus(behind)).sum(), variable)
            best.offer(images + change, logits=logits.detach())
            first = 0.9 * first + 0.1 * gradient
            second = self.squares * second + (1 - self.squares) * gradient.square()
            metric = (second / (1 - self.squares ** (step + 1))).sqrt() + 1e-8
            target = change - primal * first / (1 - 0.9 ** (step + 1)) / metric
            change = proximal(target, weights[:, 0] * primal, self.norm, metric)
            change = (images + change).clamp(LOW, HIGH) - images
            dual[:, 1] += self.dual * (1 - 0.9 * done) * behind.detach().sign()
            weights = self.averaging * weights + (1 - self.averaging) * dual.softmax(1)
