"""Foolbox: any torch network as a model of that library, and its attacks for the bench."""

from __future__ import annotations

import importlib
import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from adapters import margins as decisions
from adapters import starts
from adapters.foolbox.attacks import Misclassification
from adapters.foolbox.model import LeanModel
from adapters.paper.attacks import Access, Port
from bench.specs import AttackSpec

Starts = Callable[[starts.Network, Tensor, Tensor, int], Tensor]

STARTS: dict[str, Starts] = {
    "BoundaryAttack": starts.nearest_images,
    "HopSkipJumpAttack": starts.nearest_images,
    "PointwiseAttack": starts.noise_images,
    "L0BrendelBethgeAttack": starts.noise_images,
    "L2BrendelBethgeAttack": starts.nearest_images,
    "LinfinityBrendelBethgeAttack": starts.nearest_images,
}
"""Where the attacks that begin at an adversarial image get it from: the library's own noise differs between runs of
different batches, and one image without a start fails the whole batch."""

SINGLY = frozenset(STARTS) - {"BoundaryAttack"}
"""Attacks that couple the images of a batch in ways that no argument turns off, and so see one image at a time:
HopSkipJump and Brendel-Bethge by norms and rates taken over the batch, Pointwise by its random numbers."""


def classifier(network: nn.Module, bounds: tuple[float, float] = (0.0, 1.0)) -> PyTorchModel:
    """A Foolbox model of any torch network, for use with that library as it stands.

    Args:
        network: (n, ...) float32 images to (n, classes) logits. Where it is in eval mode and its parameters are frozen,
            its convolutions are laid out as CPUs compute them fastest; else a copy is attacked, and it stays as it is.
        bounds: the lowest and highest value of an image.

    Returns:
        A ``foolbox.PyTorchModel``.
    """
    return LeanModel(network, bounds)


class FoolboxAttacker:
    """Runs rows on Foolbox: see :class:`adapters.base.Attacker`."""

    def attack(self, spec: AttackSpec, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """See :meth:`adapters.base.Attacker.attack`; the clean image where the attack found nothing."""
        model = LeanModel(network)
        attack = resolve(spec)
        if isinstance(attack, Port):
            with seeded(seed):
                return attack.run(access(model), images, labels)
        if type(attack).__name__ in SINGLY:
            parts = [
                self._run(attack, model, image, label, seed)
                for image, label in zip(images.split(1), labels.split(1), strict=True)
            ]
            return torch.cat(parts)
        return self._run(attack, model, images, labels, seed)

    @staticmethod
    def _run(attack: Any, model: LeanModel, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        candidates = images.clone()
        extra: dict[str, Tensor] = {}
        rows = torch.ones(len(images), dtype=torch.bool, device=images.device)
        if type(attack).__name__ in STARTS:
            points = STARTS[type(attack).__name__](model, images, labels, seed)
            rows = starts.found(points)
            extra["starting_points"] = points[rows]
        if not rows.any():
            return candidates
        with seeded(seed):
            raw, _, _ = attack(model, images[rows], Misclassification(labels[rows]), epsilons=None, **extra)
        # Carlini and Wagner's attack returns a black image where it never found anything.
        untouched = (raw == model.bounds.lower).flatten(1).all(1)
        candidates[rows] = torch.where(untouched.view(-1, *[1] * (images.ndim - 1)), images[rows], raw)
        return decisions.settle(model, images, candidates, labels, model.bounds)


def resolve(spec: AttackSpec) -> Any:
    """The attack of a row, made with its parameters.

    Raises:
        ImportError, AttributeError: there is no such class.
        TypeError: it does not take the row's parameters.
    """
    module, _, name = spec.target.partition(":")
    kind = getattr(importlib.import_module(module), name)
    inspect.signature(kind).bind(**spec.params)
    with warnings.catch_warnings():
        # Brendel-Bethge says that compiling takes a while; the progress bar shows that.
        warnings.filterwarnings("ignore", message="At the first initialisation", category=UserWarning)
        return kind(**spec.params)


def access(model: LeanModel) -> Access:
    """What ports see of a Foolbox model."""

    def jacobian(images: Tensor) -> tuple[Tensor, Tensor]:
        variable = images.detach().clone().requires_grad_()
        logits: Tensor = model(variable)
        classes = range(logits.shape[1])
        gradients = [
            torch.autograd.grad(logits[:, k].sum(), variable, retain_graph=k + 1 < len(classes))[0] for k in classes
        ]
        return logits.detach(), torch.stack(gradients, 1)

    return Access(logits=model, jacobian=jacobian, box=(model.bounds.lower, model.bounds.upper))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every global source of random numbers set to ``seed``, and put back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - Foolbox draws from the global state
    with torch.random.fork_rng():
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - as above
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as above


ATTACKER = FoolboxAttacker()
