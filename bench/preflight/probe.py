"""What checks before the attacks look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.domain import Domain
from bench.problem import Problem, problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A network with some images.

    Attributes:
        network: in eval mode, on the images' device; takes inputs of the domain's box.
        images: (n, *shape) float32 in the domain's box.
        labels: (n,) int64.
        domain: of the images.
        others: other networks of the same run by name, whose adversarial examples are tried on this one.
    """

    network: nn.Module
    images: Tensor
    labels: Tensor
    domain: Domain
    others: Mapping[str, nn.Module]

    def scaled(self) -> Problem:
        """The same in the unit box: what attacks will see."""
        return problem(self.network, self.images, self.labels, self.domain)


def forward(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, classes), without gradients."""
    with torch.no_grad():
        logits: Tensor = network(images)
    return logits


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest other one, (n,): below 0 the image is misclassified."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)
