"""A block together with all that a worker needs to compute it: its images, and how to get at its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bench.domain import Domain
from bench.engine.plan import Block
from bench.networks import Identity


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run began with, of one network and of everything else that decides its records.

    Attributes:
        identity: of the network.
        decisive: the code and the packages that records pass through, see :func:`bench.engine.provenance.decisive`.
        changes: what a call of the network would change of the process, so that each is made within a guard.
    """

    identity: Identity
    decisive: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker computes.

    Attributes:
        block: what it is.
        inputs: (n, *shape) float32 in the domain's box, the images of the block.
        labels: (n,) int64.
        starts: (n, k, *shape) float32 in the box, images of other classes to start from; k is 0 where none are needed.
        domain: of the images.
        device: where to compute.
        expected: what the run began with; a worker that has anything else refuses.
    """

    block: Block
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    starts: NDArray[np.float32]
    domain: Domain
    device: str
    expected: Expected

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def limit(self) -> float:
        """Seconds of wall time."""
        return self.block.limit

    def singly(self) -> tuple[Task, ...]:
        """The task cut into one for each image, each with its part of the time."""
        limit = self.block.limit / len(self)
        return tuple(
            replace(
                self,
                block=replace(self.block, images=(image,), limit=limit),
                inputs=self.inputs[i : i + 1],
                labels=self.labels[i : i + 1],
                starts=self.starts[i : i + 1],
            )
            for i, image in enumerate(self.block.images)
        )
