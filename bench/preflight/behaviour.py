"""Checks of how a network behaves: what would make every number of a run meaningless is found here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn

from adapters.margins import ROUNDING
from bench.errors import line
from bench.findings import CheckName, Finding, Level, grade
from bench.guard import Guarded, copied
from bench.judge import Judge
from bench.metrics import wilson
from bench.preflight.probe import Probe, forward, margin
from bench.usercode import kept

_REDUCED = 1e-3
"""Logits that differ by so much of the largest between float32 and float64 were computed in a lower precision."""


def runs(probe: Probe) -> Iterator[Finding]:
    """It takes images and returns floating-point logits, one row per image, for all classes of the labels."""
    network, images, labels = probe.network, probe.images, probe.labels
    try:
        logits = forward(network, images)
    except Exception as error:
        reason = line(error)
        yield Finding(
            CheckName.RUNS, Level.STOP, None, f"forward fails on images of shape {tuple(images.shape)}: {reason}"
        )
        return
    n, needed = len(images), int(labels.max()) + 1
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        yield Finding(
            CheckName.RUNS,
            Level.STOP,
            None,
            f"it returns {shape} for {n} images; it must return logits of shape ({n}, classes)",
        )
    elif logits.shape[1] < max(2, needed):
        yield Finding(
            CheckName.RUNS,
            Level.STOP,
            float(logits.shape[1]),
            f"it has {logits.shape[1]} classes; the labels need at least {max(2, needed)}",
        )
    elif not logits.is_floating_point():
        yield Finding(
            CheckName.RUNS, Level.STOP, None, f"it returns {logits.dtype}; it must return floating-point logits"
        )
    else:
        yield Finding(
            CheckName.RUNS, Level.PASS, float(logits.shape[1]), f"it returns logits for {logits.shape[1]} classes"
        )


def finite(probe: Probe) -> Iterator[Finding]:
    """Every logit is a finite number."""
    network, images = probe.network, probe.images
    bad = int((~forward(network, images).isfinite()).any(1).sum())
    if bad:
        yield Finding(
            CheckName.FINITE_LOGITS,
            Level.STOP,
            float(bad),
            f"its logits are NaN or infinite for {bad} of {len(images)} images; an attack cannot compare them. "
            "Look for log(0), division by zero, overflow or damaged weights",
        )
    else:
        yield Finding(CheckName.FINITE_LOGITS, Level.PASS, 0.0, "every logit is a finite number")


def batches(probe: Probe) -> Iterator[Finding]:
    """An image has the same logits alone as among others, up to rounding."""
    network, images = probe.network, probe.images
    together = forward(network, images)
    some = min(8, len(images))
    alone = torch.cat([forward(network, images[i : i + 1]) for i in range(some)])
    difference = float((together[:some] - alone).abs().max())
    slack = 1e-3 * max(1.0, float(together.abs().max()))
    if difference > slack:
        yield Finding(
            CheckName.BATCHES,
            Level.STOP,
            difference,
            f"an image's logits change by up to {difference:.3g} with the other images in its batch; every image must "
            "be classified by itself",
        )
    else:
        yield Finding(CheckName.BATCHES, Level.PASS, difference, "an image's logits do not depend on its batch")


def depends(probe: Probe) -> Iterator[Finding]:
    """Images and their negatives have different logits, and not all the same class."""
    scaled = probe.scaled()
    images = scaled.images
    logits = forward(scaled.network, torch.cat([images, 1 - images, torch.zeros_like(images[:1])]))
    classes = int(logits.argmax(1).unique().numel())
    spread = float((logits - logits[:1]).abs().max())
    if spread == 0:
        yield Finding(
            CheckName.DEPENDS_ON_THE_IMAGE,
            Level.STOP,
            0.0,
            "its logits are the same for every image; there is nothing to attack",
        )
    elif classes == 1:
        yield Finding(
            CheckName.DEPENDS_ON_THE_IMAGE,
            Level.STOP,
            1.0,
            f"it gives every image, and every negative, the one class {int(logits.argmax(1)[0])}; check its weights and its input range",
        )
    else:
        yield Finding(
            CheckName.DEPENDS_ON_THE_IMAGE,
            Level.PASS,
            float(classes),
            f"it uses {classes} classes on the run's images and their negatives",
        )


def logits(probe: Probe) -> Iterator[Finding]:
    """The outputs are not probabilities."""
    network, images = probe.network, probe.images
    logits = forward(network, images)
    sums = logits.exp().sum(1)
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        yield Finding(
            CheckName.LOGITS,
            Level.WARN,
            None,
            "its outputs are probabilities (they are positive and sum to 1), not logits: distances stay true, but "
            "gradient attacks work on saturated values and may look weak. Return the values before the softmax",
        )
    elif bool(((sums - 1).abs() < 1e-3).all()):
        yield Finding(CheckName.LOGITS, Level.PASS, None, "its outputs are log-probabilities, which are logits")
    else:
        yield Finding(CheckName.LOGITS, Level.PASS, None, "its outputs are logits")


def double(probe: Probe) -> Iterator[Finding]:
    """It runs in float64, in which candidates are judged, and its logits there are those of float32."""
    network, images = probe.network, probe.images
    try:
        exact = torch.from_numpy(Judge(network, probe.domain).logits(images.cpu()))
    except Exception as error:
        reason = line(error)
        yield Finding(
            CheckName.FLOAT64,
            Level.STOP,
            None,
            f"it does not run in float64, in which candidates are judged: {reason}. Avoid fixed dtypes in forward "
            "(use torch.zeros_like, x.new_tensor)",
        )
        return
    single = forward(network, images).cpu().double()
    differ = int((exact.argmax(1) != single.argmax(1)).sum())
    apart = float(((exact - single).abs().amax(1) / exact.abs().amax(1).clamp_min(1e-30)).max())
    same = f"{len(images) - differ} of {len(images)} images have the same class in float32 and float64"
    if differ > len(images) // 10 or apart > _REDUCED:
        yield Finding(
            CheckName.FLOAT64,
            Level.FAIL,
            apart,
            f"its logits in float32, in which attacks compute, and in float64, in which candidates are judged, differ by "
            f"up to {apart:.1g} of the largest logit: attacks and judge see two networks, and what attacks find may be none "
            f"for the judge ({same}). Avoid lower precision and fixed dtypes in forward",
        )
    elif apart > ROUNDING:
        yield Finding(
            CheckName.FLOAT64,
            Level.WARN,
            apart,
            f"its logits in float32 and float64 differ by up to {apart:.1g} of the largest logit, more than the margin of "
            f"{ROUNDING:g} that attacks keep: the judge may refuse some of what attacks find ({same})",
        )
    else:
        yield Finding(CheckName.FLOAT64, Level.PASS, apart, same)


def accuracy(probe: Probe) -> Iterator[Finding]:
    """It is right on most images, and on more than when they are scaled otherwise."""
    n = len(probe.images)

    def right(inputs: Tensor) -> float:
        return float((forward(probe.network, inputs).argmax(1) == probe.labels).float().mean())

    clean = right(probe.images)
    others = {name: right(inputs) for name, inputs in _other_ranges(probe)}
    best = max(others, key=lambda name: others[name])
    if others[best] >= clean + max(0.1, 1.5 / n):
        low, high = (float(end.min() if i == 0 else end.max()) for i, end in enumerate(probe.domain.ends))
        yield Finding(
            CheckName.CLEAN_ACCURACY,
            grade(clean == 0, warns=True),
            clean,
            f"it is right on {clean:.1%} of the images, but on {others[best]:.1%} of them given {best}: it seems to "
            f"expect another input range. Put that scaling into the network, or give --normalize MEAN STD; images here are in [{low:g}, {high:g}]",
        )
    elif clean == 0:
        yield Finding(
            CheckName.CLEAN_ACCURACY,
            Level.FAIL,
            clean,
            f"it is right on none of the {n} images: every distance is 0, and nothing is left to attack. "
            "Check its weights, its input range and the order of its classes",
        )
    elif float(wilson(round(clean * n), n)[1]) < 0.5:
        yield Finding(
            CheckName.CLEAN_ACCURACY,
            Level.WARN,
            clean,
            f"it is right on only {clean:.1%} of the images; misclassified images have distance 0",
        )
    else:
        yield Finding(CheckName.CLEAN_ACCURACY, Level.PASS, clean, f"it is right on {clean:.1%} of {n} images")


def _other_ranges(probe: Probe) -> Iterator[tuple[str, Tensor]]:
    """The images as networks often expect them, in ranges other than the domain's."""
    domain, unit = probe.domain, probe.scaled().images
    for low, high in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        if (domain.low, domain.high) != (low, high):
            yield f"values from {low:g} to {high:g}", unit * (high - low) + low
    # One mean and deviation per channel, as networks of colour pictures have them.
    axes = [axis for axis in range(unit.ndim) if domain.channel_axis is None or axis != domain.channel_axis + 1]
    if domain.per_feature and domain.channel_axis is None:
        axes = [0]
    deviation, mean = torch.std_mean(unit, dim=axes, correction=0, keepdim=True)
    yield "values normalised to mean 0 and deviation 1", (unit - mean) / deviation.clamp_min(1e-6)


