"""A lean ART classifier: the library's ``PyTorchClassifier`` without what an attack pays for and does not use.

For every prediction the library builds a data set and a data loader, sets the mode of every layer, applies a
standardisation by 0 and 1 and copies the result; for every gradient it clears the gradients of all parameters. Here
a prediction is a call of the module, and a gradient is a call of the module and one of autograd. The numbers are the
same to the bit: the same module sees the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.view import View, untouched

Array = NDArray[Any]


def classifier(
    network: nn.Module, *, shape: tuple[int, ...], box: tuple[Any, Any], loss: nn.Module | None = None
) -> LeanClassifier:
    """A network as an ART ``PyTorchClassifier``, to be used with any attack of the library.

    Args:
        network: (n, *shape) float32 images to (n, classes) logits. It stays as it is; see :class:`LeanClassifier`.
        shape: of one image.
        box: lowest and highest value of an image: a number each, or an array of numbers for each.
        loss: what ``loss_gradient`` differentiates; cross-entropy unless given.

    Returns:
        The classifier, on the network's device.
    """
    image = np.broadcast_to(np.asarray(box[0], dtype=np.float32), shape)[None].copy()
    with torch.no_grad():
        classes = View(network)(torch.from_numpy(image).to(_device(network))).shape[1]
    return LeanClassifier(network, loss or nn.CrossEntropyLoss(), shape, classes, clip_values=box)


class _Layers(nn.Module):
    """What ART keeps a network in: a call gives the outputs of each layer of a plain ``nn.Sequential``, or logits.

    The library makes a class of this kind for each classifier, which cannot be pickled.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._model = network

        self.training = False

    def forward(self, images: Tensor) -> list[Tensor]:
        """A list of tensors, the logits (n, classes) last."""
        if self.training:
            return self._outputs(images)
        with untouched(self._model):
            self._model.eval()
            return self._outputs(images)

    def train(self, mode: bool = True) -> _Layers:
        """Training mode is the network's; eval mode holds for calls of this object alone."""
        self.training = mode
        if mode:
            self._model.train()
        return self

    @property
    def get_layers(self) -> list[str]:
        """The names of the layers; the library asks for them by this name."""
        return [name for name, _ in self._model.named_children()]

    def to(self, *_: Any, **__: Any) -> _Layers:
        """Nothing: the network stays where its owner put it."""
        return self

    def _outputs(self, images: Tensor) -> list[Tensor]:
        if type(self._model) is not nn.Sequential:
            return [self._model(images)]
        outputs = [images]
        for layer in self._model:
            outputs.append(layer(outputs[-1]))
        return outputs[1:]


