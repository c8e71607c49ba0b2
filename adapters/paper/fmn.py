"""FMN, a gradient attack, in L1 and L2."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.paper.attack import NEGLIGIBLE, Descent, Nearest, lead
from adapters.paper.projections import DUALS, in_ball, leaves_box, length


@dataclass(frozen=True, slots=True, kw_only=True)
class FMN(Descent):
    """FMN, the fast minimum-norm attack (arXiv:2102.12827, algorithm 1).

    Values at an end of the box that the gradient would take out of it do not count in the gradient: a step that the box cuts
    short would leave the others hardly moved.

    Attributes:
        norm: ``l1``, ``l2`` or ``linf``.
        steps: gradient steps.
        stepsize: alpha_0 in the paper: the L2 norm of the first step.
        last_stepsize: alpha_K in the paper; the steps fall to it by a cosine.
        gamma: gamma_0 in the paper: by what part epsilon shrinks or grows.
        last_gamma: gamma_K in the paper; gamma falls to it by a cosine.
        candidates: see :class:`.Descent`.
    """

    steps: int = 1000
    stepsize: float = 1.0
    last_stepsize: float = 1e-5
    gamma: float = 0.05
    last_gamma: float = 1e-4

    def descend(self, best: Nearest, classes: Tensor | None) -> None:
        """See :meth:`.Descent.descend`."""
        images, change = best.images, torch.zeros_like(best.images)
        radii = torch.full((len(images),), torch.inf, device=images.device)
        shortest = radii.clone()
        for step in range(self.steps):
            variable = change.detach().requires_grad_()
            logits = best.network(images + variable)
            ahead = lead(logits, best.labels, classes)
            (gradient,) = torch.autograd.grad(ahead.sum(), variable)
            gradient = gradient.masked_fill(leaves_box(images + change, gradient), 0.0)
            wrong, size = best.offer(images + change, logits=logits.detach()), length(change, self.norm)
            shortest = torch.where(wrong, torch.minimum(shortest, size), shortest)
            dual = torch.linalg.vector_norm(gradient.flatten(1), DUALS[self.norm], 1).clamp(min=NEGLIGIBLE)
            gamma = self._cosine(self.gamma, self.last_gamma, step)
            # Until something is found, the boundary of the linearised network says how far it is.
            missing = (ahead.detach().abs() + best.doubt) / dual
            further = torch.where(shortest.isfinite(), radii * (1 + gamma), size + missing)
            radii = torch.where(wrong, torch.minimum(radii * (1 - gamma), shortest), further)
            slope = length(gradient, "l2").clamp(min=NEGLIGIBLE)
            stepsize = self._cosine(self.stepsize, self.last_stepsize, step)
            change = in_ball(images, change + stepsize * gradient / spread(slope, gradient), radii, self.norm)

    def _cosine(self, first: float, last: float, step: int) -> float:
        return last + (first - last) * (1 + math.cos(math.pi * step / self.steps)) / 2
