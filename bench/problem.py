"""What an attacker or a verifier is given: correctly classified images in the unit box, and all that goes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.domain import Domain
from bench.guard import device_of, has_float64
from bench.norms import FloatArray
from bench.specs import AttackSpec, VerifierSpec


class Unsupported(Exception):  # noqa: N818 - it states a fact about the network, not a fault
    """The row cannot be run on this network; the text says why. It becomes the record's status and message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Correctly classified images of one network, for one call of an attack or of a verifier.

    Make one with :func:`problem`, which translates the domain to the unit box.

    Attributes:
        network: (n, *shape) float32 images of the unit box to (n, classes) logits, in eval mode. Where the domain is
            another box it is an :class:`InUnitBox`.
        images: (n, *shape) float32 in the unit box [0, 1].
        labels: (n,) int64, the true classes.
        domain: the data's own: shape, classes, box.
        inputs: (n, *shape) float32, the images in the domain's box, as the dataset has them.
        starts: (n, k, *shape) float32 in the unit box: for each image other images to start from, with another label,
            the nearest in L2 first; k may be 0; the image itself where there are no more.
        seed: below 2**31, the only source of randomness.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    domain: Domain
    inputs: Tensor
    starts: Tensor
    seed: int

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.domain.classes

    def select(self, rows: Tensor | slice) -> Problem:
        """The problem of some of the images: a slice, (m,) indices or an (n,) bool mask."""
        return Problem(
            network=self.network,
            images=self.images[rows],
            labels=self.labels[rows],
            domain=self.domain,
            inputs=self.inputs[rows],
            starts=self.starts[rows],
            seed=self.seed,
        )


def problem(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    domain: Domain,
    *,
    starts: Tensor | None = None,
    seed: int = 0,
) -> Problem:
    """The problem of some images, translated to the unit box.

    Args:
        network: (n, *shape) float32 inputs in the domain's box to (n, classes) logits, in eval mode.
        inputs: (n, *shape) float32 in the domain's box, on the network's device.
        labels: (n,) int64.
        domain: of the inputs.
        starts: (n, k, *shape) float32 inputs in the box, on any device; None for none.
        seed: below 2**31.
    """
    if starts is None:
        starts = inputs.new_empty((len(inputs), 0, *domain.shape))
    return Problem(
        network=in_unit_box(network, domain),
        images=_unit(inputs, domain),
        labels=labels,
        domain=domain,
        inputs=inputs,
        starts=_unit(starts.to(inputs.device), domain),
        seed=seed,
    )


def in_unit_box(network: nn.Module, domain: Domain) -> nn.Module:
    """The network as one of the unit box: itself where the domain is [0, 1], else behind an :class:`InUnitBox`."""
    return network if domain.is_unit else InUnitBox(network, domain)


class InUnitBox(nn.Module):
    """A network that takes images of the unit box: ``network(low + width * image)``.

    Attributes:
        network: takes inputs of the domain's box.
        low, width: buffers, () or (*shape) float64; on the CPU where the network's device has no float64.
    """

    low: Tensor
    width: Tensor

    def __init__(self, network: nn.Module, domain: Domain) -> None:
        super().__init__()
        self.network = network
        own = device_of(network)
        device = own if has_float64(own) else torch.device("cpu")
        low, high = domain.ends
        # A value that the box leaves no choice stays where it is.
        for name, value in (("low", low), ("width", high - low)):
            self.register_buffer(name, torch.as_tensor(value.copy(), dtype=torch.float64, device=device))
        # Not train(), which would set the flags of the network's own layers.
        self.training = network.training

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) images in the unit box."""
        low, width = self.low.to(images.dtype).to(images.device), self.width.to(images.dtype).to(images.device)
        logits: Tensor = self.network(low + width * images)
        return logits


class Standardised(nn.Module):
    """Inputs less a mean, divided by a deviation: the first layer of a network that was trained on such inputs.

    Attributes:
        mean, std: float32 buffers that broadcast to an input: (), one number along the channels, or (*shape).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean.copy()))
        self.register_buffer("std", torch.from_numpy(std.copy()))

    def forward(self, images: Tensor) -> Tensor:
        """(n, *shape) of (n, *shape)."""
        return (images - self.mean) / self.std


def _unit(inputs: Tensor, domain: Domain) -> Tensor:
    if domain.is_unit:
        return inputs
    points = torch.from_numpy(domain.to_unit(inputs.numpy(force=True)))
    return points.to(inputs.device, torch.float32)


class Attacker(Protocol):
    """Runs attack rows of one library. It only proposes: the judge decides what its candidates are worth."""

    def attack(self, spec: AttackSpec, problem: Problem) -> object:
        """Candidates for the images of a problem.

        Args:
            spec: the row to run.
            problem: n images; n is at most ``spec.batch`` where the row limits its calls.

        Returns:
            (n, *shape) float32 in the unit box. A row without a result may be anything: the clean image, NaN.

        Raises:
            Unsupported: the row cannot be run on this network.
            Exception: whatever the library raises; the engine then tries the images singly.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is proved and what was found, for n images.

    Attributes:
        lower: (n,) float64: no adversarial example lies nearer, in the row's norm and the unit box; 0 where nothing
            is proved.
        candidates: (n, *shape) float64 in the unit box: the nearest adversarial example found, NaN where none was.
    """

    lower: FloatArray
    candidates: NDArray[np.float64]


class Verifier(Protocol):
    """Bounds minimal distances from below."""

    def bound(self, spec: VerifierSpec, problem: Problem) -> Bounds:
        """Certified lower bounds for the images of a problem.

        Args:
            spec: the row: norm, kind and limits.
            problem: n images.

        Returns:
            Bounds in the unit box.

        Raises:
            Unsupported: no verifier for this network.
        """
        ...
