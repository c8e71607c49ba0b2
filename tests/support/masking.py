"""Networks that only look robust, as a user would bring them: ``masking.py:quantised``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench import networks


class Around(nn.Module):
    """The trained MLP behind something that hides its gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.network = networks.load("MLP")


class Quantised(Around):
    """Activations rounded to a few values: the gradient is zero almost everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        layers = list(self.network.children())
        values = images
        for layer in layers[:-1]:
            values = layer(values)
            if isinstance(layer, nn.ReLU):
                values = (values * 8).round() / 8
        logits: Tensor = layers[-1](values)
        return logits


class Saturated(Around):
    """A softmax so steep that its values are 0 and 1."""

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = (1e3 * self.network(images)).softmax(1)
        return probabilities


class Randomised(Around):
    """Noise on the input, another one every time."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images + 0.1 * torch.randn_like(images))
        return logits


def quantised() -> nn.Module:
    return Quantised()


def saturated() -> nn.Module:
    return Saturated()


def randomised() -> nn.Module:
    return Randomised()
