"""Adversarial Robustness Toolbox (ART): any torch network as its classifier, and its attacks for the bench."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from art.attacks import EvasionAttack
from art.attacks.evasion import brendel_bethge
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from adapters import margins as decisions
from adapters import starts
from adapters.art.classifier import Array, LeanClassifier
from adapters.compiled import CachedSolver
from adapters.paper.attacks import Access, Port
from bench.data import BOX, SHAPE
from bench.specs import AttackSpec

MOST_HALVINGS = 1_100
"""Halving a float64 this often makes it 0: a search that has not ended by then never will."""


def classifier(
    network: nn.Module, shape: tuple[int, ...] = SHAPE, box: tuple[float, float] = BOX, loss: nn.Module | None = None
) -> LeanClassifier:
    """A network as an ART ``PyTorchClassifier``, to be used with any attack of the library.

    Args:
        network: logits out. It is put in eval mode, its convolutions are laid out as CPUs compute them fastest.
        shape: of one image.
        box: smallest and largest value of an image.
        loss: what ``loss_gradient`` differentiates; cross-entropy unless given.

    Returns:
        The classifier, on the network's device.
    """
    network.eval()
    parameter = next(network.parameters(), torch.empty(0))
    with torch.no_grad():
        classes = network(torch.zeros((1, *shape), device=parameter.device)).shape[1]
    return LeanClassifier(network, loss or nn.CrossEntropyLoss(), shape, classes, clip_values=box)


class ArtAttacker:
    """Runs rows whose target is an ART attack, whatever is peculiar to it; see ``adapters.base.Attacker``."""

    def attack(self, spec: AttackSpec, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Candidates for correctly classified images, as ``adapters.base.Attacker`` has it.

        A row is the clean image where the attack needs a starting point and there is none.

        Raises:
            Exception: whatever the library raises.
        """
        target = resolve(spec)
        with _quiet(), _global_state_kept():
            if issubclass(target, Port):
                _seed(seed)
                seen = access(classifier(network, tuple(images.shape[1:])))
                candidates: Tensor = target(**spec.params).run(seen, images, labels)
                return candidates
            call = _Call(target, dict(spec.params), network, images, labels, seed)
            candidates = torch.from_numpy(_CALLS.get(target.__name__, _together)(call)).to(images)
            return decisions.settle(network, images, candidates, labels)


def resolve(spec: AttackSpec) -> Any:
    """The class of a row's target.

    Raises:
        ImportError, AttributeError: there is no such class.
        TypeError: it does not take the row's parameters.
    """
    module, _, name = spec.target.partition(":")
    target = getattr(importlib.import_module(module), name)
    own = () if issubclass(target, Port) else (None,)  # the classifier
    inspect.signature(target).bind(*own, **spec.params)
    return target


def access(classifier_: PyTorchClassifier) -> Access:
    """What ports see of an ART classifier: its ``predict`` and ``class_gradient``."""

    def logits(images: Tensor) -> Tensor:
        return torch.from_numpy(classifier_.predict(images.numpy(force=True), batch_size=len(images))).to(images)

    def jacobian(images: Tensor) -> tuple[Tensor, Tensor]:
        gradients = np.ascontiguousarray(classifier_.class_gradient(images.numpy(force=True)))
        return logits(images), torch.from_numpy(gradients).to(images)

    faster = classifier_.jacobian if isinstance(classifier_, LeanClassifier) else jacobian
    low, high = classifier_.clip_values
    return Access(logits=logits, jacobian=faster, box=(float(low), float(high)))


ATTACKER = ArtAttacker()


@dataclass(frozen=True, slots=True)
class _Call:
    """What is to be attacked, and with what."""

    target: type[EvasionAttack]
    params: dict[str, Any]
    network: nn.Module
    images: Tensor
    labels: Tensor
    seed: int

    @property
    def x(self) -> Array:
        return self.images.numpy(force=True)

    @property
    def y(self) -> Array:
        return self.labels.numpy(force=True)

    def attack(self, classifier_: PyTorchClassifier) -> EvasionAttack:
        """The attack with its parameters, its progress bar off."""
        silent = {"verbose": False} if "verbose" in inspect.signature(self.target).parameters else {}
        attack = self.target(classifier_, **self.params, **silent)
        # Brendel-Bethge makes itself a classifier of the library's own kind, with a loss of its own.
        if attack.estimator is not classifier_ and isinstance(classifier_, LeanClassifier):
            attack._estimator = classifier_.with_loss(attack.estimator.loss)  # noqa: SLF001 - there is no setter
        return attack