_UPPER = (
    "What decision-based attacks find are upper bounds only: a search that passes gradients straight through such a step may "
    "find much smaller distances"
)
"""What distances of a network without gradients are worth."""


def gradients(probe: Probe) -> Iterator[Finding]:
    """The gradients of margin and loss with respect to the image are finite and do not vanish."""
    network, images, labels = probe.network, probe.images, probe.labels
    if _writes_unseen(network, images[:2]):
        yield Finding(
            CheckName.GRADIENTS,
            Level.STOP,
            None,
            "its forward writes into its argument where autograd does not see it (through .data, or under no_grad), so that "
            "its gradients are those of another function; compute a new tensor instead",
        )
        return
    inputs = images.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            logits = network(inputs)
            (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels, reduction="sum"), inputs)
    except Exception as error:
        reason = " ".join(str(error).split())
        yield Finding(
            CheckName.GRADIENTS,
            Level.FAIL,
            None,
            f"no gradient reaches the image ({reason}): gradient-based attacks cannot work. {_UPPER}",
        )
        return
    if not bool(gradient.isfinite().all()):
        yield Finding(
            CheckName.GRADIENTS,
            Level.WARN,
            None,
            "gradients of the loss are NaN or infinite; gradient attacks will fail",
        )
        return
    # Where the loss underflows the margin's gradient still tells whether the network gives any.
    inputs = images.clone().requires_grad_(True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(margin(network(inputs), labels).sum(), inputs)
    flat = float((slope.flatten(1).abs().amax(1) == 0).float().mean())
    saturated = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    if flat > 0.1:
        yield Finding(
            CheckName.GRADIENTS,
            Level.FAIL if flat > 0.5 else Level.WARN,
            flat,
            f"the gradient of the margin vanishes for {flat:.0%} of the images, as behind rounding, signs or thresholds: "
            f"gradient-based attacks hardly move there. {_UPPER}",
        )
    elif saturated > 0.5:
        yield Finding(
            CheckName.GRADIENTS,
            Level.WARN,
            saturated,
            f"the gradient of the loss underflows for {saturated:.0%} of the images; the margin's does not",
        )
    else:
        yield Finding(
            CheckName.GRADIENTS, Level.PASS, flat, f"the margin has a gradient at {1 - flat:.0%} of the images"
        )


def _writes_unseen(network: nn.Module, images: Tensor) -> bool:
    """Whether a call changes its argument by a step that autograd does not record."""
    given = images.clone().requires_grad_().clone()
    before, recorded = given.detach().clone(), given.grad_fn
    with kept(), torch.enable_grad(), suppress(RuntimeError):
        copied(Guarded.of(network).network)(given)
    return given.grad_fn is recorded and not torch.equal(before, given.detach())
