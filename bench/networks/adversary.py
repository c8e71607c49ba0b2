"""Adversarial training: the attack on each batch that a network is trained to resist (arXiv:1706.06083)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.norms import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """Projected gradient descent from a random point of a ball, on images in the box [0, 1].

    Attributes:
        norm: ``Norm.LINF`` or ``Norm.L2``: the ball's.
        size: the ball's radius.
        steps: gradient steps for each batch.
        stepsize: the length of a step, as a fraction of the radius.
        warm_up: epochs over which the radius rises from 0, since training at its full size from the start can end at a
            network that always gives the same class.
    """

    norm: Norm
    size: float
    steps: int
    stepsize: float
    warm_up: int

    def radius(self, progress: float) -> float:
        """The ball's radius after so many epochs."""
        return self.size * min(1.0, progress / self.warm_up)

    def perturbed(self, network: nn.Module, images: Tensor, labels: Tensor, radius: float) -> Tensor:
        """Images of the ball with a large cross-entropy.

        Args:
            network: from images to logits; its gradients are left as they are.
            images: (n, *shape) float32 in [0, 1].
            labels: (n,) int64.
            radius: of the ball.

        Returns:
            (n, *shape) float32 in [0, 1].
        """
        change = self._inside(radius * torch.empty_like(images).uniform_(-1, 1), radius)
        for _ in range(self.steps):
            tried = (images + change).clamp(0, 1).requires_grad_()
            loss = nn.functional.cross_entropy(network(tried), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, tried)
            moved = tried.detach() - images + self.stepsize * radius * self._direction(gradient)
            change = self._inside(moved, radius)
        return (images + change).clamp(0, 1)

    def _direction(self, values: Tensor) -> Tensor:
        """The steepest direction, of length 1 in the norm."""
        if self.norm is Norm.LINF:
            return values.sign()
        length = torch.linalg.vector_norm(values.flatten(1), 2, 1).clamp(min=1e-12)
        scaled: Tensor = values / length.view(-1, *[1] * (values.ndim - 1))
        return scaled

    def _inside(self, change: Tensor, radius: float) -> Tensor:
        if self.norm is Norm.LINF:
            return change.clamp(-radius, radius)
        length = torch.linalg.vector_norm(change.flatten(1), 2, 1)
        inside: Tensor = change * (radius / length.clamp(min=radius + 1e-12)).view(-1, *[1] * (change.ndim - 1))
        return inside