def _together(call: _Call) -> Array:
    """All images in one call. The library calls the true classes ``y`` where the attack is untargeted."""
    _seed(call.seed)
    return np.asarray(call.attack(classifier(call.network, _shape(call))).generate(call.x, y=call.y))


def _each(call: _Call, generate: Callable[[EvasionAttack, Array, Array, Array], Array], begin: Tensor) -> Array:
    """One image at a time, from an explicit start, with noise that depends on the seed and the image alone.

    A new attack for each image, as several keep step sizes from one image to the next.
    """
    candidates = call.x.copy()
    for row in torch.nonzero(starts.found(begin)).flatten().tolist():
        one = slice(row, row + 1)
        network = _Doubtless(call.network, call.images[one], int(call.labels[row]))
        attack = call.attack(classifier(network, _shape(call)))
        _seed(call.seed, call.x[one])
        candidates[one] = generate(attack, call.x[one], call.y[one], begin[one].numpy(force=True))
    return candidates


def _from_start(call: _Call) -> Array:
    """Boundary and HopSkipJump: without ``x_adv_init`` they draw a start from a source that cannot be seeded."""
    begin = starts.nearest_images(call.network, call.images, call.labels, call.seed)
    return _each(call, lambda attack, x, y, start: _ending(attack).generate(x, y=y, x_adv_init=start), begin)


def _brendel_bethge(call: _Call) -> Array:
    """In a batch it bisects for all images at once, and hides every image's class from every other image."""
    choose = starts.noise_images if call.params.get("norm") == 0 else starts.nearest_images
    begin = choose(call.network, call.images, call.labels, call.seed)
    with _solvers_from_disk():
        return _each(call, lambda attack, x, y, start: attack.generate(x, y=y, starting_points=start), begin)


def _pixel_features(call: _Call) -> Array:
    """C&W-L0 fixes one index of the first axis in each pass, so pixels must lie along it: (n, pixels, 1, 1)."""
    flat = call.x.reshape(len(call.x), -1, 1, 1)
    attack = call.attack(classifier(_Reshaped(call.network, _shape(call)), flat.shape[1:]))
    _seed(call.seed)
    return np.concatenate([attack.generate(x[None], y=y[None]) for x, y in zip(flat, call.y, strict=True)]).reshape(
        call.x.shape
    )


def _every_target(call: _Call) -> Array:
    """JSMA is targeted: every other class in turn, and of what is adversarial the fewest changed pixels."""
    classifier_ = classifier(call.network, _shape(call))
    attack = call.attack(classifier_)
    _seed(call.seed)
    best, fewest = call.x.copy(), np.full(len(call.x), np.inf)
    for other in range(1, classifier_.nb_classes):
        candidates = attack.generate(call.x, y=(call.y + other) % classifier_.nb_classes)
        changed = np.count_nonzero((candidates != call.x).reshape(len(call.x), -1), axis=1)
        better = (classifier_.predict(candidates).argmax(axis=1) != call.y) & (changed < fewest)
        best[better], fewest[better] = candidates[better], changed[better]
    return best


_CALLS: Mapping[str, Callable[[_Call], Array]] = {
    "BoundaryAttack": _from_start,
    "HopSkipJump": _from_start,
    "BrendelBethgeAttack": _brendel_bethge,
    "CarliniL0Method": _pixel_features,
    "SaliencyMapMethod": _every_target,
}
"""How an attack must be called, where it is not all images in one call with their true classes."""

SINGLY = frozenset({"BoundaryAttack", "HopSkipJump", "BrendelBethgeAttack", "CarliniL0Method"})
"""Attacks that see one image at a time."""


