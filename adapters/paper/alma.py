"""ALMA, a gradient attack in L1 and L2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.paper.attack import HIGH, LOW, NEGLIGIBLE, Descent, Nearest, lead
from adapters.paper.projections import length

SMALLEST, LARGEST = 1e-6, 1e12
"""The multipliers' limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ALMA(Descent):
    """ALMA, the augmented Lagrangian attack (arXiv:2011.11857, algorithm 2).

    Attributes:
        norm: ``l1`` or ``l2``.
        steps: gradient steps.
        first_step: epsilon in the paper: the norm of the first change.
        last_rate: what is left of the learning rate at the last step.
        penalty: the first rho.
        growth: gamma in the paper: by how much rho grows where the constraint does not improve.
        patience: M in the paper: after how many steps that is looked at.
        progress: tau in the paper: the constraint has improved where it is below this part of what it was.
        averaging: alpha in the paper: of the multiplier's exponential average.
        squares: of the average of squared gradients (RMSProp).
        momentum: of the steps.
        candidates: see :class:`.Descent`.
    """

    steps: int = 1000
    first_step: float = 0.1
    last_rate: float = 0.01
    penalty: float = 1.0
    growth: float = 1.2
    patience: int = 10
    progress: float = 0.95
    averaging: float = 0.9
    squares: float = 0.99
    momentum: float = 0.9

    def descend(self, best: Nearest, classes: Tensor | None) -> None:
        """See :meth:`.Descent.descend`."""
        images, labels = best.images, best.labels
        ones = torch.ones(len(images), device=images.device)
        multiplier, rho, rate = ones.clone(), self.penalty * ones, ones.clone()
        found_at = torch.full_like(ones, self.steps)
        change, velocity, squares = torch.zeros_like(images), torch.zeros_like(images), torch.ones_like(images)
        reference, satisfied = torch.zeros_like(ones), ones < 0
        for step in range(self.steps):
            variable = change.detach().requires_grad_()
            logits = best.network(images + variable)
            behind = _relative_margin(logits, labels, classes)
            wrong = best.offer(images + change, logits=logits.detach())
            found_at = torch.where(wrong & (found_at == self.steps), float(step), found_at)
            satisfied |= wrong
            value = behind.detach()
            if step == 0:
                reference = value
            elif step % self.patience == 0:
                stuck = ~satisfied & (value > self.progress * reference)
                rho = torch.where(stuck, rho * self.growth, rho)
                reference, satisfied = value, ones < 0
            multiplier = self.averaging * multiplier + (1 - self.averaging) * _slope(value, rho, multiplier)
            multiplier = multiplier.clamp(SMALLEST, LARGEST)
            # The derivative of distance + penalty: that of the penalty at the new multiplier.
            distance = length(variable, self.norm)
            (gradient,) = torch.autograd.grad((distance + _slope(value, rho, multiplier) * behind).sum(), variable)
            squares = self.squares * squares + (1 - self.squares) * gradient.square()
            scaled = gradient / (squares.sqrt() + 1e-8)
            if step == 0:
                # The learning rate is the one whose first step is as long as it is to be.
                rate = self.first_step / length(scaled, self.norm).clamp(min=NEGLIGIBLE)
            velocity = self.momentum * velocity + scaled
            since = ((step - found_at) / (self.steps - found_at).clamp(min=1)).clamp(min=0)
            moved = change - spread(rate * self.last_rate**since, change) * velocity
            change = (images + moved).clamp(LOW, HIGH) - images


def _relative_margin(logits: Tensor, labels: Tensor, classes: Tensor | None) -> Tensor:
    """DLR+ of the paper: the label's lead, in units of the first logit's over the third.

    Args:
        logits: (n, classes).
        labels: (n,) int64.
        classes: (n,) int64 the other classes; None for the best other one.
    """
    behind = -lead(logits, labels, classes)
    if logits.shape[1] < 3:
        return behind
    top = logits.topk(3, 1).values
    return behind / (top[:, 0] - top[:, 2]).clamp(min=NEGLIGIBLE)


def _slope(value: Tensor, rho: Tensor, multiplier: Tensor) -> Tensor:
    """The derivative of the penalty P2 of the paper with respect to the constraint's value."""
    inside = multiplier / (1 - rho * value.clamp(max=0)).square()
    outside = multiplier * (1 + 2 * rho * value.clamp(min=0)) + rho.square() * value.clamp(min=0).square() / 2
    return torch.where(value < 0, inside, outside)
