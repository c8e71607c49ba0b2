"""What every attack must keep, and how near it must come to distances that are known in closed form."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adapters import own
from bench import libraries
from bench.domain import Domain
from bench.engine.queries import CountedNetwork
from bench.errors import UsageError, line
from bench.norms import L0_TOLERANCE, Norm
from bench.problem import Attacker, Problem, problem
from bench.specs import Access, AttackSpec, Coupling
from bench.testing.closed_form import BOXES, CASES, SHAPE, Case

ROUNDING = 1e-5
"""How far below the optimum float32 images may lie, relative to it."""

USUAL = 1.25
"""How many times the minimal distance an attack may find on a linear network."""

CASE = CASES[1]
"""Ten classes, of which four images are correctly classified."""

FAR = 500
"""How many classes are added that are never near."""


class AttackError(AssertionError):
    """An attack does not keep what every attack must; the text has a line for each reason."""


def check_attack(
    attack: Callable[..., Any] | str | AttackSpec,
    *,
    norm: Norm | str | None = None,
    tolerance: float = USUAL,
    **options: Any,
) -> None:
    """Check an attack: what every attack must keep, and minimal distances that are known in closed form.

    It is run on small linear networks: of two and of ten classes, in the unit box and in others, on images and on
    features. An attack that takes seconds an image takes a minute here.

    Args:
        attack: a function ``f(network, images, labels, **params)``, ``file.py:function``, or a row of a suite.
        norm: the distance that the function minimises; a row has its own.
        tolerance: how many times the minimal distance each candidate may have.
        options: of a function: as :func:`adapters.own.row` takes them, such as ``params`` or ``access``.

    Raises:
        AttackError: the attack fails, with a line for each reason.
        UsageError: ``norm`` or an option is not possible.
    """
    if isinstance(attack, AttackSpec):
        if norm is not None or options:
            raise TypeError("a row has a norm and parameters of its own; give them with a function only")
        row = attack
    elif norm is None:
        raise TypeError("give the norm that the function minimises: norm='l2'")
    else:
        row = own.row(attack, norm=norm, **options)
    reasons = []
    for name, check in CHECKS.items():
        try:
            check(row)
        except AttackError as failure:
            reasons.append(f"{name}: {failure}")
    for case in (*CASES, *BOXES):
        try:
            check_optimum(row, case, tolerance)
        except AttackError as failure:
            reasons.append(f"minimal distances, {case}: {failure}")
    if reasons:
        raise AttackError("\n".join([f"attack {row.title} in {row.norm.label} fails {len(reasons)} checks:", *reasons]))


def attacker(row: AttackSpec) -> Attacker:
    """What runs a row."""
    library = libraries.load(row.library)
    found: Attacker = libraries.part(library, library.attacker)
    return found


def unit(network: nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0, starts: Tensor | None = None) -> Problem:
    """The problem of images that are in the unit box already."""
    with torch.no_grad():
        classes = network(images[:1]).shape[1]
    axis = 0 if images.ndim == 4 else None
    domain = Domain(shape=tuple(images.shape[1:]), classes=classes, low=0.0, high=1.0, channel_axis=axis)
    return problem(network, images, labels, domain, starts=starts, seed=seed)


def proposed(row: AttackSpec, given: Problem) -> Tensor:
    """The candidates of a row, its blocks one after the other: (n, *shape).

    Raises:
        Exception: whatever the attack raises.
    """
    blocks = torch.arange(len(given)).split(row.block)
    return torch.cat([torch.as_tensor(attacker(row).attack(row, given.select(block))) for block in blocks])


def candidates(row: AttackSpec, given: Problem) -> Tensor:
    """The same of an attack that is checked.

    Raises:
        AttackError: the attack raises an error, or does not return a finite float32 candidate of the right shape for each
            image.
        UsageError: there is no such attack.
    """
    try:
        found = proposed(row, given)
    except UsageError:
        raise
    except Exception as error:
        raise AttackError(f"it raised {line(error)}") from error
    if (found.shape, found.dtype) != (given.images.shape, torch.float32):
        raise AttackError(
            f"it returned {found.dtype} of shape {tuple(found.shape)}, not float32 of {tuple(given.images.shape)}"
        )
    if not found.isfinite().all():
        raise AttackError("candidates hold NaN or infinity; return the clean image where nothing is found")
    return found


def check_optimum(row: AttackSpec, case: Case, tolerance: float = USUAL) -> None:
    """Check what a row finds on a network whose minimal distances are known.

    Args:
        row: an attack.
        case: the network and its images.
        tolerance: how many times the minimal distance each candidate may have.

    Raises:
        AttackError: an image has no adversarial candidate (of a row with known defects: no image has one), a
            candidate is too far, or leaves the box.
    """
    given = case.problem()
    points = candidates(row, given).double().numpy()
    if row.norm is Norm.L0:
        images = given.images.double().numpy()
        points = np.where(np.abs(points - images) <= L0_TOLERANCE, images, points)
    inputs = case.domain.from_unit(points, given.inputs.numpy(), given.images.numpy())
    with torch.no_grad():
        logits = copy.deepcopy(case.network).double()(torch.from_numpy(inputs))
    found = (logits.argmax(1) != case.labels).numpy()
    distances = row.norm.of(case.domain.measured(inputs - case.inputs.double().numpy()))
    ratios = distances / case.optimum(row.norm)
    _check_box(points)
    if not found.any() or not (row.defects or found.all()):
        raise AttackError(f"of {len(found)} images {found.sum()} have an adversarial candidate; each has one")
    if (ratios[found] < 1 - ROUNDING).any():
        raise AssertionError(f"below the optimum: {ratios}")
    if (ratios[found] > tolerance).any():
        listed = ", ".join(f"{ratio:.4g}" for ratio in ratios[found])
        raise AttackError(
            f"the candidates are {listed} times as far as the nearest ones; at most {tolerance:g} is allowed"
        )


def _check_box(points: np.ndarray[Any, Any]) -> None:
    if points.min() < 0 or points.max() > 1:
        raise AttackError(
            f"candidates leave the box [0, 1]: their values go from {points.min():.6g} to {points.max():.6g}"
        )


def check_seed(row: AttackSpec) -> None:
    """Check that the seed alone decides what is found."""
    results = []
    with _states_put_back():
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the global state is what is tested
            random.seed(seed)
            results.append(candidates(row, CASE.problem(seed=5)))
    if not torch.equal(*results):
        raise AttackError(
            "run twice with one seed it returns two results; draw from torch, numpy.random or random as they are, and "
            "keep nothing from one call to the next"
        )


def check_random_states(row: AttackSpec) -> None:
    """Check that the global sources of random numbers are as they were."""
    attacker(row)  # what a library draws when it is imported is no attack's doing
    with _states_put_back():
        before = _states()
        candidates(row, CASE.problem().select(slice(0, 1)))
        if _states() != before:
            raise AttackError("a global source of random numbers is not as it was before the call")


def check_nothing_changed(row: AttackSpec) -> None:
    """Check that images, weights, gradients and modes are as they were."""
    with _states_put_back():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 4)).train()
        images = torch.rand((1, *SHAPE))
    network[0].eval()
    with torch.no_grad():
        labels = nn.Sequential(*(layer for layer in network if not isinstance(layer, nn.Dropout)))(images).argmax(1)
    given = unit(network, images, labels)
    image, state = images.clone(), {name: value.clone() for name, value in network.state_dict().items()}
    candidates(row, given)
    changed = {
        "an image": not torch.equal(given.images, image),
        "a weight": any(not torch.equal(network.state_dict()[name], value) for name, value in state.items()),
        "the mode (training or eval) of a layer": [each.training for each in network] != [False, True, True, True, True]
        or not network.training,
        "requires_grad or the gradient of a parameter": any(
            not parameter.requires_grad or parameter.grad is not None for parameter in network.parameters()
        ),
    }
    if any(changed.values()):
        raise AttackError(
            f"after the call {', '.join(what for what, is_so in changed.items() if is_so)} is not as before"
        )


def check_alone(row: AttackSpec) -> None:
    """Check that an image alone gets the candidate that it gets among others, unless the row says otherwise."""
    if row.coupling is Coupling.NOISE:
        return
    given = CASE.problem()
    together = candidates(row, given)
    for index in range(len(given)):
        one = slice(index, index + 1)
        alone = candidates(row, given.select(one))
        # Up to the rounding of float32, which another size of batch changes.
        if not torch.allclose(together[one], alone, atol=2e-5, rtol=1e-4):
            largest = float((together[one] - alone).abs().max())
            raise AttackError(
                f"image {index} gets another candidate alone than among {len(given)} (largest difference {largest:.2g}); "
                "if it draws random numbers for all images together say coupling='noise', if it averages over images "
                "say coupling='batch'"
            )


def check_access(row: AttackSpec) -> None:
    """Check that the network is asked, and for gradients only where the row says so."""
    counted = CountedNetwork(CASE.network)
    candidates(row, unit(counted, CASE.images[:2], CASE.labels[:2]))
    if counted.forwards < 2:
        raise AttackError("it does not ask the network about each image: call network(images)")
    if counted.backwards and row.method.access is Access.DECISION:
        raise AttackError(
            f"it asks for {counted.backwards} gradients, but its access is 'decision'; say access='gradient'"
        )
    if not counted.backwards and row.method.access is Access.GRADIENT:
        raise AttackError("it asks for no gradient, but its access is 'gradient'; say access='decision'")


class WithClassesFarBehind(nn.Module):
    """The network, and classes that are never near."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) images."""
        logits: Tensor = self.network(images)
        return nn.functional.pad(logits, (0, self.classes), value=-30.0)


