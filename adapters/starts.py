"""Starting points for attacks that begin at an adversarial image: explicit, the same for every library.

The libraries draw theirs from random noise, some of them from an unseeded source, and fail for a whole batch when
one image gets none. Here each image gets its own start, which depends on nothing but that image, the network and
the seed, whatever else is attacked beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache

import torch
from torch import Tensor

from bench import data

POOL = 5_000
"""How many training images are looked through for the nearest one of another class."""

TRIES = 16
"""How many of them, the nearest first, the network is asked about before noise is tried."""

NOISES = 64
"""How many noise images are tried after that."""

Network = Callable[[Tensor], Tensor]
"""From (n, ...) images to (n, classes) logits."""


@torch.no_grad()
def nearest_images(network: Network, images: Tensor, labels: Tensor, seed: int) -> Tensor:
    """For each image an adversarial starting point: the nearest training image that the network puts in another class.

    The training images are MNIST's; they are looked through by L2 distance, those with another label only. For
    images of another shape, or if the network gives all of the nearest the image's own class, noise is tried
    (:func:`noise_images`).

    Args:
        network: decides, in float32, what is adversarial.
        images: (n, ...) float32 in [0, 1].
        labels: (n,) int64, the true classes.
        seed: of the noise.

    Returns:
        (n, ...) float32 in [0, 1]; a row of NaN where nothing adversarial was found.
    """
    return _starts(network, images, labels, lambda image, label: _chain(_nearest(image, label), _noises(image, seed)))


@torch.no_grad()
def noise_images(network: Network, images: Tensor, labels: Tensor, seed: int) -> Tensor:
    """For each image an adversarial starting point made of salt-and-pepper noise, the sparsest that was found.

    Arguments and result as in :func:`nearest_images`, which is what is tried where no noise is adversarial.
    """
    return _starts(network, images, labels, lambda image, _: _chain(_noises(image, seed), _nearest(image, -1)))


def found(starts: Tensor) -> Tensor:
    """Which rows are starting points: (n,) bool, False for the rows of NaN."""
    return ~starts.flatten(1).isnan().any(1)


Candidates = Iterator[Tensor]
"""Batches of (k, ...) candidates for one image, the preferred first."""


def _starts(
    network: Network, images: Tensor, labels: Tensor, candidates: Callable[[Tensor, int], Candidates]
) -> Tensor:
    starts = torch.full_like(images, torch.nan)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        for batch in candidates(image, label):
            logits = network(batch)
            adversarial = (logits.argmax(1) != label) & logits.isfinite().all(1)
            if adversarial.any():
                starts[row] = batch[int(adversarial.int().argmax())]
                break
    return starts


def _chain(*parts: Candidates) -> Candidates:
    for part in parts:
        yield from part


@cache
def _pool() -> tuple[Tensor, Tensor, Tensor]:
    images, labels = data.train(POOL)
    return images, labels, images.flatten(1).square().sum(1)


def _nearest(image: Tensor, label: int) -> Candidates:
    if tuple(image.shape) != data.SHAPE:
        return
    order = _order(image.float().numpy(force=True).tobytes(), label)
    yield from _pool()[0][order].to(image.device).split(4)


@lru_cache(maxsize=4096)
def _order(content: bytes, label: int) -> Tensor:
    """Which training images of other classes are nearest to a float32 image; most rows of a suite ask for the same."""
    images, labels, squares = _pool()
    image = torch.frombuffer(bytearray(content), dtype=torch.float32)
    # ||p - x||^2 without ||x||^2. One image at a time, so that the order cannot depend on the rounding of a larger
    # matrix product.
    distances = squares - 2 * images.flatten(1).mv(image)
    return distances.masked_fill(labels == label, torch.inf).argsort()[:TRIES]


def _noises(image: Tensor, seed: int) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    for share in torch.linspace(0.02, 1.0, NOISES).split(8):
        shape = (len(share), *image.shape)
        changed = torch.rand(shape, generator=generator) < share.view(-1, *[1] * image.ndim)
        noise = (torch.rand(shape, generator=generator) < 0.5).to(image.dtype)
        yield torch.where(changed.to(image.device), noise.to(image.device), image)
