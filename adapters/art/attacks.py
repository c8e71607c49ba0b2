"""ART's attacks where the adapter changes how they are called, and not what they do."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from art.attacks import evasion
from art.attacks.evasion import brendel_bethge
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.compiled import CachedSolver
from adapters.margins import other_classes
from bench.problem import Unsupported

Array = NDArray[Any]

MOST_HALVINGS = 1_100
"""Halving a float64 this often makes it 0: a search that has not ended by then never will."""

MOST_VALUES = 20_000
"""ART's C&W in L0 takes images of at most so many values: it makes a search for each of them."""


class DeepFool(evasion.DeepFool):  # type: ignore[misc]  # ART has no type information, its classes are Any
    """ART's DeepFool, one image at a time where it considers a part of the classes.

    Of several images the library considers the classes of all of them together: each would depend on the others, and
    time and memory would grow with their number.
    """

    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """The library's attack on (n, ...) images, which reads no classes ``y``; (n, ...) candidates."""
        if self.nb_grads >= self.estimator.nb_classes:
            return np.asarray(super().generate(x, y=y, **kwargs))
        return np.concatenate([super(DeepFool, self).generate(image[None], **kwargs) for image in x])


class HopSkipJump(evasion.HopSkipJump):  # type: ignore[misc]  # as above
    """ART's HopSkipJump for one image, made to end.

    It halves a step until the class is wrong, for ever if even a step of 0 leaves it right. That happens when the point
    it stands on is adversarial for the bisection that found it and not, by rounding, for the search that follows.
    """

    _failures = 0

    def _adversarial_satisfactory(self, *args: Any, **kwargs: Any) -> Array:
        answers: Array = super()._adversarial_satisfactory(*args, **kwargs)
        self._failures = 0 if answers.any() else self._failures + 1
        if self._failures > MOST_HALVINGS:
            raise RuntimeError("HopSkipJump stands on a point that is no longer adversarial, and would search for ever")
        return answers


class BrendelBethgeAttack(evasion.BrendelBethgeAttack):  # type: ignore[misc]  # as above
    """ART's Brendel-Bethge, its solver compiled once per machine, with the classifier that it is given.

    The library makes itself a classifier of its own kind, with a loss of its own.
    """

    @functools.wraps(evasion.BrendelBethgeAttack.__init__)  # type: ignore[misc]  # for its signature
    def __init__(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        with _solvers_from_disk():
            super().__init__(estimator, *args, **kwargs)
        if hasattr(estimator, "like"):
            self._estimator = estimator.like(estimator.model, loss=self.estimator.loss)

    def generate(self, x: Array, y: Array | None = None, x_adv_init: Array | None = None, **kwargs: Any) -> Array:
        """The library's attack.

        Args:
            x: (n, ...) images. One at a time: it bisects for all images at once, and hides every image's class from
                every other image.
            y: (n,) their classes.
            x_adv_init: (n, ...) adversarial images to start from, as in the library's other attacks.
            kwargs: the library's.

        Returns:
            (n, ...) candidates.
        """
        return np.asarray(super().generate(x, y=y, starting_points=x_adv_init, **kwargs))


class CarliniL0Method(evasion.CarliniL0Method):  # type: ignore[misc]  # as above
    """ART's C&W in L0, one image at a time, with pixels along the first axis.

    The library gives up one index of the first axis in each pass, and so must see images of shape (values, 1, 1).
    """

    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """The library's attack on (n, ...) images of (n,) classes ``y``; (n, ...) candidates.

        Raises:
            Unsupported: an image has more than ``MOST_VALUES`` values.
        """
        if x[0].size > MOST_VALUES:
            raise Unsupported(
                f"ART's C&W in L0 gives up one value at a time: {x[0].size:,} searches for an image, which take hours; at most "
                f"{MOST_VALUES:,} values are possible"
            )
        if y is None:
            y = self.estimator.predict(x).argmax(axis=1)
        flat = x.reshape(len(x), -1, 1, 1)
        given = self.estimator
        self._estimator = given.like(Reshaped(given.model, x.shape[1:]), shape=flat.shape[1:])
        try:
            found = [
                super(CarliniL0Method, self).generate(x[None], y=y[None], **kwargs)
                for x, y in zip(flat, y, strict=True)
            ]
        finally:
            self._estimator = given
        return np.concatenate(found).reshape(x.shape)


class Reshaped(nn.Module):
    """A network for images of another shape with as many values.

    Args:
        network: (n, *shape) to (n, classes).
        shape: the one that the network takes.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, ...) images."""
        logits: Tensor = self.network(images.reshape(-1, *self.shape))
        return logits


class SaliencyMapMethod(evasion.SaliencyMapMethod):  # type: ignore[misc]  # as above
    """ART's JSMA, which is targeted, towards each other class in turn; what changes the fewest values is kept.

    Args:
        classifier, theta, gamma, batch_size, verbose: as in the library.
        candidates: the maximum number of classes for an image: see :func:`adapters.margins.other_classes`.
    """

    def __init__(
        self,
        classifier: Any,
        theta: float = 0.1,
        gamma: float = 1.0,
        batch_size: int = 1,
        *,
        candidates: int = 10,
        verbose: bool = True,
    ) -> None:
        super().__init__(classifier, theta=theta, gamma=gamma, batch_size=batch_size, verbose=verbose)
        self.candidates = candidates

    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """Candidates for images.

        Args:
            x: (n, ...) images in the classifier's box.
            y: (n,) integers, the classes to leave; None for the predicted ones.
            kwargs: the library's.

        Returns:
            (n, ...) float32; the clean image where nothing adversarial was found.
        """
        true = self.estimator.predict(x, batch_size=self.batch_size).argmax(axis=1) if y is None else y
        best, fewest = x.copy(), np.full(len(x), np.inf)
        for targets in self._targets(x, true):
            candidates = super().generate(x, y=targets, **kwargs)
            changed = np.count_nonzero((candidates != x).reshape(len(x), -1), axis=1)
            better = (self.estimator.predict(candidates).argmax(axis=1) != true) & (changed < fewest)
            best[better], fewest[better] = candidates[better], changed[better]
        return best

    def _targets(self, x: Array, true: Array) -> Iterator[Array]:
        """The (n,) classes of each turn."""
        classes = self.estimator.nb_classes
        if classes - 1 > self.candidates:
            logits = torch.from_numpy(self.estimator.predict(x, batch_size=self.batch_size))
            yield from other_classes(logits, torch.from_numpy(true), self.candidates).numpy().T
        else:
            yield from ((true + shift) % classes for shift in range(1, classes))


@contextmanager
def _solvers_from_disk() -> Iterator[None]:
    """Let Brendel-Bethge, which makes its solver itself, make one that is compiled once per machine."""
    names = ("L0Optimizer", "L1Optimizer", "L2Optimizer", "LinfOptimizer")
    solvers = {name: getattr(brendel_bethge, name) for name in names}
    try:
        for name, solver in solvers.items():
            if hasattr(solver, "class_type"):  # compiled by numba
                setattr(brendel_bethge, name, functools.partial(CachedSolver, solver))
        yield
    finally:
        for name, solver in solvers.items():
            setattr(brendel_bethge, name, solver)
