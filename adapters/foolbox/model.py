"""A Foolbox model without overhead: the library's own class, over any torch network."""

from __future__ import annotations

from typing import Any

import torch
from eagerpy.astensor import astensor
from foolbox.models.base import ModelWithPreprocessing
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from adapters.view import View


class LeanModel(PyTorchModel):
    """A ``foolbox.PyTorchModel`` that does no work in vain and changes nothing of the network.

    It is a view of the network, in eval mode and frozen (:class:`adapters.view.View`): no gradients of parameters are
    computed, and training the network is seen. Logits and gradients are the library's to the bit.

    Args:
        network: (n, *shape) float32 images to (n, classes) logits.
        bounds: the lowest and highest value of an image.
        device: the network's, which is what it is unless given.
        preprocessing: as in the library: ``mean``, ``std``, ``axis`` and ``flip_axis``.

    Raises:
        ValueError: ``network`` is no module or on another device, or ``preprocessing`` cannot be used.
    """

    def __init__(
        self, network: nn.Module, bounds: tuple[float, float], device: Any = None, preprocessing: Any = None
    ) -> None:
        if not isinstance(network, nn.Module):
            raise ValueError(f"the network is a {type(network).__name__}; it must be a torch.nn.Module")  # noqa: TRY004 - as the library
        own = next((value.device for value in network.parameters()), torch.device("cpu"))
        if device is not None and torch.device(device).type != own.type:
            raise ValueError(
                f"the network is on {own}, and the model is to be on {device}; move the network there first"
            )
        self.device = own
        self.data_format = "channels_first"
        # The library's constructor moves the network and warns of training mode; that of its base class does the rest.
        ModelWithPreprocessing.__init__(
            self,
            View(network),
            bounds=bounds,
            dummy=astensor(torch.zeros(0, device=self.device)),
            preprocessing=preprocessing,
        )

    def __call__(self, inputs: Any) -> Any:
        """Logits (n, classes) of (n, *shape) images; of the type of the images, an EagerPy or a torch tensor."""
        mean, deviation, flipped = self._preprocess_args
        if mean is not None or deviation is not None or flipped is not None:
            return super().__call__(inputs)
        if isinstance(inputs, Tensor):
            return self._model(inputs)
        return astensor(self._model(inputs.raw))
