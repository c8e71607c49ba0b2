"""A block together with all that a worker needs to compute it: its images, and how to get at its network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset, starts
from bench.domain import Domain
from bench.engine.plan import Block, Plan
from bench.specs import AttackSpec, Start

STARTS = 16
"""How many images of other classes, the nearest first, an attack may try to start from."""


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
        fingerprint: of the network that the run began with; a worker that loads another one refuses.
    """

    block: Block
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    starts: NDArray[np.float32]
    domain: Domain
    device: str
    fingerprint: str

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


class Images:
    """The images of a run: loaded once, and handed to the blocks.

    Attributes:
        indices: of the images in the split.
        inputs: (n, *shape) float32 in the domain's box.
        labels: (n,) int64.
        domain: of the images.
    """

    def __init__(self, dataset: Dataset, split: str, plan: Plan) -> None:
        """Load a plan's images."""
        self.indices = plan.indices
        self.domain = dataset.domain
        self.inputs, self.labels = dataset.load(split, plan.indices)
        self._dataset = dataset
        self._split = split
        self._place = {image: place for place, image in enumerate(plan.indices)}
        self._pool: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
        self._starts: dict[int, NDArray[np.float32]] = {}

    def task(self, block: Block, device: str, fingerprint: str) -> Task:
        """A block with its images."""
        places = [self._place[image] for image in block.images]
        return Task(
            block=block,
            inputs=self.inputs[places],
            labels=self.labels[places],
            starts=self._starts_of(block, places),
            domain=self.domain,
            device=device,
            fingerprint=fingerprint,
        )

    def _starts_of(self, block: Block, places: list[int]) -> NDArray[np.float32]:
        row = block.row
        if not isinstance(row, AttackSpec) or row.start is Start.IMAGE:
            return np.empty((len(places), 0, *self.domain.shape), dtype=np.float32)
        if self._pool is None:
            self._pool = self._dataset.pool(self._split)
        missing = [place for place in places if place not in self._starts]
        if missing:
            found = starts.nearest_of_other_classes(
                self._pool, self.inputs[missing], self.labels[missing], self.domain, STARTS
            )
            self._starts.update(zip(missing, found, strict=True))
        return np.stack([self._starts[place] for place in places])
