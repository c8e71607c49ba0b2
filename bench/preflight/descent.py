"""Checks that need an attack: a plain descent, written here, that no library's defect can spoil.

Sources: Carlini et al. (arXiv:1902.06705); Pintor et al., Indicators of Attack Failure (arXiv:2106.09947).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import networks
from bench.data import CLASSES, SHAPE
from bench.metrics import wilson
from bench.preflight.findings import Finding, Level, Probe

IMAGES = 16
"""How many correctly classified images are attacked."""

STEPS = 20
REACH = 0.2
"""How far a descent may go, as a share of the box's diagonal: 5.6 in L2 for an image of 28 x 28 in [0, 1]."""

PLACES = 100
"""At how many places along a line a change of class is looked for."""

BETTER = 0.05
"""A distance counts as smaller when it is so by more than 5 %: less is noise of step sizes."""

SURROGATES = ("CNN", "MLP")
"""Networks of the bench whose adversarial examples are tried on the one under test."""


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
    with torch.no_grad():
        right = probe.network(probe.images).argmax(1) == probe.labels
    images, labels = probe.images[right][:IMAGES], probe.labels[right][:IMAGES]
    if not len(images):
        return
    descent = descend(probe.network, images, labels, probe.box, STEPS)
    yield _loss_falls(descent)
    yield _more_steps(descent, descend(probe.network, images, labels, probe.box, 2 * STEPS))
    single = descend(probe.network, images, labels, probe.box, 1).distances
    yield from _beaten("iterative_beats_single_step", single, descent, "a single step along the first gradient")
    if images.shape[1:] == SHAPE and int(labels.max()) < CLASSES:
        transferred = _transferred(probe, images, labels)
        yield from _beaten("transfer", transferred, descent, "an example made for another network of the bench")


def descend(network: nn.Module, images: Tensor, labels: Tensor, box: tuple[float, float], steps: int) -> Descent:
    """Normalised gradient steps down the margin, ``x <- clip(x - (reach / steps) g / norm2(g))``.

    An image without a gradient, or whose gradient is not finite, stays where it is. It ends once every image is
    wrong.

    Args:
        network: logits out.
        images: (n, ...) float32 in the box.
        labels: (n,) int64.
        box: lowest and highest value.
        steps: at most so many.
    """
    low, high = box
    size = REACH * (high - low) * images[0].numel() ** 0.5 / steps
    points, reached = images, images
    margins: list[Tensor] = []
    for step in range(steps + 1):
        inputs = points.clone().requires_grad_(True)
        with torch.enable_grad():
            values = margin(network, inputs, labels)
            gradient = _gradient(values, inputs)
        values = values.detach()
        wrong_before = torch.stack(margins).lt(0).any(0) if margins else torch.zeros_like(labels, dtype=torch.bool)
        reached = torch.where(_wide(wrong_before, images), reached, points)
        margins.append(values)
        if step == steps or bool((wrong_before | (values < 0)).all()):
            break
        length = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
        points = (points - size * gradient / _wide(length, images)).clamp(low, high)
    changes = reached - images
    return Descent(changes, torch.stack(margins), _crossing(network, images, labels, changes))


def margin(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest other one, (n,): below 0 the image is wrong."""
    logits: Tensor = network(images)
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


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
            wrong = margin(network, images + share * changes, labels) < 0
            distances = torch.where(wrong & (lengths > 0), share * lengths, distances)
    return distances


def _wide(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *[1] * (images.ndim - 1))


def _loss_falls(descent: Descent) -> Finding:
    """The margin falls in most steps, up to the first point that is wrong."""
    before, after = descent.margins[:-1], descent.margins[1:]
    counted = before >= 0
    falls = ((after < before) & counted).sum(0) / counted.sum(0).clamp_min(1)
    stuck = int((falls < 0.5).sum())
    n = len(falls)
    share = stuck / n
    level = Level.FAIL if share > 0.25 else Level.WARN if share > 0.05 else Level.PASS
    message = f"on {n - stuck} of {n} images the margin falls in most steps of a plain descent"
    if stuck:
        message += ": on the others following the gradient does not lead to another class"
    return Finding("loss_falls", level, share, message)


def _more_steps(short: Descent, long: Descent) -> Finding:
    """Steps of half the size find about the same distances as steps of the whole."""
    both = torch.isfinite(short.distances) | torch.isfinite(long.distances)
    if not bool(both.any()):
        message = "a plain descent finds nothing, with any number of steps"
        return Finding("more_steps", Level.FAIL, None, message)
    ratio = (short.distances / long.distances)[both].nan_to_num(torch.inf, torch.inf)
    middle = float(ratio.sort().values[(len(ratio) - 1) // 2])
    level = Level.FAIL if middle > 1.25 else Level.WARN if middle > 1.0 + BETTER else Level.PASS
    message = (
        f"a plain descent of {STEPS} steps finds {middle:.3g} times the distance of one of {2 * STEPS}, in the median"
    )
    return Finding("more_steps", level, middle, message)


def _beaten(check: str, other: Tensor, descent: Descent, what: str) -> Iterator[Finding]:
    """A descent is not beaten by something that knows less, by more than 5 %, on more images than by chance.

    Nothing is said where neither of them finds anything.
    """
    n = int((torch.isfinite(other) | torch.isfinite(descent.distances)).sum())
    if not n:
        return
    beaten = int((other < descent.distances * (1 - BETTER)).sum())
    low = float(wilson(beaten, n)[0])
    level = Level.FAIL if low > 0.5 else Level.WARN if low > 0.1 else Level.PASS
    message = f"{what} is nearer than a plain descent on {beaten} of {n} images"
    yield Finding(check, level, beaten / n, message)


def _transferred(probe: Probe, images: Tensor, labels: Tensor) -> Tensor:
    """The smallest distance at which a change made on another network makes this one wrong, (n,)."""
    best = torch.full((len(images),), torch.inf, device=images.device)
    with torch.no_grad():
        own = probe.network(images)
    for name in SURROGATES:
        surrogate = networks.load(name, images.device)
        with torch.no_grad():
            same = torch.equal(surrogate(images), own)
        if same:
            continue
        changes = descend(surrogate, images, labels, probe.box, STEPS).changes
        # An example that just fools its own network seldom fools another: the change is followed further.
        low, high = probe.box
        further = (images + 5 * changes).clamp(low, high) - images
        best = torch.minimum(best, _crossing(probe.network, images, labels, further))
    return best
