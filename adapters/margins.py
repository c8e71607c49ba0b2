"""When an image is adversarial beyond the rounding of float32, and the last touch that makes a candidate so."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

ROUNDING = 1e-5
"""The margin, over the largest absolute logit.

The judge decides in float64, the attacks in float32, where logits of these networks carry errors up to 1e-6 of the
largest, and of another size in another batch. Ten times that costs about 1e-5 of a distance.
"""


def size(logits: Tensor) -> Tensor:
    """The largest absolute logit of each image: (n, classes) to (n,).

    The clean image's says how large the errors are. On the boundary itself logits may cancel: those of two classes
    that are each other's negative are both 0 there, and the errors of their sums are not.
    """
    largest: Tensor = torch.linalg.vector_norm(logits.detach(), math.inf, 1)
    return largest


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """How far each other class is ahead of the label.

    Args:
        logits: (n, classes).
        labels: (n,) int64.

    Returns:
        (n, classes): z_k - z_y, and -inf for the label itself.
    """
    differences = logits - logits.gather(1, labels.unsqueeze(1))
    return differences.scatter(1, labels.unsqueeze(1), -math.inf)


def adversarial(logits: Tensor, labels: Tensor, clean: Tensor | float = 0.0) -> Tensor:
    """Which images are adversarial beyond doubt.

    Args:
        logits: (n, classes) float32.
        labels: (n,) int64.
        clean: (n,) the :func:`size` of the clean images' logits.

    Returns:
        (n,) bool: another class is ahead of the label by more than ``ROUNDING`` of the largest logit, the clean
        image's included; False where a logit is not finite.
    """
    with torch.no_grad():
        ahead = margins(logits, labels).amax(1)
        return (ahead > ROUNDING * size(logits).clamp(min=clean)) & logits.isfinite().all(1)


STRETCHES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
"""By how much, at most, :func:`settle` lengthens a change: it can cost a thousandth of a distance."""


@torch.no_grad()
def settle(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    candidates: Tensor,
    labels: Tensor,
    box: tuple[float, float] = (0.0, 1.0),
) -> Tensor:
    """Moves candidates that lie on the boundary within rounding a little further away from their image.

    Attacks that converge to the boundary keep the nearest point that float32 takes for adversarial. That favours the
    points where rounding was lucky, and in float64 most of them have the label's class. Here the change is stretched
    by the smallest of ``STRETCHES`` that makes them adversarial beyond doubt.

    Args:
        network: (n, ...) images to (n, classes) logits.
        images: (n, ...) float32 in the box.
        candidates: (n, ...) float32.
        labels: (n,) int64.
        box: the lowest and highest value of an image.

    Returns:
        (n, ...): the candidates; those that no stretch makes adversarial are as they were.
    """
    settled = candidates.clone()
    scale = size(network(images))
    open_rows = torch.arange(len(images), device=images.device)
    for stretch in (0.0, *STRETCHES):
        clean = images[open_rows]
        tried = candidates[open_rows]
        if stretch:
            tried = (clean + (1 + stretch) * (tried - clean)).clamp(*box)
        done = adversarial(network(tried), labels[open_rows], scale[open_rows])
        settled[open_rows[done]] = tried[done]
        open_rows = open_rows[~done]
        if not len(open_rows):
            break
    return settled
