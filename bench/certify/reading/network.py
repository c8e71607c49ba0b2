"""Read a torch network into plain arrays, and refuse every network that may compute something else than is read."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench import guard
from bench.certify.layers import PlainNetwork
from bench.certify.reading import known
from bench.certify.reading.stages import staged
from bench.certify.reading.trace import trace
from bench.problem import InUnitBox, Unsupported

_AGREEMENT = 1e-8
"""Logits of the module and of its plain form may differ by this much, relative to 1 + the largest logit."""

_RANDOM_POINTS = 64
"""Random points, and as many random corners of the box, at which the plain form is compared with the module."""


def in_double(network: nn.Module) -> nn.Module:
    """A copy of the network that computes in float64 on the CPU, in eval mode, its parameters frozen: the judge's view.

    Raises:
        Unsupported: it cannot be copied.
    """
    try:
        copied = guard.copied(network)
    except Exception as error:
        raise Unsupported(f"no verifier for {type(network).__name__}: it cannot be copied ({error})") from error
    copied = guard.frozen(guard.converted(copied, "cpu", torch.float64))
    for layer in copied.modules():
        # What overwrites its input would overwrite the points that are evaluated.
        if type(layer) in known.IN_PLACE:
            setattr(layer, "inplace", False)  # noqa: B010 - no attribute of modules in general
    return copied


def read(network: nn.Module, images: Tensor) -> PlainNetwork:
    """A network as plain arrays.

    Args:
        network: layers and functions of :mod:`bench.certify.reading.known`, put together by ``nn.Sequential`` or by
            the forward of any module, in eval mode; :class:`bench.problem.InUnitBox` may stand in front.
        images: (n, *shape) points of the unit box, n at least 1: the shape is read, and the plain network must agree
            with the module on them, between them, at random points and at corners of the box.

    Returns:
        The network of unit points as arrays in float64.

    Raises:
        Unsupported: a layer or a function is of another kind or changed by its user, the network is too large to be written as
            matrices, or the module does not compute what was read.
    """
    double = in_double(network)
    shape = tuple(images.shape[1:])
    low, width = np.zeros(shape).ravel(), np.ones(shape).ravel()
    if isinstance(double, InUnitBox):
        low, width = (np.broadcast_to(part.numpy(), shape).ravel() for part in (double.low, double.width))
    steps, logits = trace(_as_it_is(network.network if type(network) is InUnitBox else network), shape)
    if len(logits.shape) != 1:
        raise Unsupported(f"no verifier for a network whose logits have shape {logits.shape}")
    plain = staged(steps.taken, logits.step, low, low + width)
    if isinstance(double, InUnitBox):
        plain = plain.in_unit_box(low, width)
    _check_agreement(plain, double, images)
    return plain


def _as_it_is(network: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU, in the network's own mode, that overwrites what the network overwrites."""
    return guard.converted(guard.copied(network), "cpu", torch.float64).requires_grad_(False)


def _check_agreement(plain: PlainNetwork, double: nn.Module, images: Tensor) -> None:
    clean = images[:16].detach().cpu().double()
    shape = clean.shape[1:]
    random = torch.Generator().manual_seed(0)
    scattered = torch.rand((_RANDOM_POINTS, *shape), generator=random, dtype=torch.float64)
    # Corners of every kind: few values at the high end, and many.
    thresholds = torch.linspace(0, 1, _RANDOM_POINTS, dtype=torch.float64).reshape(-1, *([1] * len(shape)))
    corners = (torch.rand((_RANDOM_POINTS, *shape), generator=random, dtype=torch.float64) < thresholds).double()
    between = 0.5 * (clean + clean.roll(1, dims=0))
    for points in torch.cat([clean, between, 0.5 * (clean[:1] + corners), scattered, corners]).split(16):
        with torch.no_grad():
            expected = double(points.clone()).numpy()
        found = plain.logits(points.flatten(1).numpy())
        allowed = _AGREEMENT * (1 + np.abs(found).max())
        if found.shape != expected.shape or not (np.abs(found - expected) <= allowed).all():
            raise Unsupported(f"no verifier for {type(double).__name__}: it does not compute what its layers say")
