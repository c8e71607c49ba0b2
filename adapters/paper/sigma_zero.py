"""sigma-zero, a gradient attack in L0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.margins import adversarial, excess, size
from adapters.paper.attack import HIGH, LOW, NEGLIGIBLE, PaperAttack
from adapters.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaZero(PaperAttack):
    """sigma-zero, a gradient attack in L0 (arXiv:2402.01879, algorithm 1).

    Attributes:
        steps: gradient steps.
        stepsize: Adam's first learning rate; it falls to a tenth by a cosine.
        sigma: the smoothing of the L0 norm.
        threshold: the first threshold below which a change is set to zero.
        threshold_step: how fast the threshold moves, times the current learning rate.
    """

    steps: int = 1000
    stepsize: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_step: float = 0.01

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`.PaperAttack.run`."""
        change = torch.zeros_like(images)
        first, second = torch.zeros_like(images), torch.zeros_like(images)
        threshold = torch.full((len(images),), self.threshold, device=images.device)
        best, fewest = images.clone(), torch.full((len(images),), math.inf, device=images.device)
        clean = torch.zeros(len(images), device=images.device)
        for step in range(self.steps):
            cosine = (1 + math.cos(math.pi * step / self.steps)) / 2
            rate = self.stepsize * (0.1 + 0.9 * cosine)
            variable = change.detach().requires_grad_()
            logits = network(images + variable)
            gap = excess(logits, labels).amax(1)
            squares = variable.square()
            sparsity = (squares / (squares + self.sigma)).flatten(1).mean(1)
            (gradient,) = torch.autograd.grad(((-gap).clamp(min=0) + sparsity).sum(), variable)
            clean = size(logits) if step == 0 else clean
            wrong = adversarial(logits, labels, clean)
            pixels = change.flatten(1).count_nonzero(1)
            better = wrong & (pixels < fewest)
            fewest = torch.where(better, pixels, fewest)
            best = torch.where(spread(better, images), images + change, best)
            with torch.no_grad():
                largest = gradient.flatten(1).abs().amax(1).clamp(min=NEGLIGIBLE)
                gradient = gradient / spread(largest, gradient)
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient.square()
                update = (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                change = (images + change - rate * update).clamp(LOW, HIGH) - images
                towards = torch.where(wrong, 1.0, -1.0) * self.threshold_step * rate
                threshold = (threshold + towards).clamp(0, 1)
                change = torch.where(change.abs() < spread(threshold, change), 0.0, change)
        return best
