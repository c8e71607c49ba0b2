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

    What an image gets depends on that image and the pool alone, not on the other images of the call.

    Args:
        pool: (m, *shape) float32 images in the domain's box, and their (m,) labels.
        images: (n, *shape) float32.
        labels: (n,) int64.
        domain: of all of them.
        k: how many, at most.

    Returns:
        (n, min(k, m), *shape) float32 in the domain's box, the nearest first. Where the pool has fewer images of other
        classes, the image itself fills the rest: it is not adversarial, so that no attack starts there.
    """
    candidates, classes = pool
    k = min(k, len(candidates))
    starts = np.repeat(images[:, None], k, axis=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums then round alike whatever the number of cores
    try:
        flat = torch.from_numpy(domain.to_unit(candidates).astype(np.float32)).flatten(1)
        squares = flat.square().sum(1)
        of_pool = torch.from_numpy(classes)
        for i, (image, label) in enumerate(
            zip(domain.to_unit(images).astype(np.float32), labels.tolist(), strict=True)
        ):
            # ||p - x||^2 without ||x||^2. One image at a time, so that the order cannot depend on the rounding of a larger
            # matrix product.
            distances = squares - 2 * flat.mv(torch.from_numpy(image).flatten())
            order = distances.masked_fill(of_pool == label, torch.inf).argsort()[:k].numpy()
            others = order[classes[order] != label]
            starts[i, : len(others)] = candidates[others]
    finally:
        torch.set_num_threads(threads)
    return starts
