"""A Foolbox model without overhead: the library's own class, over any torch network."""

from __future__ import annotations

import copy
from typing import Any

import torch
from eagerpy.tensor.pytorch import PyTorchTensor
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from adapters.layout import lay_out


class LeanModel(PyTorchModel):
    """A ``foolbox.PyTorchModel`` that does no work in vain; on the same layout the library's gives the same to the bit.

    Parameters are frozen, so that no gradient of theirs is computed, and convolutions are laid out as CPUs compute them
    fastest: see :func:`adapters.layout.lay_out`.

    Args:
        network: (n, ...) float32 images to (n, classes) logits. One that is in training mode or has trainable
            parameters stays as it is: a frozen copy in eval mode is attacked.
        bounds: the lowest and highest value of an image.
    """

    def __init__(self, network: nn.Module, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        module = frozen(network)
        lay_out(module)
        super().__init__(module, bounds=bounds, device=device)
        # With frozen parameters the logits require a gradient exactly when the images do: the library's wrapper, which
        # sees to that, is left out.
        self._model: nn.Module = module

    def __call__(self, inputs: Any) -> Any:
        """Logits (n, classes) of (n, ...) images; of the type of the images, an EagerPy or a torch tensor."""
        if self._preprocess_args != (None, None, None):
            return super().__call__(inputs)
        if isinstance(inputs, Tensor):
            return self._model(inputs)
        return PyTorchTensor(self._model(inputs.raw))


def frozen(network: nn.Module) -> nn.Module:
    """The network itself if it is in eval mode and frozen, else a copy that is and shares the parameters' memory."""
    if not network.training and not any(parameter.requires_grad for parameter in network.parameters()):
        return network
    shared: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=False) for parameter in network.parameters()
    }
    return copy.deepcopy(network, shared).eval()