class _Reshaped(nn.Module):
    """A network for images of another shape with as many values."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.reshape(-1, *self.shape))
        return logits


class _Doubtless(nn.Module):
    """A network that lets an image of a class pass for another only with a margin that rounding cannot undo.

    The class's own logit is raised by ``adapters.margins.ROUNDING`` of the largest, so that what these attacks
    take for adversarial is what ``adapters.margins.adversarial`` says; an image with a logit that is not finite
    stays in its class.

    Args:
        network: (n, ...) images to (n, classes) logits.
        image: (1, ...) the clean image.
        label: its class.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: int) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            logits = network(image)
        self.clean = float(decisions.size(logits))
        self.own = torch.zeros_like(logits)
        self.own[:, label] = 1.0
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        sizes = decisions.size(logits).unsqueeze(1).clamp_(min=self.clean)
        raised = torch.addcmul(logits, sizes, self.own, value=decisions.ROUNDING)
        # The size of an image's logits is finite exactly when all of them are.
        if math.isfinite(sizes.sum()):
            return raised
        return torch.where(sizes.isfinite(), raised, self.own)


def _ending(attack: EvasionAttack) -> EvasionAttack:
    """HopSkipJump, made to end: it halves a step until the class is wrong, for ever if even a step of 0 leaves it right.

    That happens when the point it stands on is adversarial for the bisection that found it and not, by rounding, for
    the search that follows.
    """
    if not hasattr(attack, "_adversarial_satisfactory"):
        return attack
    ask, failures = attack._adversarial_satisfactory, 0  # noqa: SLF001 - the one place all its questions pass

    def ask_no_longer_than_needed(samples: Array, **kwargs: Any) -> Array:
        nonlocal failures
        answers: Array = ask(samples=samples, **kwargs)
        failures = 0 if answers.any() else failures + 1
        if failures > MOST_HALVINGS:
            raise RuntimeError("HopSkipJump stands on a point that is no longer adversarial, and would search for ever")
        return answers

    attack._adversarial_satisfactory = ask_no_longer_than_needed  # noqa: SLF001 - as above
    return attack


def _shape(call: _Call) -> tuple[int, ...]:
    return tuple(call.images.shape[1:])


def _seed(seed: int, images: Array | None = None) -> None:
    """Sets every global source of randomness, from a seed and, for noise of its own, an image."""
    content = str(seed).encode() if images is None else str(seed).encode() + images.tobytes()
    derived = int.from_bytes(hashlib.blake2b(content, digest_size=4).digest())
    np.random.seed(derived)  # noqa: NPY002 - what ART draws from
    random.seed(derived)
    torch.manual_seed(derived)


@contextmanager
def _global_state_kept() -> Iterator[None]:
    """Puts the global sources of randomness back, so that a call changes nothing for what follows it."""
    states = np.random.get_state(), random.getstate(), torch.get_rng_state()  # noqa: NPY002 - what ART draws from
    try:
        yield
    finally:
        np.random.set_state(states[0])  # noqa: NPY002 - as above
        random.setstate(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def _solvers_from_disk() -> Iterator[None]:
    """Lets Brendel-Bethge, which makes its solver itself, make one that is compiled once per machine."""
    names = ("L0Optimizer", "L2Optimizer", "LinfOptimizer")
    solvers = {name: getattr(brendel_bethge, name) for name in names}
    try:
        for name, solver in solvers.items():
            if hasattr(solver, "class_type"):  # compiled by numba
                setattr(brendel_bethge, name, partial(CachedSolver, solver))
        yield
    finally:
        for name, solver in solvers.items():
            setattr(brendel_bethge, name, solver)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences ART's log and the one progress bar that no argument turns off, Brendel-Bethge's."""
    logger, bars = logging.getLogger("art"), importlib.import_module("tqdm.auto")
    level, bar = logger.level, bars.trange
    logger.setLevel(logging.CRITICAL)
    vars(bars)["trange"] = range
    try:
        yield
    finally:
        logger.setLevel(level)
        vars(bars)["trange"] = bar
