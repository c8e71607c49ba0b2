"""A network as attacks see it: in eval mode and frozen, whatever its owner does with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class View:
    """A network in eval mode whose parameters ask for no gradient.

    A view, not a copy: each call sees the network as it is then, so that training goes on as if there were no view.
    What a call has to change for its duration (modes, ``requires_grad``) is put back before it returns. Gradients with
    respect to the inputs pass through.

    Args:
        network: (n, *shape) inputs to (n, classes) logits.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) inputs."""
        if is_frozen(self.network):
            logits: Tensor = self.network(inputs)
        else:
            with frozen(self.network):
                logits = self.network(inputs)
        return logits

    def linearised(self, points: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The network's first-order expansion at some points.

        Args:
            points: (n, *shape) float32.

        Returns:
            (n, classes) logits, and a function from (n,) int64 classes, one for each point, to the (n, *shape)
            gradients of their logits. Each call of it is one backward pass; nothing is kept of what it returned.
        """
        # Contiguous, so that sums over gradients round alike whatever the layout inside the network.
        variable = points.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        logits = self(variable)

        def gradient(classes: Tensor) -> Tensor:
            chosen = torch.zeros_like(logits).scatter_(1, classes.unsqueeze(1), 1.0)
            (found,) = torch.autograd.grad(logits, variable, chosen, retain_graph=True)
            return found.contiguous()

        return logits.detach(), gradient


def is_frozen(network: nn.Module) -> bool:
    """Whether every layer is in eval mode and no parameter asks for a gradient."""
    # Asked at every call, so without the generators of ``nn.Module``, which cost a third of a small network's forward.
    layers: list[nn.Module | None] = [network]
    for layer in layers:
        if layer is None:
            continue
        if layer.training:
            return False
        for parameter in layer._parameters.values():  # noqa: SLF001 - as above
            if parameter is not None and parameter.requires_grad:
                return False
        layers.extend(layer._modules.values())  # noqa: SLF001 - as above
    return True


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Put a network in eval mode and ask no gradients of its parameters; all is as it was afterwards."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with untouched(network):
        network.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_()


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Put the mode of each layer, training or eval, and the gradients of the parameters back to what they were."""
    modes = [(layer, layer.training) for layer in network.modules()]
    gradients = [(parameter, parameter.grad) for parameter in network.parameters()]
    training = network.training
    try:
        yield
    finally:
        # Through the network's own ``train`` first, which may do more than set the flags.
        if network.training is not training:
            network.train(training)
        for layer, mode in modes:
            layer.training = mode
        for parameter, gradient in gradients:
            parameter.grad = gradient
