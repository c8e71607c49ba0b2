"""Attacks that a library lacks, written from their papers over whatever classifier the library has.

A port sees the network through two functions, so that the same lines run on Foolbox's model and on ART's classifier.
Every port treats the images of a batch independently of one another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.margins import adversarial, margins, size

NEGLIGIBLE = 1e-12
"""Below this a gradient's norm counts as zero: the linearised boundary is out of reach."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a port may ask of a network.

    Attributes:
        logits: (n, ...) images to (n, classes) logits; ``SigmaZero`` differentiates through it.
        jacobian: (n, ...) images to (n, classes) logits and their (n, classes, ...) gradients.
        box: the lowest and highest value of an image.
    """

    logits: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], tuple[Tensor, Tensor]]
    box: tuple[float, float] = (0.0, 1.0)


class Port(ABC):
    """An attack written over :class:`Access`."""

    @abstractmethod
    def run(self, access: Access, images: Tensor, labels: Tensor) -> Tensor:
        """Candidates for correctly classified images.

        Args:
            access: the network.
            images: (n, ...) float32 in the box.
            labels: (n,) int64, the true classes.

        Returns:
            (n, ...) float32 in the box; the clean image where nothing was found.
        """


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """(n,) values shaped to multiply the rows of an (n, ...) tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _deepfool_step(logits: Tensor, jacobian: Tensor, labels: Tensor, power: int) -> tuple[Tensor, Tensor]:
    """The step to the nearest linearised class boundary, and the class beyond it.

    Args:
        logits: (n, classes).
        jacobian: (n, classes, ...).
        labels: (n,).
        power: 2 for the smallest L2 step, 1 for the smallest Linf step (the exponent of the dual norm).

    Returns:
        (n, ...) steps and (n,) int64 classes; where no boundary is within reach, a step of zero.
    """
    rows = torch.arange(len(labels), device=labels.device)
    gaps = margins(logits, labels)
    normals = jacobian - jacobian[rows, labels].unsqueeze(1)
    lengths = normals.flatten(2).norm(p=power, dim=2)
    distances = torch.where(lengths > NEGLIGIBLE, gaps.abs() / lengths, math.inf)
    nearest = distances.argmin(1)
    distance, normal, length = distances[rows, nearest], normals[rows, nearest], lengths[rows, nearest]
    direction = normal.sign() if power == 1 else normal / _spread(length, normal)
    # The constant lets the step cross a boundary that the point already touches, where the distance rounds to 0.
    step = _spread(distance + 1e-4 * distance.clamp(min=1e-3), normal) * direction
    return torch.where(_spread(distance.isfinite(), normal), step, 0.0), nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(Port):
    """DeepFool in L2 or Linf (arXiv:1511.04599, algorithm 2 and its section on other norms), inside the box.

    Attributes:
        norm: ``l2`` or ``linf``.
        steps: the most steps.
        overshoot: the sum of the steps is multiplied by 1 + overshoot.
    """

    norm: str
    steps: int = 50
    overshoot: float = 0.02

    def run(self, access: Access, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`Port.run`; where the class did not change, the last point."""
        low, high = access.box
        power = {"l2": 2, "linf": 1}[self.norm]
        total, current = torch.zeros_like(images), images
        active = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            logits, jacobian = access.jacobian(current[active])
            unchanged = ~adversarial(logits, labels[active])
            active = active[unchanged]
            if not len(active):
                break
            step, _ = _deepfool_step(logits[unchanged], jacobian[unchanged], labels[active], power)
            total[active] += step
            moved = images[active] + (1 + self.overshoot) * total[active]
            current = current.index_copy(0, active, moved.clamp(low, high))
        return current


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFool(Port):
    """SparseFool, the DeepFool of L0 (arXiv:1811.02248, algorithms 1 and 2).

    Attributes:
        steps: the most linearisations of the boundary.
        control: lambda in the paper: how far beyond DeepFool's boundary point the hyperplane is put.
        overshoot: the whole change is multiplied by 1 + overshoot before it is clipped to the box.
        inner_steps: the most steps of the DeepFool inside.
        inner_overshoot: the overshoot of the DeepFool inside.
    """

    steps: int = 20
    control: float = 3.0
    overshoot: float = 0.02
    inner_steps: int = 50
    inner_overshoot: float = 0.02

    def run(self, access: Access, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`Port.run`; where the class did not change, the clean image."""
        low, high = access.box
        current, candidates = images.clone(), images.clone()
        active = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            start, label = current[active], labels[active]
            beyond, normal = self._boundary(access, start, label)
            current[active] = flattened = _fewest_pixels(start, normal, beyond, access.box)
            tried = images[active] + (1 + self.overshoot) * (flattened - images[active])
            tried = tried.clamp(low, high)
            changed = adversarial(access.logits(tried), label)
            candidates[active[changed]] = tried[changed]
            active = active[~changed]
            if not len(active):
                break
        return candidates

    def _boundary(self, access: Access, start: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """A point of the hyperplane that stands for the boundary, and its normal, which points to the other class."""
        total, crossed = torch.zeros_like(start), start.clone()
        classes = torch.zeros_like(labels)
        active = torch.arange(len(start), device=start.device)
        for _ in range(self.inner_steps):
            logits, jacobian = access.jacobian(crossed[active])
            unchanged = ~adversarial(logits, labels[active])
            classes[active] = margins(logits, labels[active]).argmax(1)
            active = active[unchanged]
            if not len(active):
                break
            step, classes[active] = _deepfool_step(logits[unchanged], jacobian[unchanged], labels[active], 2)
            total[active] += step
            crossed[active] = start[active] + (1 + self.inner_overshoot) * total[active]
        rows = torch.arange(len(start), device=start.device)
        _, jacobian = access.jacobian(start + total)
        return start + self.control * total, jacobian[rows, classes] - jacobian[rows, labels]


def _fewest_pixels(start: Tensor, normal: Tensor, point: Tensor, box: tuple[float, float]) -> Tensor:
    """Moves as few pixels as possible, the largest normals first, onto the hyperplane through ``point``.

    Args:
        start: (n, ...) images in the box, behind the hyperplane.
        normal: (n, ...) its normals, which point to the far side.
        point: (n, ...) a point of each hyperplane.
        box: each pixel goes no further than its end.

    Returns:
        (n, ...): the images moved; every pixel at its end of the box where the hyperplane cannot be reached.
    """
    low, high = box
    x, w = start.flatten(1), normal.flatten(1)
    needed = (w * (point.flatten(1) - x)).sum(1, keepdim=True)
    room = torch.where(w > 0, high - x, low - x)
    gains, order = w * room, torch.argsort(w.abs(), dim=1, descending=True, stable=True)
    sorted_gains = gains.gather(1, order)
    before = sorted_gains.cumsum(1) - sorted_gains
    # Each pixel in turn moves its whole way, the last one only as far as is still missing.
    share = ((needed - before) / sorted_gains.clamp(min=NEGLIGIBLE)).clamp(0, 1)
    share = torch.where(sorted_gains > NEGLIGIBLE, share, 0.0)
    moves = torch.zeros_like(x).scatter(1, order, share) * room
    return (x + moves).clamp(low, high).view_as(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaZero(Port):
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

    def run(self, access: Access, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`Port.run`."""
        low, high = access.box
        change = torch.zeros_like(images)
        first, second = torch.zeros_like(images), torch.zeros_like(images)
        threshold = torch.full((len(images),), self.threshold, device=images.device)
        best, fewest = images.clone(), torch.full((len(images),), math.inf, device=images.device)
        clean = torch.zeros(len(images), device=images.device)
        for step in range(self.steps):
            cosine = (1 + math.cos(math.pi * step / self.steps)) / 2
            rate = self.stepsize * (0.1 + 0.9 * cosine)
            variable = change.detach().requires_grad_()
            logits = access.logits(images + variable)
            gap = margins(logits, labels).amax(1)
            squares = variable.square()
            sparsity = (squares / (squares + self.sigma)).flatten(1).mean(1)
            (gradient,) = torch.autograd.grad(((-gap).clamp(min=0) + sparsity).sum(), variable)
            clean = size(logits) if step == 0 else clean
            wrong = adversarial(logits, labels, clean)
            pixels = change.flatten(1).count_nonzero(1)
            better = wrong & (pixels < fewest)
            fewest = torch.where(better, pixels, fewest)
            best = torch.where(_spread(better, images), images + change, best)
            with torch.no_grad():
                largest = gradient.flatten(1).abs().amax(1).clamp(min=NEGLIGIBLE)
                gradient = gradient / _spread(largest, gradient)
                first = 0.9 * first + 0.1 * gradient
                second = 0.999 * second + 0.001 * gradient.square()
                update = (first / (1 - 0.9 ** (step + 1))) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                change = (images + change - rate * update).clamp(low, high) - images
                towards = torch.where(wrong, 1.0, -1.0) * self.threshold_step * rate
                threshold = (threshold + towards).clamp(0, 1)
                change = torch.where(change.abs() < _spread(threshold, change), 0.0, change)
        return best
