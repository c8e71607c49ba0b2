"""Images to start attacks from: for each image, the nearest ones of another class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.dataset import Images
from bench.domain import Domain

ITSELF = -1
"""In place of an image of the pool: the image that is attacked."""


class Pool:
    """Images that attacks may start from.

    Attributes:
        images: (m, *shape) float32 in the domain's box.
        labels: (m,) int64.
        domain: of the images.
    """

    def __init__(self, images: Images, domain: Domain) -> None:
        """Make a pool of (m, *shape) float32 images in the domain's box and their (m,) labels."""
        self.images, self.labels = images
        self.domain = domain
        self._flat = torch.from_numpy(_unit(self.images, domain)).flatten(1)
        self._squares: torch.Tensor | None = None

    def nearest(self, images: NDArray[np.float32], labels: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """For each image the ``k`` nearest of the pool, in L2 of the unit box, that have another label.

        What an image gets depends on that image and the pool alone, not on the other images of the call.

        Args:
            images: (n, *shape) float32 in the domain's box.
            labels: (n,) int64.
            k: how many, at most.

        Returns:
            (n, min(k, m)) places in the pool, the nearest first. Where the pool has fewer images of other classes,
            ``ITSELF`` fills the rest: the image is not adversarial, so that no attack starts there.
        """
        k = min(k, len(self.images))
        places = np.full((len(images), k), ITSELF, dtype=np.int64)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums then round alike whatever the number of cores
        try:
            if self._squares is None:
                self._squares = self._flat.square().sum(1)
            of_pool = torch.from_numpy(self.labels)
            for i, (image, label) in enumerate(zip(_unit(images, self.domain), labels.tolist(), strict=True)):
                # ||p - x||^2 without ||x||^2. One image at a time, so that the order cannot depend on the rounding of a
                # larger matrix product.
                distances = self._squares - 2 * self._flat.mv(torch.from_numpy(image).flatten())
                order = distances.masked_fill(of_pool == label, torch.inf).argsort()[:k].numpy()
                others = order[self.labels[order] != label]
                places[i, : len(others)] = others
        finally:
            torch.set_num_threads(threads)
        return places

    def starts(self, images: NDArray[np.float32], places: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images at some places.

        Args:
            images: (n, *shape) float32, the attacked ones.
            places: (n, k) as :meth:`nearest` gives them.

        Returns:
            (n, k, *shape) float32 in the domain's box.
        """
        found = self.images[places]
        found[places == ITSELF] = images[np.nonzero(places == ITSELF)[0]]
        return found


def _unit(images: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
    """Images of the box in the unit box, as float32."""
    if domain.is_unit:
        return np.ascontiguousarray(images)
    unit = np.empty_like(images)
    for row, image in enumerate(images):
        unit[row] = domain.to_unit(image)
    return unit
