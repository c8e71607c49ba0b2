"""Copies of networks: they share nothing with the original, and can be converted whole."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def copied(network: nn.Module) -> nn.Module:
    """A deep copy. What was computed with gradients and kept in an attribute is copied as a value.

    Raises:
        Exception: whatever the network's own ``__deepcopy__`` raises.
    """
    computed = {id(value): value.detach().clone() for value in _attributes(network) if not value.is_leaf}
    result: nn.Module = copy.deepcopy(network, dict(computed))
    return result


def frozen(network: nn.Module) -> nn.Module:
    """The network itself, in eval mode, none of its parameters asking for a gradient.

    Raises:
        TypeError: it has neither mode, as a frozen module of TorchScript.
    """
    network.eval()
    if not isinstance(getattr(network, "training", None), bool):
        raise TypeError(
            f"{type(network).__name__} is neither in training nor in eval mode; give the module before it is frozen"
        )
    # Not the module's own ``requires_grad_``, which TorchScript lacks.
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def converted(network: nn.Module, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
    """The network itself on a device, all its floating-point numbers of one dtype.

    Those that are plain attributes of a layer, and no buffers, go along.
    """
    network.to(device).to(dtype)
    for layer in network.modules():
        for name, value in list(vars(layer).items()):
            if isinstance(value, Tensor) and value.is_floating_point():
                setattr(layer, name, value.detach().to(device, dtype))
    return network


def device_of(network: nn.Module) -> torch.device:
    """Where the network's first parameter or buffer lies; the CPU where it has none."""
    values = (value for group in (network.parameters(), network.buffers()) for value in group)
    return next((value.device for value in values), torch.device("cpu"))


def _attributes(network: nn.Module) -> list[Tensor]:
    return [value for layer in network.modules() for value in vars(layer).values() if isinstance(value, Tensor)]


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64: Apple's do not."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True
