"""What an attack asks of a network, seen at the network: how much, and the nearest adversarial points."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from adapters.margins import adversarial, size
from bench.domain import VALUES
from bench.norms import L0_TOLERANCE, FloatArray, Norm


class CountedNetwork(nn.Module):
    """A network that counts the images passed forward and backward through it.

    Images of more than ``bench.domain.VALUES`` values together, of which no gradient is asked, pass a part at a time.

    Attributes:
        network: the network itself.
        forwards: images passed forward so far; a batch of 10 counts as 10.
        backwards: images whose logits a gradient was asked of so far; one for every gradient.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.forwards = 0
        self.backwards = 0
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (n, ...) images."""
        self.forwards += len(images)
        if images.numel() > VALUES and not (torch.is_grad_enabled() and images.requires_grad):
            parts = images.split(max(1, VALUES // images[0].numel()))
            return torch.cat([self.network(part) for part in parts])
        logits: Tensor = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class WatchedNetwork(CountedNetwork):
    """A network that also keeps, for each image, the nearest adversarial point that passes through it.

    Attributes:
        points: (n, *shape) float32 in the unit box, the nearest adversarial point of each image; NaN where there was none.
        lengths: (n,) float64, their distances in the norm; +inf where there was none.
        spent: seconds that the watching took.
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, norm: Norm) -> None:
        """Watch a network.

        Args:
            network: (n, *shape) images of the unit box to (n, classes) logits.
            images: (n, *shape) float32, the clean images.
            labels: (n,) int64, their classes.
            norm: what is nearest.
        """
        super().__init__(network)
        self._images, self._labels, self._norm = images.clone(), labels.clone(), norm
        self._flat = self._images.flatten(1)
        self._sizes: Tensor | None = None
        self.points = torch.full_like(images, torch.nan)
        self.lengths: FloatArray = np.full(len(images), np.inf)
        self.spent = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (m, *shape) images."""
        logits = super().forward(images)
        start = time.perf_counter()
        with torch.no_grad():
            self._look(images.detach(), logits.detach())
        self.spent += time.perf_counter() - start
        return logits

    def _look(self, points: Tensor, logits: Tensor) -> None:
        if points.shape[1:] != self._images.shape[1:] or logits.ndim != 2:
            return
        owners = self._owners(points)
        if self._sizes is None:  # the first call is at the clean images, or near them
            self._sizes = size(logits).new_zeros(len(self._images))
            self._sizes[owners] = size(logits)
        wrong = torch.nonzero(logits.argmax(1) != self._labels[owners]).flatten()
        if not len(wrong):
            return
        lengths, numbers = self._measured(points[wrong], owners[wrong]), owners[wrong].numpy(force=True)
        nearer = np.flatnonzero(lengths < self.lengths[numbers])
        # Of several points of one image the nearest stays; what is nearer is rare, and looked at closely.
        for row in nearer[np.argsort(-lengths[nearer], kind="stable")]:
            point, number = points[wrong[row]], numbers[row]
            sure = adversarial(logits[wrong[row]][None], self._labels[number][None], self._sizes[number][None])
            if sure.all() and ((point >= 0) & (point <= 1)).all():
                self.lengths[number] = lengths[row]
                self.points[number] = point

    def _measured(self, points: Tensor, owners: Tensor) -> FloatArray:
        changes = (points - self._images[owners]).numpy(force=True).astype(np.float64)
        if self._norm.counts:
            changes = np.where(np.abs(changes) <= L0_TOLERANCE, 0.0, changes)
        return self._norm.of(changes)

    def _owners(self, points: Tensor) -> Tensor:
        """The image that each point belongs to: its row where there are as many, else the nearest image in L2.

        A point that is adversarial for an image counts for it whatever image the attack meant it for.
        """
        if len(points) == len(self._images):
            return torch.arange(len(points), device=points.device)
        if len(self._images) == 1:
            return torch.zeros(len(points), dtype=torch.int64, device=points.device)
        flat = points.flatten(1).to(self._flat)
        return (self._flat.square().sum(1) - 2 * flat @ self._flat.T).argmin(1)