def check_many_classes(row: AttackSpec) -> None:
    """Check that classes that are never near cost nothing and change nothing."""
    with _states_put_back():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 12)).eval().requires_grad_(False)
        images = torch.rand((2, 1, 4, 4))
    labels = network(images).argmax(1)
    few, many = (CountedNetwork(WithClassesFarBehind(network, number)) for number in (1, FAR))
    without, beside = (candidates(row, unit(counted, images, labels)) for counted in (few, many))
    if not torch.allclose(without, beside, atol=2e-5, rtol=1e-4):
        raise AttackError(f"{FAR} classes that are never near change the candidates")
    if (few.forwards, few.backwards) != (many.forwards, many.backwards):
        raise AttackError(
            f"{FAR} classes that are never near cost {many.forwards} forward and {many.backwards} backward passes where "
            f"{few.forwards} and {few.backwards} do; consider the classes with the largest logits only"
        )


class NeverWrong(nn.Module):
    """Every image is in class 0, by a wide margin, and there is a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(SHAPE)), 4)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-0.01, 0.01, self.layer.weight.numel()).view_as(self.layer.weight))
            self.layer.bias.copy_(torch.tensor([10.0, 0.0, 0.0, 0.0]))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 4) of (n, *shape) images."""
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def never_wrong() -> Problem:
    """Images of a network that has no adversarial example."""
    images = CASE.images[2:]
    labels = torch.zeros(len(images), dtype=torch.int64)
    return unit(NeverWrong(), images, labels, starts=images.flip(0).unsqueeze(1))


def check_failure(row: AttackSpec) -> None:
    """Check that an attack ends in the box where there is nothing to find."""
    _check_box(candidates(row, never_wrong()).double().numpy())


CHECKS: Mapping[str, Callable[[AttackSpec], None]] = {
    "the seed decides": check_seed,
    "random numbers": check_random_states,
    "nothing is changed": check_nothing_changed,
    "alone and among others": check_alone,
    "access": check_access,
    "many classes": check_many_classes,
    "nothing to find": check_failure,
}
"""What every attack must keep: name -> a function of a row that raises :class:`AttackError`."""


def _states() -> tuple[object, ...]:
    """The states of the global sources of random numbers."""
    keys = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002 - what is tested
    return random.getstate(), keys, torch.get_rng_state().tolist()


@contextmanager
def _states_put_back() -> Iterator[None]:
    """Put the global sources of random numbers back to where they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - as above
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above
        torch.set_rng_state(states[2])
