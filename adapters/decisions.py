"""When an attack may take an image for adversarial: with a margin that float32 rounding cannot undo."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDING = 1e-5
"""The margin, over the image's largest absolute logit.

The judge decides in float64, the attacks in float32, where logits of these networks carry errors up to 1e-6 of the
largest, and of another size in another batch. Ten times that costs about 1e-5 of a distance.
"""


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


def adversarial(logits: Tensor, labels: Tensor) -> Tensor:
    """Which images are adversarial beyond doubt.

    Args:
        logits: (n, classes) float32.
        labels: (n,) int64.

    Returns:
        (n,) bool: another class is ahead of the label by more than ``ROUNDING``; False where a logit is not finite.
    """
    with torch.no_grad():
        ahead = margins(logits, labels).amax(1)
        return (ahead > ROUNDING * logits.abs().amax(1)) & logits.isfinite().all(1)
