"""Adversarial Library's attacks: functions from network, images, labels and parameters to candidates.

Most are the library's as they are. The others are called in another way, and do what they did.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from adapters.advlib.imports import imported
from bench.domain import UNIT_BOX

_apgd = imported()
from adv_lib import attacks as _library  # noqa: E402 - not before it can be imported
from adv_lib.attacks import augmented_lagrangian as _alma  # noqa: E402 - as above

Network = Callable[[Tensor], Tensor]

ddn = _library.ddn
fmn = _library.fmn
pdgd = _library.pdgd
pdpgd = _library.pdpgd
sigma_zero = _library.sigma_zero


@functools.wraps(_library.alma)
def alma(model: Network, inputs: Tensor, labels: Tensor, **params: Any) -> Tensor:
    """The library's ALMA, made to end, and for two classes as well: its loss needs a third."""
    with _reachable_lengths():
        found: Tensor = _library.alma(AtLeast(model, 3), inputs, labels, **params)
    return found


def fab(
    model: Network,
    inputs: Tensor,
    labels: Tensor,
    norm: float,
    *,
    n_iter: int = 100,
    alpha_max: float = 0.1,
    beta: float = 0.9,
    eta: float = 1.05,
    candidates: int = 9,
) -> Tensor:
    """The library's targeted FAB: towards each of the most likely classes in turn.

    Args:
        model: (n, ...) images to (n, classes) logits.
        inputs: (n, ...) images in the unit box.
        labels: (n,) int64.
        norm: 1, 2 or infinity.
        n_iter, alpha_max, beta, eta: the library's, whose names are Greek letters.
        candidates: the maximum number of classes. With more than there are the library would begin again, at random.
    """
    restarts = min(candidates, _classes(model, inputs) - 1)
    options = {"n_iter": n_iter, "\N{GREEK SMALL LETTER ALPHA}_max": alpha_max}
    options |= {"\N{GREEK SMALL LETTER BETA}": beta, "\N{GREEK SMALL LETTER ETA}": eta}
    found: Tensor = _library.fab(model, inputs, labels, norm, targeted_restarts=True, restarts=restarts, **options)
    return found


def apgd_targeted(
    model: Network,
    inputs: Tensor,
    labels: Tensor,
    norm: float,
    *,
    binary_search_steps: int = 20,
    n_iter: int = 100,
    n_restarts: int = 1,
    loss_function: str = "dlr",
    rho: float = 0.75,
    use_large_reps: bool = False,
    use_rs: bool = True,
    candidates: int = 9,
) -> Tensor:
    """The library's targeted APGD, minimal: it halves the interval in which the smallest successful radius lies.

    Args:
        model: (n, ...) images to (n, classes) logits.
        inputs: (n, ...) images in the unit box; the first interval ends at its largest distance.
        labels: (n,) int64.
        norm: 1, 2 or infinity.
        binary_search_steps, n_iter, n_restarts, loss_function, rho, use_large_reps, use_rs: the library's.
        candidates: the maximum number of classes.
    """
    found: Tensor = _apgd.minimal_apgd(
        AtLeast(model, 4),
        inputs,
        labels,
        norm=norm,
        max_eps=float(torch.linalg.vector_norm(torch.ones_like(inputs[0]), norm)),
        targeted_version=True,
        num_targets=min(candidates, _classes(model, inputs) - 1),
        binary_search_steps=binary_search_steps,
        n_iter=n_iter,
        n_restarts=n_restarts,
        loss_function=loss_function,
        rho=rho,
        use_large_reps=use_large_reps,
        use_rs=use_rs,
    )
    return found


class AtLeast:
    """A network with at least so many classes, for losses that need them: those that are missing lie 1 below the last.

    Args:
        network: (n, ...) images to (n, classes) logits.
        classes: how many.
    """

    def __init__(self, network: Network, classes: int) -> None:
        self.network, self.classes = network, classes

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (n, at least ``classes``) of (n, ...) images."""
        logits = self.network(images)
        missing = self.classes - logits.shape[1]
        if missing <= 0:
            return logits
        return torch.cat([logits, (logits.amin(1, keepdim=True) - 1).expand(-1, missing)], 1)


@contextmanager
def _reachable_lengths() -> Iterator[None]:
    """Let ALMA's search for its first step's length end where no step is as long as it asks for.

    It doubles the step until it is long enough, for ever if the gradient leads out of the box before.
    """
    search = _alma.init_lr_finder

    def bounded(inputs: Tensor, grad: Tensor, distance_function: Network, target_distance: float) -> Tensor:
        longest = distance_function((inputs - 2.0**100 * grad).clamp(*UNIT_BOX))
        target = (longest / 2).clamp(max=target_distance)
        # A start that does not move at all counts at once as far enough.
        target[longest <= 0] = -math.inf
        steps: Tensor = search(inputs, grad, distance_function, target)
        return steps

    _alma.init_lr_finder = bounded
    try:
        yield
    finally:
        _alma.init_lr_finder = search


@torch.no_grad()
def _classes(model: Network, inputs: Tensor) -> int:
    """How many classes a network has."""
    return model(inputs[:1]).shape[1]
