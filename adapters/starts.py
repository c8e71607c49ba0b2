"""Adversarial images to start from: explicit, and the same for every library.

The libraries draw theirs from random noise, some of them from a source that cannot be seeded, and fail for a whole
batch when one image gets none. Here each image gets its own, which depends on nothing but that image, the images that
its problem offers, the network and the seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from bench.domain import UNIT_BOX
from bench.problem import Problem
from bench.specs import Start

NOISES = 64
"""How many noise images are tried."""


@torch.no_grad()
def points(start: Start, problem: Problem) -> Tensor | None:
    """Adversarial images to start from, one for each image of a problem.

    Args:
        start: ``nearest``: the first adversarial one of ``problem.starts``, and salt-and-pepper noise where there is
            none. ``noise``: the sparsest noise that is adversarial, and ``problem.starts`` where there is none.
        problem: n images.

    Returns:
        (n, *shape) float32 in the unit box, a row of NaN where nothing adversarial was found; None for ``Start.IMAGE``.
    """
    if start is Start.IMAGE:
        return None
    found = torch.full_like(problem.images, torch.nan)
    for row, (image, label) in enumerate(zip(problem.images, problem.labels.tolist(), strict=True)):
        # Of no images ``split`` makes one part, which is empty.
        offered = (part for part in problem.starts[row].split(4) if len(part))
        noise = _noise(image, problem.seed)
        for batch in chain(offered, noise) if start is Start.NEAREST else chain(noise, offered):
            logits = problem.network(batch)
            adversarial = (logits.argmax(1) != label) & logits.isfinite().all(1)
            if adversarial.any():
                found[row] = batch[int(adversarial.int().argmax())]
                break
    return found


def found(starts: Tensor) -> Tensor:
    """Which rows are starting points: (n,) bool, False for the rows of NaN."""
    return ~starts.flatten(1).isnan().any(1)


def _noise(image: Tensor, seed: int) -> Iterator[Tensor]:
    """The image with more and more of its values set to an end of the box, in batches."""
    low, high = UNIT_BOX
    generator = torch.Generator().manual_seed(seed)
    for fraction in torch.linspace(0.02, 1.0, NOISES).split(8):
        shape = (len(fraction), *image.shape)
        changed = torch.rand(shape, generator=generator) < fraction.view(-1, *[1] * image.ndim)
        ends = torch.where(torch.rand(shape, generator=generator) < 0.5, high, low)
        yield torch.where(changed.to(image.device), ends.to(image), image)
