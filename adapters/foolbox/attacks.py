"""Foolbox's attacks where the adapter changes how the library runs them, and not what they do."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import eagerpy as ep
import foolbox.attacks.hop_skip_jump as foolbox_hop_skip_jump
import foolbox.criteria as foolbox_criteria
import torch
from eagerpy.astensor import astensor, astensor_
from eagerpy.tensor.tensor import Tensor
from foolbox.attacks import brendel_bethge
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.fast_minimum_norm import LInfFMNAttack

from adapters.calls import spread
from adapters.compiled import CachedSolver
from adapters.margins import other_classes
from bench.domain import UNIT_BOX


class Misclassification(foolbox_criteria.Misclassification):
    """Foolbox's criterion, which also takes one label for a whole batch; logits of NaN never count as adversarial."""

    def __call__(self, perturbed: Any, outputs: Any) -> Any:
        """Which of (n, ...) images, by their (n, classes) logits, are adversarial: (n,) bool."""
        del perturbed
        logits, restore = astensor_(outputs)
        wrong = (logits.raw.argmax(-1) != self.labels.raw) & logits.raw.isfinite().all(-1)
        return restore(astensor(wrong))


class HopSkipJumpAttack(foolbox_hop_skip_jump.HopSkipJumpAttack):
    """Foolbox's HopSkipJump for one image at a time, with the decisions of a gradient estimate asked in one batch.

    The library asks for them one by one. Points, noise and the estimate made of them are the library's. With several
    images the library normalises noise and gradient over the whole batch, so that each image's result depends on
    the others.
    """

    def approximate_gradients(
        self, is_adversarial: Callable[[Tensor], Tensor], x_advs: Tensor, steps: int, delta: Tensor
    ) -> Tensor:
        """The estimated normal of the boundary.

        Args:
            is_adversarial: the decision on (n, ...) images.
            x_advs: (1, ...) the point on the boundary.
            steps: how many decisions.
            delta: (1,) how far from the point they are asked.

        Returns:
            (1, ...), of L2 norm 1.

        Raises:
            ValueError: more than one image.
        """
        if len(x_advs) != 1:
            raise ValueError(f"one image at a time, not {len(x_advs)}")
        shape = (steps, *x_advs.shape[1:])
        noise = (ep.normal(x_advs, shape) if self.constraint == "l2" else ep.uniform(x_advs, shape, -1, 1)).raw
        noise = noise / (spread(noise.flatten(1).square().sum(1).sqrt(), noise) + 1e-12)
        around = (x_advs.raw + delta.raw * noise).clamp(*UNIT_BOX)  # as in the library, whatever the model's bounds
        moves = (around - x_advs.raw) / (delta.raw + 1e-8)
        wrong = torch.where(is_adversarial(astensor(around)).raw, 1.0, -1.0)
        mean = wrong.mean()
        votes = torch.where(mean.abs() == 1, wrong, wrong - mean)
        normal = (spread(votes, moves) * moves).mean(0, keepdim=True)
        result: Tensor = astensor(normal / (normal.square().sum().sqrt() + 1e-12))
        return result


class _EveryClass:
    """An attack towards each other class in turn; of what is adversarial, the nearest.

    Untargeted, an attack follows the class that is nearest at the image, which need not be the one whose boundary is.
    """

    order: float
    """Of the norm by which results are compared."""
    candidates: int
    """The maximum number of classes: see :func:`adapters.margins.other_classes`."""

    def run(self, model: Any, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        """The library's attack, once for each class.

        Args:
            model: Foolbox's.
            inputs: (n, ...) images.
            criterion: a :class:`Misclassification`, with the true classes.
            kwargs: the library's.

        Returns:
            (n, ...) candidates; the clean image where nothing adversarial was found.
        """
        tensor, restore = astensor_(inputs)
        images, labels = tensor.raw, criterion.labels.raw
        with torch.no_grad():
            logits = model(images)
        best, shortest = images.clone(), torch.full((len(images),), torch.inf, device=images.device)
        for classes in self._classes(logits, labels):
            towards = foolbox_criteria.TargetedMisclassification(classes)
            found = super().run(model, images, towards, **kwargs)  # type: ignore[misc]  # of the class it is mixed with
            length = torch.linalg.vector_norm((found - images).flatten(1), self.order, 1)
            with torch.no_grad():
                nearer = criterion(found, model(found)) & (length < shortest)
            best[nearer], shortest[nearer] = found[nearer], length[nearer]
        return restore(astensor(best))

    def _classes(self, logits: torch.Tensor, labels: torch.Tensor) -> Iterator[torch.Tensor]:
        """The (n,) classes of each turn."""
        classes = logits.shape[1]
        if classes - 1 > self.candidates:
            yield from other_classes(logits, labels, self.candidates).unbind(1)
        else:
            yield from ((labels + shift) % classes for shift in range(1, classes))


class LInfFMNEveryClassAttack(_EveryClass, LInfFMNAttack):
    """Foolbox's FMN in Linf towards every class."""

    order = math.inf

    def __init__(
        self, *, steps: int = 100, max_stepsize: float = 1.0, gamma: float = 0.05, candidates: int = 10
    ) -> None:
        super().__init__(steps=steps, max_stepsize=max_stepsize, gamma=gamma)
        self.candidates = candidates


class L2CarliniWagnerEveryClassAttack(_EveryClass, L2CarliniWagnerAttack):
    """Foolbox's C&W towards every class: the paper's best case."""

    order = 2.0

    def __init__(
        self,
        *,
        binary_search_steps: int = 9,
        steps: int = 10000,
        stepsize: float = 1e-2,
        confidence: float = 0,
        initial_const: float = 1e-3,
        abort_early: bool = True,
        candidates: int = 10,
    ) -> None:
        super().__init__(
            binary_search_steps=binary_search_steps,
            steps=steps,
            stepsize=stepsize,
            confidence=confidence,
            initial_const=initial_const,
            abort_early=abort_early,
        )
        self.candidates = candidates


class _Quiet:
    """Brendel-Bethge without torch's warning of read-only arrays: EagerPy makes them, and the attack only reads them.

    torch warns once in a process, so that whoever comes first would meet it.
    """

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The library's attack."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
            return super().run(*args, **kwargs)  # type: ignore[misc]  # of the class it is mixed with


class L0BrendelBethgeAttack(_Quiet, brendel_bethge.L0BrendelBethgeAttack):
    """Foolbox's Brendel-Bethge in L0, its solver compiled once per machine."""

    def instantiate_optimizer(self) -> Any:
        """The library's solver."""
        return CachedSolver(brendel_bethge.L0Optimizer)


class L1BrendelBethgeAttack(_Quiet, brendel_bethge.L1BrendelBethgeAttack):
    """Foolbox's Brendel-Bethge in L1, its solver compiled once per machine."""

    def instantiate_optimizer(self) -> Any:
        """The library's solver."""
        return CachedSolver(brendel_bethge.L1Optimizer)


class L2BrendelBethgeAttack(_Quiet, brendel_bethge.L2BrendelBethgeAttack):
    """Foolbox's Brendel-Bethge in L2, its solver compiled once per machine."""

    def instantiate_optimizer(self) -> Any:
        """The library's solver."""
        return CachedSolver(brendel_bethge.L2Optimizer)


class LinfinityBrendelBethgeAttack(_Quiet, brendel_bethge.LinfinityBrendelBethgeAttack):
    """Foolbox's Brendel-Bethge in Linf, its solver compiled once per machine."""

    def instantiate_optimizer(self) -> Any:
        """The library's solver."""
        return CachedSolver(brendel_bethge.LinfOptimizer)
