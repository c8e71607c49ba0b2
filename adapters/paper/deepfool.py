"""DeepFool, and SparseFool, the DeepFool of L0."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.calls import spread
from adapters.margins import adversarial, excess, other_classes
from adapters.paper.attack import HIGH, LOW, NEGLIGIBLE, PaperAttack
from adapters.paper.projections import on_hyperplane
from adapters.view import View


def _boundary_step(
    logits: Tensor, gradient: Callable[[Tensor], Tensor], labels: Tensor, others: Tensor, power: int
) -> tuple[Tensor, Tensor]:
    """The step to the nearest linearised class boundary, and the class beyond it.

    Gradients of one class at a time are kept, so that memory does not grow with the number of classes.

    Args:
        logits: (n, classes).
        gradient: from (n,) classes to (n, *shape), as :meth:`adapters.view.View.linearised` returns it.
        labels: (n,).
        others: (n, m) the classes that are considered.
        power: 2 for the smallest L2 step, 1 for the smallest Linf step (the exponent of the dual norm).

    Returns:
        (n, *shape) steps and (n,) int64 classes; where no boundary is within reach, a step of zero.
    """
    rows = torch.arange(len(labels), device=labels.device)
    ahead, own = excess(logits, labels), gradient(labels)
    distance, length = torch.full_like(logits[:, 0], math.inf), torch.ones_like(logits[:, 0])
    normal, nearest = torch.zeros_like(own), others[:, 0].clone()
    for classes in others.unbind(1):
        tried = gradient(classes) - own
        of_tried = tried.flatten(1).norm(p=power, dim=1)
        away = torch.where(of_tried > NEGLIGIBLE, ahead[rows, classes].abs() / of_tried, math.inf)
        nearer = away < distance
        distance, length = torch.where(nearer, away, distance), torch.where(nearer, of_tried, length)
        nearest = torch.where(nearer, classes, nearest)
        normal = torch.where(spread(nearer, tried), tried, normal)
    direction = normal.sign() if power == 1 else normal / spread(length, normal)
    # The constant lets the step cross a boundary that the point already touches, where the distance rounds to 0.
    step = spread(distance + 1e-4 * distance.clamp(min=1e-3), normal) * direction
    return torch.where(spread(distance.isfinite(), normal), step, 0.0), nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(PaperAttack):
    """DeepFool in L2 or Linf (arXiv:1511.04599, algorithm 2 and its section on other norms), inside the box.

    Attributes:
        norm: ``l2`` or ``linf``.
        steps: the maximum number of steps.
        overshoot: the sum of the steps is multiplied by 1 + overshoot.
        candidates: the maximum number of classes for an image: see :func:`adapters.margins.other_classes`.
    """

    norm: str
    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`.PaperAttack.run`; where the class did not change, the last point."""
        power = {"l2": 2, "linf": 1}[self.norm]
        total, current = torch.zeros_like(images), images
        others: Tensor | None = None
        active = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            logits, gradient = network.linearised(current[active])
            others = other_classes(logits, labels, self.candidates) if others is None else others
            unchanged = ~adversarial(logits, labels[active])
            if not unchanged.any():
                break
            step, _ = _boundary_step(logits, gradient, labels[active], others[active], power)
            active = active[unchanged]
            total[active] += step[unchanged]
            moved = images[active] + (1 + self.overshoot) * total[active]
            current = current.index_copy(0, active, moved.clamp(LOW, HIGH))
        return current


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFool(PaperAttack):
    """SparseFool, the DeepFool of L0 (arXiv:1811.02248, algorithms 1 and 2).

    Attributes:
        steps: the maximum number of linearisations of the boundary.
        control: lambda in the paper: how far beyond DeepFool's boundary point the hyperplane is put.
        overshoot: the whole change is multiplied by 1 + overshoot before it is clipped to the box.
        inner_steps: the maximum number of steps of the DeepFool inside.
        inner_overshoot: the overshoot of the DeepFool inside.
        candidates: the maximum number of classes for an image: see :func:`adapters.margins.other_classes`.
    """

    steps: int = 20
    control: float = 3.0
    overshoot: float = 0.02
    inner_steps: int = 50
    inner_overshoot: float = 0.02
    candidates: int = 10

    def run(self, network: View, images: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`.PaperAttack.run`; where the class did not change, the clean image."""
        current, candidates = images.clone(), images.clone()
        others: Tensor | None = None
        active = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            start, label = current[active], labels[active]
            beyond, normal, considered = self._boundary(
                network, start, label, None if others is None else others[active]
            )
            others = considered if others is None else others
            current[active] = flattened = _fewest_pixels(start, normal, beyond)
            tried = images[active] + (1 + self.overshoot) * (flattened - images[active])
            tried = tried.clamp(LOW, HIGH)
            changed = adversarial(network(tried), label)
            candidates[active[changed]] = tried[changed]
            active = active[~changed]
            if not len(active):
                break
        return candidates

    def _boundary(
        self, network: View, start: Tensor, labels: Tensor, others: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A point of the hyperplane that stands for the boundary, and its normal, which points to the other class.

        Args:
            network: what is attacked.
            start: (n, *shape) where DeepFool begins.
            labels: (n,) int64.
            others: (n, m) the classes that it considers; None where ``start`` are the clean images, which decide.

        Returns:
            The (n, *shape) points and normals, and ``others``.
        """
        total, crossed = torch.zeros_like(start), start.clone()
        classes = torch.zeros_like(labels)
        active = torch.arange(len(start), device=start.device)
        for _ in range(self.inner_steps):
            logits, gradient = network.linearised(crossed[active])
            others = other_classes(logits, labels, self.candidates) if others is None else others
            unchanged = ~adversarial(logits, labels[active])
            classes[active] = excess(logits, labels[active]).argmax(1)
            if not unchanged.any():
                break
            step, nearest = _boundary_step(logits, gradient, labels[active], others[active], 2)
            active = active[unchanged]
            classes[active] = nearest[unchanged]
            total[active] += step[unchanged]
            crossed[active] = start[active] + (1 + self.inner_overshoot) * total[active]
        _, gradient = network.linearised(start + total)
        assert others is not None  # there is at least one step
        return start + self.control * total, gradient(classes) - gradient(labels), others


def _fewest_pixels(start: Tensor, normal: Tensor, point: Tensor) -> Tensor:
    """Move as few pixels as possible, the largest normals first, onto the hyperplane through ``point``.

    Args:
        start: (n, ...) images in the box, behind the hyperplane.
        normal: (n, ...) its normals, which point to the far side.
        point: (n, ...) a point of each hyperplane.

    Returns:
        (n, ...): the images moved; every pixel at its end of the box where the hyperplane cannot be reached.
    """
    needed = (normal.flatten(1) * (point - start).flatten(1)).sum(1)
    return on_hyperplane(start, normal, needed.clamp(min=0), "l1")
