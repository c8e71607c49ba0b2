"""When an image is adversarial beyond the rounding of float32, and the last step that makes a candidate so.

One sign: an *excess* is a logit of another class minus the label's, z_k - z_y, so that an image is adversarial where
its largest excess is above 0. The literature's *margin*, z_y - max z_k, is the negative of the largest excess.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bench.domain import UNIT_BOX

ROUNDING = 1e-5
"""The least excess that counts, in units of the largest absolute logit.

The judge decides in float64, the attacks in float32, where the logits of small networks carry errors up to 1e-6 of the
largest, and of another size in another batch. Ten times that costs about 1e-5 of a distance.
"""


def size(logits: Tensor) -> Tensor:
    """The largest absolute logit of each image: (n, classes) to (n,).

    The clean image's says how large the errors are. On the boundary itself logits may cancel: those of two classes
    that are each other's negative are both 0 there, and the errors of their sums are not.
    """
    largest: Tensor = torch.linalg.vector_norm(logits.detach(), math.inf, 1)
    return largest


def excess(logits: Tensor, labels: Tensor) -> Tensor:
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
        ahead = excess(logits, labels).amax(1)
        return (ahead > ROUNDING * size(logits).clamp(min=clean)) & logits.isfinite().all(1)


STRETCHES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
"""By how much, at most, :func:`past_rounding` lengthens a change: it can cost a thousandth of a distance."""


@torch.no_grad()
def past_rounding(network: Callable[[Tensor], Tensor], images: Tensor, candidates: Tensor, labels: Tensor) -> Tensor:
    """Move candidates that lie on the boundary, within rounding, a little further away from their image.

    Attacks that converge to the boundary keep the nearest point that float32 takes for adversarial. That favours the
    points where rounding was lucky, and in float64 most of them have the label's class. Here the change is stretched
    by the smallest of ``STRETCHES`` that makes them adversarial beyond doubt.

    Args:
        network: (n, *shape) images to (n, classes) logits.
        images: (n, *shape) float32 in the unit box.
        candidates: (n, *shape) float32.
        labels: (n,) int64.

    Returns:
        (n, *shape): the candidates; those that no stretch makes adversarial are as they were.
    """
    moved = candidates.clone()
    scale = size(network(images))
    open_rows = torch.arange(len(images), device=images.device)
    for stretch in (0.0, *STRETCHES):
        clean = images[open_rows]
        tried = candidates[open_rows]
        if stretch:
            tried = (clean + (1 + stretch) * (tried - clean)).clamp(*UNIT_BOX)
        done = adversarial(network(tried), labels[open_rows], scale[open_rows])
        moved[open_rows[done]] = tried[done]
        open_rows = open_rows[~done]
        if not len(open_rows):
            break
    return moved


def other_classes(logits: Tensor, labels: Tensor, limit: int) -> Tensor:
    """The classes other than the label that an attack considers for an image.

    Args:
        logits: (n, classes) of the clean images.
        labels: (n,) int64.
        limit: the maximum number of classes for an image.

    Returns:
        (n, m) int64: every other class, in ascending order, where there are at most ``limit``; else the ``limit``
        classes with the largest logits, the largest first.
    """
    classes = logits.shape[1]
    if classes - 1 <= limit:
        others = torch.arange(classes - 1, device=logits.device).expand(len(labels), -1)
        return others + (others >= labels.unsqueeze(1)).long()
    return logits.detach().scatter(1, labels.unsqueeze(1), -math.inf).topk(limit, 1).indices
