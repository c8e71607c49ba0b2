"""Checks that need an attack: a plain descent, written here, that no library's defect can spoil.

Sources: Carlini et al. (arXiv:1902.06705); Pintor et al., Indicators of Attack Failure (arXiv:2106.09947).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.findings import BETTER, FAR, CheckName, Finding, Level, grade
from bench.metrics import wilson
from bench.preflight.probe import Probe, forward, margin
from bench.problem import Problem, in_unit_box

IMAGES = 16
"""How many correctly classified images are attacked."""

STEPS = 20
REACH = 0.2
"""How far a descent may go, as a fraction of the box's diagonal: 5.6 in L2 for an image of 28 x 28 in [0, 1]."""

PLACES = 100
"""At how many places along a line a change of class is looked for."""


@dataclass(frozen=True, slots=True)
class Descent:
    """What a descent did on n images.

    Attributes:
        changes: (n, ...) from each image to the first point of its path that is wrong, or to the last point.
        margins: (k, n), the label's logit minus the largest other, at the points of the path.
        distances: (n,) L2 of the smallest change along ``changes`` that is wrong; +inf where none is.
    """

    changes: Tensor
    margins: Tensor
    distances: Tensor


def checks(probe: Probe) -> Iterator[Finding]:
    """Whether a descent works on this network: its loss falls, steps pay, and it beats what knows less.

    Nothing is said of a network that is right on none of the images.
    """
    scaled = probe.scaled()
    right = forward(scaled.network, scaled.images).argmax(1) == scaled.labels
    problem = scaled.select(right).select(slice(IMAGES))
    if not len(problem):
        return
    network, images, labels = problem.network, problem.images, problem.labels
    descent = descend(network, images, labels, STEPS)
    yield _loss_falls(descent)
    yield _more_steps(descent, descend(network, images, labels, 2 * STEPS))
    single = descend(network, images, labels, 1).distances
    check = CheckName.ITERATIVE_BEATS_SINGLE_STEP
    yield from _beaten(check, single, descent, "a single step along the first gradient")
    transferred = _transferred(probe, problem)
    if transferred is not None:
        yield from _beaten(CheckName.TRANSFER, transferred, descent, "an example made for another network of the run")


def descend(network: nn.Module, images: Tensor, labels: Tensor, steps: int) -> Descent:
    """Normalised gradient steps down the margin in the unit box, ``x <- clip(x - (reach / steps) g / norm2(g))``.

    An image without a gradient, or whose gradient is not finite, stays where it is. It ends once every image is
    wrong.

    Args:
        network: logits out.
        images: (n, *shape) float32 in the unit box.
        labels: (n,) int64.
        steps: at most so many.
    """
    size = REACH * images[0].numel() ** 0.5 / steps
    points, reached = images, images
    margins: list[Tensor] = []
    for step in range(steps + 1):
        inputs = points.clone().requires_grad_(True)
        with torch.enable_grad():
            values = margin(network(inputs), labels)
            gradient = _gradient(values, inputs)
        values = values.detach()
        wrong_before = torch.stack(margins).lt(0).any(0) if margins else torch.zeros_like(labels, dtype=torch.bool)
        reached = torch.where(_wide(wrong_before, images), reached, points)
        margins.append(values)
        if step == steps or bool((wrong_before | (values < 0)).all()):
            break
        length = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
        points = (points - size * gradient / _wide(length, images)).clamp(0, 1)
    changes = reached - images
    return Descent(changes, torch.stack(margins), _crossing(network, images, labels, changes))


def _gradient(values: Tensor, inputs: Tensor) -> Tensor:
    try:
        (gradient,) = torch.autograd.grad(values.sum(), inputs, allow_unused=True)
    except RuntimeError:
        gradient = None
    return torch.zeros_like(inputs) if gradient is None else gradient.nan_to_num(0.0, 0.0, 0.0)


def _crossing(network: nn.Module, images: Tensor, labels: Tensor, changes: Tensor) -> Tensor:
    """L2 of the smallest multiple in (0, 1] of each change, on a grid, that makes its image wrong; +inf for none."""
    lengths = changes.flatten(1).norm(dim=1)
    distances = torch.full_like(lengths, torch.inf)
    with torch.no_grad():
        for place in range(PLACES, 0, -1):
            share = place / PLACES
            wrong = margin(network(images + share * changes), labels) < 0
            distances = torch.where(wrong & (lengths > 0), share * lengths, distances)
    return distances


def _wide(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *[1] * (images.ndim - 1))


def _loss_falls(descent: Descent) -> Finding:
    """The margin falls in most steps, up to the first point that is wrong."""
    before, after = descent.margins[:-1], descent.margins[1:]
    counted = before >= 0
    falls = ((after < before) & counted).sum(0) / counted.sum(0).clamp_min(1)
    rising = int((falls < 0.5).sum())
    n = len(falls)
    share = rising / n
    level = grade(share > 0.25, share > 0.05)
    message = f"on {n - rising} of {n} images the margin falls in most steps of a plain descent"
    if rising:
        message += ": on the others following the gradient does not lead to another class"
    return Finding(CheckName.LOSS_FALLS, level, share, message)


def _more_steps(short: Descent, long: Descent) -> Finding:
    """Steps of half the size find about the same distances as steps of the whole."""
    both = torch.isfinite(short.distances) | torch.isfinite(long.distances)
    if not bool(both.any()):
        message = "a plain descent finds nothing, with any number of steps"
        return Finding(CheckName.MORE_STEPS, Level.FAIL, None, message)
    ratio = (short.distances / long.distances)[both].nan_to_num(torch.inf, torch.inf)
    middle = float(ratio.sort().values[(len(ratio) - 1) // 2])
    level = grade(middle > 1 + FAR, middle > 1 + BETTER)
    found = f"find {middle:.2f} times the distance of {2 * STEPS} steps (median ratio)"
    if math.isinf(middle):
        found = f"find nothing on half of the images or more where {2 * STEPS} steps do"
    message = f"{STEPS} steps of a plain descent {found}"
    return Finding(CheckName.MORE_STEPS, level, middle, message)


def _beaten(check: CheckName, other: Tensor, descent: Descent, what: str) -> Iterator[Finding]:
    """A descent is not beaten by something that knows less, by more than 5 %, on more images than by chance.

    Nothing is said where neither of them finds anything.
    """
    n = int((torch.isfinite(other) | torch.isfinite(descent.distances)).sum())
    if not n:
        return
    beaten = int((other < descent.distances * (1 - BETTER)).sum())
    low = float(wilson(beaten, n)[0])
    level = grade(low > 0.5, low > 0.1)
    message = f"{what} is nearer than a plain descent on {beaten} of {n} images"
    yield Finding(check, level, beaten / n, message)


def _transferred(probe: Probe, problem: Problem) -> Tensor | None:
    """The smallest distance at which a change made on another network of the run makes this one wrong, (n,).

    None where there is no other network: none was given, they compute the same, or they fail.
    """
    images, labels = problem.images, problem.labels
    best, tried = torch.full((len(images),), torch.inf, device=images.device), False
    own = forward(problem.network, images)
    for network in probe.others.values():
        other = in_unit_box(network, probe.domain)
        try:
            if torch.equal(forward(other, images), own):
                continue
            changes = descend(other, images, labels, STEPS).changes
        except Exception:  # noqa: S112 - a fault of another network, which its own checks report
            continue
        # An example that just fools its own network seldom fools another: the change is followed further.
        further = (images + 5 * changes).clamp(0, 1) - images
        best, tried = torch.minimum(best, _crossing(problem.network, images, labels, further)), True
    return best if tried else None