class LeanClassifier(PyTorchClassifier):  # type: ignore[misc]  # ART has no type information, its classes are Any
    """ART's ``PyTorchClassifier``, with ``predict``, ``loss_gradient`` and ``class_gradient`` straight from the module.

    The arguments are those of ``PyTorchClassifier``. What differs:

    - It is a view of the network, in eval mode and frozen (:class:`adapters.view.View`): predictions and gradients
      leave the network's mode, its parameters and their gradients as they are, and training it is seen.
    - The network stays on its device, whatever its kind.
    - float64 images are cast to float32 at the network's door, and their gradients back. Under NumPy 2 four of the
      library's attacks compute in float64 without meaning to and fail on the library's own classifier.
    - Images of integers are cast to float32 as well, and their gradients are float32.

    Where the lean way does not apply (training mode, defences before or behind the network, recurrent layers, tensors
    instead of arrays) the library's own method answers.
    """

    _model_wrapper = _Layers
    """The library's name for the class that it keeps a network in."""

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        device = _device(model)
        kwargs.setdefault("device_type", "cpu" if device.type == "cpu" else "gpu")
        # The library's default is a standardisation by mean 0 and deviation 1, which only costs time.
        kwargs.setdefault("preprocessing", None)
        super().__init__(model, *args, **kwargs)
        # ART knows the CPU and the current CUDA device only.
        self._device: torch.device = device
        self._view = View(model)

    def predict(self, x: Array, batch_size: int = 128, training_mode: bool = False, **kwargs: Any) -> Array:
        """Logits of images.

        Args:
            x: (n, ...) images; any floating dtype.
            batch_size: how many images the network sees at once.
            training_mode: leave the lean way, and set the network to training mode.
            kwargs: ignored, as in the library.

        Returns:
            (n, classes) float32.
        """
        if not self._is_lean(training_mode) or self.postprocessing_defences:
            with untouched(self.model):
                return np.asarray(super().predict(x, batch_size=batch_size, training_mode=training_mode, **kwargs))
        images = self._tensor(x)
        with torch.no_grad():
            if len(images) <= batch_size:
                logits = self._view(images)
            else:
                logits = torch.cat([self._view(batch) for batch in images.split(batch_size)])
        return _array(logits.unsqueeze(1) if logits.ndim == 1 else logits)

    def class_gradient(
        self, x: Array, label: int | list[int] | Array | None = None, training_mode: bool = False, **kwargs: Any
    ) -> Array:
        """Gradients of logits with respect to the images.

        Args:
            x: (n, ...) images; any floating dtype.
            label: whose logit: None for every class, an integer, or (n,) integers, one for each image.
            training_mode: leave the lean way, and set the network to training mode.
            kwargs: ignored, as in the library.

        Returns:
            (n, classes, ...) for every class, else (n, 1, ...); of the dtype of ``x``, float32 where that is no float.

        Raises:
            ValueError: ``label`` is out of range, or not one for each image.
        """
        if not self._is_lean(training_mode) or self._layer_idx_gradients >= 0:
            with untouched(self.model):
                return np.asarray(super().class_gradient(x, label=label, training_mode=training_mode, **kwargs))
        images = self._tensor(x).requires_grad_()
        logits = self._view(images)
        if label is None:
            gradients = np.empty((logits.shape[1], *x.shape), dtype=_of_gradients(x))
            for index, gradient in enumerate(_class_gradients(logits, images)):
                gradients[index] = gradient.numpy(force=True)
            # Classes first in memory, as in the library: attacks that sum over it round in the same order.
            return gradients.swapaxes(0, 1)
        classes = np.asarray(label)
        if (
            classes.dtype.kind not in "iu"
            or classes.shape not in ((), (len(x),))
            or not ((classes >= 0) & (classes < self.nb_classes)).all()
        ):
            raise ValueError(
                f"label {label!r} is not a class of 0 to {self.nb_classes - 1}, or one for each of {len(x)} images"
            )
        # One pass backwards serves all images at once, each from the logit of its own class.
        of_each = torch.from_numpy(np.broadcast_to(classes, len(x)).astype(np.int64)).to(self._device)
        selected = torch.zeros_like(logits).scatter_(1, of_each.unsqueeze(1), 1.0)
        (gradient,) = torch.autograd.grad(logits, images, selected)
        return _array(gradient, _of_gradients(x))[:, None]

    def loss_gradient(
        self, x: Array | Tensor, y: Array | Tensor, training_mode: bool = False, **kwargs: Any
    ) -> Array | Tensor:
        """Gradient of the classifier's loss with respect to the images.

        Args:
            x: (n, ...) images; any floating dtype.
            y: (n, classes) one-hot or soft labels.
            training_mode: leave the lean way, and set the network to training mode.
            kwargs: ignored, as in the library.

        Returns:
            The shape of ``x`` and its dtype, float32 where that is no float.
        """
        if not self._is_lean(training_mode) or self._use_amp or isinstance(x, Tensor) or isinstance(y, Tensor):
            with untouched(self.model):
                gradients: Array | Tensor = super().loss_gradient(x, y, training_mode=training_mode, **kwargs)
            return gradients
        images = self._tensor(x).requires_grad_()
        labels = torch.from_numpy(np.asarray(self.reduce_labels(y))).to(self._device)
        loss = self._loss(self._view(images), labels)
        (gradient,) = torch.autograd.grad(loss, images)
        return _array(gradient, _of_gradients(x))

    def like(self, model: nn.Module, *, loss: Any = None, shape: tuple[int, ...] | None = None) -> LeanClassifier:
        """The same for another network, with another loss or another shape, for attacks that bring their own."""
        return LeanClassifier(
            model,
            loss or self.loss,
            shape or self.input_shape,
            self.nb_classes,
            channels_first=self.channels_first,
            clip_values=self.clip_values,
            preprocessing_defences=self.preprocessing_defences,
            postprocessing_defences=self.postprocessing_defences,
            preprocessing=self.preprocessing,
        )

    def custom_loss_gradient(self, *args: Any, **kwargs: Any) -> Any:
        """The library's, which leaves gradients in the parameters."""
        with untouched(self.model):
            return super().custom_loss_gradient(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # The library writes the weights to a file in its own folder.
        return vars(self).copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def _is_lean(self, training_mode: bool) -> bool:
        """Whether the lean way applies."""
        return not (training_mode or self.preprocessing_operations or self.is_rnn)

    def _tensor(self, x: Array) -> Tensor:
        # torch wants positive strides, and warns of arrays that are not writable.
        return torch.from_numpy(np.require(x, np.float32, ("C", "W"))).to(self._device)

    def _apply_preprocessing(self, x: Any, y: Any, fit: bool = False, no_grad: bool = True) -> tuple[Any, Any]:
        # All of the library's own methods come through here.
        if isinstance(x, Tensor):
            x = x.to(torch.float32)
        elif x.dtype == np.float64:
            x = x.astype(np.float32)
        processed: tuple[Any, Any] = super()._apply_preprocessing(x, y, fit=fit, no_grad=no_grad)
        return processed


def _class_gradients(logits: Tensor, images: Tensor) -> Iterator[Tensor]:
    """The gradient of each class's logit in turn: (n, ...) each."""
    columns = torch.eye(logits.shape[1], device=logits.device).unsqueeze(1)
    for index, column in enumerate(columns):
        more = index + 1 < len(columns)
        yield torch.autograd.grad(logits, images, column.expand_as(logits), retain_graph=more)[0]


def _array(values: Tensor, dtype: Any = np.float32) -> Array:
    return np.ascontiguousarray(values.numpy(force=True), dtype=dtype)


def _of_gradients(x: Array) -> Any:
    """The dtype of gradients with respect to some images."""
    return x.dtype if x.dtype.kind == "f" else np.float32


def _device(network: nn.Module) -> torch.device:
    return next((value.device for value in network.parameters()), torch.device("cpu"))
