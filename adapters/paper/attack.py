"""What the attacks written here have in common: their interface, the nearest point found, random numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.margins import ROUNDING, adversarial, excess, other_classes, size
from adapters.paper.projections import HIGH, LOW, NEGLIGIBLE, length
from adapters.seeding import derived
from adapters.view import View

__all__ = ["HIGH", "LOW", "NEGLIGIBLE", "Descent", "Nearest", "Noise", "PaperAttack", "StartedAttack", "lead"]

TIE = 1e-6
"""Distances that differ by a smaller part count as equal."""


class PaperAttack(ABC):
    """An attack written here."""

    @abstractmethod
    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """Candidates for correctly classified images.

        Args:
            network: what is attacked.
            images: (n, *shape) float32 in the unit box.
            labels: (n,) int64, the true classes.

        Returns:
            (n, *shape) float32 in the unit box; the clean image where nothing was found.
        """


class StartedAttack(ABC):
    """An attack written here that starts from adversarial images."""

    @abstractmethod
    def run_from(self, network: View, images: Tensor, labels: Tensor, starts: Tensor) -> Tensor:
        """Candidates, as of :meth:`PaperAttack.run`.

        Args:
            network, images, labels: as there.
            starts: (n, k, *shape) images that may be adversarial, the nearest first; NaN where there are fewer.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent(PaperAttack):
    """An attack that follows a gradient from the image, towards any class and then towards one after the other.

    Attributes:
        norm: ``l0``, ``l1``, ``l2`` or ``linf``.
        candidates: the maximum number of classes that are tried one by one, after an untargeted run: see
            :func:`adapters.margins.other_classes`.
    """

    norm: str
    candidates: int = 0

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`PaperAttack.run`."""
        best = Nearest(network, images, labels, self.norm)
        self.descend(best, None)
        if self.candidates:
            for classes in other_classes(best.logits, labels, self.candidates).unbind(1):
                self.descend(best, classes)
        return best.points

    @abstractmethod
    def descend(self, best: Nearest, classes: Tensor | None) -> None:
        """One run, towards the (n,) classes, or any for None; what is found goes to ``best``."""


class Nearest:
    """The nearest adversarial point found for each image.

    Args:
        network: what is attacked.
        images: (n, *shape) float32 in the unit box.
        labels: (n,) int64.
        norm: by which distances are compared.

    Attributes:
        network, images, labels: as given.
        logits: (n, classes) of the images.
        points: (n, *shape), the image where nothing was found.
        distances: (n,), infinite where nothing was found.
        doubt: (n,) an excess that is more than rounding; a smaller one may not count.
    """

    def __init__(self, network: View, images: Tensor, labels: Tensor, norm: str) -> None:
        self.network, self.images, self.labels = network, images, labels
        with torch.no_grad():
            self.logits = network(images)
        self.points = images.clone()
        self.distances = torch.full((len(images),), torch.inf, device=images.device)
        self._norm, self._clean = norm, size(self.logits)
        self.doubt = 2 * ROUNDING * self._clean

    def towards(self, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """How far a class is ahead of the label, and the gradient of it.

        Args:
            points: (n, *shape), one for each image.
            classes: (n,) int64.

        Returns:
            (n,) excesses and (n, *shape) gradients.
        """
        variable = points.detach().requires_grad_()
        chosen = self.network(variable).gather(1, torch.stack([classes, self.labels], 1))
        ahead = chosen[:, 0] - chosen[:, 1]
        (gradient,) = torch.autograd.grad(ahead.sum(), variable)
        return ahead.detach(), gradient

    @torch.no_grad()
    def offer(self, points: Tensor, rows: Tensor | None = None, logits: Tensor | None = None) -> Tensor:
        """Keep what is adversarial and nearer than what is known.

        Args:
            points: (m, *shape) in the unit box.
            rows: (m,) which images they are of; None for all, in order.
            logits: (m, classes) of the points; None where the network is still to be asked.

        Returns:
            (m,) bool: which points are adversarial.
        """
        rows = torch.arange(len(points), device=points.device) if rows is None else rows
        logits = self.network(points) if logits is None else logits
        wrong = adversarial(logits, self.labels[rows], self._clean[rows])
        distances = length(points - self.images[rows], self._norm)
        # Not by rounding alone: of points equally far the first is kept, in a batch of any size.
        nearer = wrong & ((distances < (1 - TIE) * self.distances[rows]) | ~self.distances[rows].isfinite())
        self.points[rows[nearer]] = points[nearer]
        self.distances[rows[nearer]] = distances[nearer]
        return wrong

    def pull(self, halvings: int) -> None:
        """Move the points along straight lines towards their images, by bisection, as far as they stay adversarial."""
        rows = self.distances.isfinite().nonzero().squeeze(1)
        images, ends = self.images[rows], self.points[rows]
        low, high = torch.zeros(len(rows), device=rows.device), torch.ones(len(rows), device=rows.device)
        for _ in range(halvings if len(rows) else 0):
            middle = (low + high) / 2
            wrong = self.offer(images + spread(middle, images) * (ends - images), rows)
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)


def lead(logits: Tensor, labels: Tensor, classes: Tensor | None) -> Tensor:
    """How far the (n,) classes, or the best other one, are ahead of the label: (n, classes) logits to (n,)."""
    ahead = excess(logits, labels)
    return ahead.amax(1) if classes is None else ahead.gather(1, classes.unsqueeze(1)).squeeze(1)


class Noise:
    """Random numbers of each image's own: they depend on torch's seed and on the image, not on the others of its call.

    Args:
        images: (n, *shape).
    """

    def __init__(self, images: Tensor) -> None:
        seeds = (derived(torch.initial_seed(), image.numpy(force=True).tobytes()) for image in images)
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._images = images

    def inside(self, radii: Tensor, norm: str) -> Tensor:
        """Random changes: uniform up to each (n,) radius in Linf; of random direction and length in L1 and L2."""
        shape = self._images.shape[1:]
        drawn = torch.stack([torch.rand((2, *shape), generator=each) for each in self._generators]).to(self._images)
        first, second = drawn.unbind(1)
        if norm == "linf":
            return spread(radii, first) * (2 * first - 1)
        # Normal, or Laplace, numbers point in every direction alike in L2, or in L1.
        sides = (-2 * first.clamp(min=1e-12).log()).sqrt() if norm == "l2" else -first.clamp(min=1e-12).log()
        signed = sides * (2 * torch.pi * second).cos() if norm == "l2" else sides * (second - 0.5).sign()
        reach = radii * second.flatten(1)[:, 0] / length(signed, norm).clamp(min=NEGLIGIBLE)
        return spread(reach, signed) * signed
