"""Counting what an attack asks of a network, at the network."""

from __future__ import annotations

from torch import Tensor, nn


class CountedNetwork(nn.Module):
    """A network that counts the images passed forward and backward through it.

    Attributes:
        network: the network itself.
        forwards: images passed forward so far; a batch of 10 counts as 10.
        backwards: images whose logits a gradient was asked of so far; one for every gradient.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.forwards = 0
        self.backwards = 0
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (n, ...) images."""
        self.forwards += len(images)
        logits: Tensor = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
