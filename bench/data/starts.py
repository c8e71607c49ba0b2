"""Images to start attacks from: for each image, the nearest ones of another class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.dataset import Images
from bench.domain import Domain


def nearest_of_other_classes(
    pool: Images, images: NDArray[np.float32], labels: NDArray[np.int64], domain: Domain, k: int
) -> NDArray[np.float32]:
    """For each image the ``k`` nearest of a pool, in L2 of the unit box, that have another label.

    Args:
        pool: (m, *shape) float32 images in the domain's box, and their (m,) labels.
        images: (n, *shape) float32.
        labels: (n,) int64.
        domain: of all of them.
        k: how many.

    Returns:
        (n, k, *shape) float32 in the domain's box, the nearest first; fewer than ``k`` for every image where the pool has
        fewer of other classes for one of them.
    """
    candidates, classes = pool
    others = min((int((classes != label).sum()) for label in labels), default=0)
    k = min(k, others)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums then round alike whatever the number of cores
    try:
        flat = torch.from_numpy(domain.to_unit(candidates).astype(np.float32)).flatten(1)
        squares = flat.square().sum(1)
        different = torch.from_numpy(classes)
        chosen = np.empty((len(images), k), dtype=np.int64)
        for i, (image, label) in enumerate(
            zip(domain.to_unit(images).astype(np.float32), labels.tolist(), strict=True)
        ):
            # ||p - x||^2 without ||x||^2. One image at a time, so that the order cannot depend on the rounding of a larger
            # matrix product.
            distances = squares - 2 * flat.mv(torch.from_numpy(image).flatten())
            chosen[i] = distances.masked_fill(different == label, torch.inf).argsort()[:k].numpy()
    finally:
        torch.set_num_threads(threads)
    return candidates[chosen]
