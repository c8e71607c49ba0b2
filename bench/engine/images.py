"""The images of a run: loaded once from the dataset, and handed to the blocks, which carry them to the workers."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.starts import Pool
from bench.engine.plan import Block, Plan
from bench.engine.task import Expected, Task
from bench.specs import AttackSpec, Start

STARTS = 16
"""How many images of other classes, the nearest first, an attack may try to start from."""

STARTS_VALUES = 2**19
"""How many values these may have together, for each image: a task carries them."""


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
        self._pool: Pool | None = None
        self._starts: dict[int, NDArray[np.int64]] = {}

    def digests(self, algorithm: Literal["sha256", "sha512"]) -> dict[str, str]:
        """The digest of every image's float32 bytes, in C order, in hex by its index in the split.

        AttackBench hashes the bytes of the same array with SHA-512 (``run_attack`` in its ``attack_evaluation/utils.py``), so
        that an image in [0, 1], channels first, has the same name there.
        """
        return {
            str(index): hashlib.new(algorithm, image.astype("<f4").tobytes()).hexdigest()
            for index, image in zip(self.indices, self.inputs, strict=True)
        }

    def task(self, block: Block, device: str, expected: Expected) -> Task:
        """A block with its images."""
        places = [self._place[image] for image in block.images]
        return Task(
            block=block,
            inputs=self.inputs[places],
            labels=self.labels[places],
            starts=self._starts_of(block, places),
            domain=self.domain,
            device=device,
            expected=expected,
        )

    def _starts_of(self, block: Block, places: list[int]) -> NDArray[np.float32]:
        row = block.row
        if not isinstance(row, AttackSpec) or row.start is Start.IMAGE:
            return np.empty((len(places), 0, *self.domain.shape), dtype=np.float32)
        if self._pool is None:
            self._pool = Pool(self._dataset.pool(self._split), self.domain)
        missing = [place for place in places if place not in self._starts]
        if missing:
            most = self.domain.at_once(STARTS, STARTS_VALUES)
            found = self._pool.nearest(self.inputs[missing], self.labels[missing], most)
            # Places, not images: those of all blocks would take many times what the run's images take.
            self._starts.update(zip(missing, found, strict=True))
        return self._pool.starts(self.inputs[places], np.stack([self._starts[place] for place in places]))
