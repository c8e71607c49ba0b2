"""Checks of how a network behaves: what would make every number of a run meaningless is found here."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.judge import Judge
from bench.metrics import wilson
from bench.preflight.findings import Finding, Level, Probe


def _forward(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def runs(probe: Probe) -> Iterator[Finding]:
    """It takes images and returns floating-point logits, one row per image, for all classes of the labels."""
    network, images, labels = probe.network, probe.images, probe.labels
    try:
        logits = _forward(network, images)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding("runs", Level.STOP, None, f"forward fails on images of shape {tuple(images.shape)}: {reason}")
        return
    n, needed = len(images), int(labels.max()) + 1
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        yield Finding(
            "runs",
            Level.STOP,
            None,
            f"it returns {shape} for {n} images; it must return logits of shape ({n}, classes)",
        )
    elif logits.shape[1] < max(2, needed):
        yield Finding(
            "runs",
            Level.STOP,
            float(logits.shape[1]),
            f"it has {logits.shape[1]} classes; the labels need at least {max(2, needed)}",
        )
    elif not logits.is_floating_point():
        yield Finding("runs", Level.STOP, None, f"it returns {logits.dtype}; it must return floating-point logits")
    else:
        yield Finding("runs", Level.PASS, float(logits.shape[1]), f"it returns logits for {logits.shape[1]} classes")


def finite(probe: Probe) -> Iterator[Finding]:
    """Every logit is a finite number."""
    network, images = probe.network, probe.images
    bad = int((~_forward(network, images).isfinite()).any(1).sum())
    if bad:
        yield Finding(
            "finite logits",
            Level.STOP,
            float(bad),
            f"its logits are NaN or infinite for {bad} of {len(images)} images; an attack cannot compare them. "
            "Look for log(0), division by zero, overflow or damaged weights",
        )
    else:
        yield Finding("finite logits", Level.PASS, 0.0, "every logit is a finite number")


def repeats(probe: Probe) -> Iterator[Finding]:
    """Two forward passes of the same images are equal to the bit."""
    network, images = probe.network, probe.images
    first, second = _forward(network, images), _forward(network, images)
    difference = float((first - second).abs().max())
    training = [name or type(module).__name__ for name, module in network.named_modules() if module.training]
    if difference > 0:
        cause = f"modules in training mode: {', '.join(training[:5])}" if training else "it draws random numbers"
        yield Finding(
            "repeats",
            Level.STOP,
            difference,
            f"two forward passes of the same images differ by up to {difference:.3g} ({cause}); a minimal norm is "
            "not defined for a random classifier. Return network.eval(), or fix the randomness",
        )
    elif training:
        yield Finding(
            "repeats",
            Level.WARN,
            0.0,
            f"it repeats exactly, but these modules stay in training mode: {', '.join(training[:5])}",
        )
    else:
        yield Finding("repeats", Level.PASS, 0.0, "two forward passes of the same images are equal to the bit")


def batches(probe: Probe) -> Iterator[Finding]:
    """An image has the same logits alone as among others, up to rounding."""
    network, images = probe.network, probe.images
    together = _forward(network, images)
    some = min(8, len(images))
    alone = torch.cat([_forward(network, images[i : i + 1]) for i in range(some)])
    difference = float((together[:some] - alone).abs().max())
    slack = 1e-3 * max(1.0, float(together.abs().max()))
    if difference > slack:
        yield Finding(
            "batches",
            Level.STOP,
            difference,
            f"an image's logits change by up to {difference:.3g} with the other images in its batch; every image must "
            "be classified by itself (batch normalisation in training mode does this)",
        )
    else:
        yield Finding("batches", Level.PASS, difference, "an image's logits do not depend on its batch")


def depends(probe: Probe) -> Iterator[Finding]:
    """Images and their negatives have different logits, and not all the same class."""
    network, images, box = probe.network, probe.images, probe.box
    low, high = box
    probes = torch.cat(
        [images, low + (high - low) * (1 - (images - low) / (high - low)), torch.full_like(images[:1], low)]
    )
    logits = _forward(network, probes)
    classes = int(logits.argmax(1).unique().numel())
    spread = float((logits - logits[:1]).abs().max())
    if spread == 0:
        yield Finding(
            "depends on the image",
            Level.STOP,
            0.0,
            "its logits are the same for every image; there is nothing to attack",
        )
    elif classes == 1:
        yield Finding(
            "depends on the image",
            Level.STOP,
            1.0,
            f"it gives every image, and every negative, the one class {int(logits.argmax(1)[0])}; check its weights and its input range",
        )
    else:
        yield Finding(
            "depends on the image",
            Level.PASS,
            float(classes),
            f"it uses {classes} classes on the run's images and their negatives",
        )


def logits(probe: Probe) -> Iterator[Finding]:
    """The outputs are not probabilities."""
    network, images = probe.network, probe.images
    logits = _forward(network, images)
    sums = logits.exp().sum(1)
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        yield Finding(
            "logits",
            Level.WARN,
            None,
            "its outputs are probabilities (they are positive and sum to 1), not logits: distances stay true, but "
            "gradient attacks work on saturated values and may look weak. Return the values before the softmax",
        )
    elif bool(((sums - 1).abs() < 1e-3).all()):
        yield Finding("logits", Level.PASS, None, "its outputs are log-probabilities, which are logits")
    else:
        yield Finding("logits", Level.PASS, None, "its outputs are logits")


def double(probe: Probe) -> Iterator[Finding]:
    """It runs in float64, in which candidates are judged, and decides as in float32."""
    network, images, labels, box = probe.network, probe.images, probe.labels, probe.box
    try:
        decisions = Judge(network, box).decide(images.cpu(), labels.cpu())
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(
            "float64",
            Level.STOP,
            None,
            f"it does not run in float64, in which candidates are judged: {reason}. Avoid fixed dtypes in forward "
            "(use torch.zeros_like, x.new_tensor)",
        )
        return
    single = _forward(network, images).argmax(1).tolist()
    differ = sum(decision.predicted != predicted for decision, predicted in zip(decisions, single, strict=True))
    if differ > len(images) // 10:
        yield Finding(
            "float64",
            Level.WARN,
            float(differ),
            f"{differ} of {len(images)} images have another class in float64 than in float32; the judge decides in float64",
        )
    else:
        yield Finding(
            "float64",
            Level.PASS,
            float(differ),
            f"{len(images) - differ} of {len(images)} images have the same class in float32 and float64",
        )


def accuracy(probe: Probe) -> Iterator[Finding]:
    """It is right on most images, and on more than when they are scaled otherwise."""
    network, images, labels = probe.network, probe.images, probe.labels

    def accuracy(inputs: Tensor) -> float:
        return float((_forward(network, inputs).argmax(1) == labels).float().mean())

    clean = accuracy(images)
    others = {
        "values from 0 to 255": images * 255,
        "values from -1 to 1": images * 2 - 1,
        "values normalised with MNIST's mean 0.1307 and deviation 0.3081": (images - 0.1307) / 0.3081,
    }
    better = {name: accuracy(inputs) for name, inputs in others.items()}
    best = max(better, key=lambda name: better[name])
    n = len(images)
    if better[best] >= clean + max(0.1, 1.5 / n):
        yield Finding(
            "clean accuracy",
            Level.WARN,
            clean,
            f"it is right on {clean:.1%} of the images, but on {better[best]:.1%} of them given {best}: it seems to "
            "expect another input range. Put that scaling into the network; images here are in [0, 1]",
        )
    elif float(wilson(round(clean * n), n)[1]) < 0.5:
        yield Finding(
            "clean accuracy",
            Level.WARN,
            clean,
            f"it is right on only {clean:.1%} of the images; misclassified images have distance 0",
        )
    else:
        yield Finding("clean accuracy", Level.PASS, clean, f"it is right on {clean:.1%} of {len(images)} images")


def gradients(probe: Probe) -> Iterator[Finding]:
    """The gradients of margin and loss with respect to the image are finite and do not vanish."""
    network, images, labels = probe.network, probe.images, probe.labels
    inputs = images.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            logits = network(inputs)
            (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels, reduction="sum"), inputs)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        yield Finding(
            "gradients",
            Level.FAIL,
            None,
            f"no gradient reaches the image ({reason}); only decision-based attacks mean something",
        )
        return
    if not bool(gradient.isfinite().all()):
        yield Finding(
            "gradients", Level.WARN, None, "gradients of the loss are NaN or infinite; gradient attacks will fail"
        )
        return
    # Where the loss underflows the margin's gradient still tells whether the network gives any.
    inputs = images.clone().requires_grad_(True)
    with torch.enable_grad():
        logits = network(inputs)
        chosen = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        (margin,) = torch.autograd.grad((chosen - others).sum(), inputs)
    flat = float((margin.flatten(1).abs().amax(1) == 0).float().mean())
    saturated = float((gradient.flatten(1).abs().amax(1) == 0).float().mean())
    if flat > 0.1:
        yield Finding(
            "gradients",
            Level.FAIL if flat > 0.5 else Level.WARN,
            flat,
            f"the gradient of the margin vanishes for {flat:.0%} of the images: gradients may be masked, and gradient attacks look weak",
        )
    elif saturated > 0.5:
        yield Finding(
            "gradients",
            Level.WARN,
            saturated,
            f"the gradient of the loss underflows for {saturated:.0%} of the images; the margin's does not",
        )
    else:
        yield Finding("gradients", Level.PASS, flat, f"the margin has a gradient at {1 - flat:.0%} of the images")
