"""A lean ART classifier: the library's ``PyTorchClassifier`` without what an attack pays for and does not use.

For every prediction the library builds a data set and a data loader, sets the mode of every layer, applies a
standardisation by 0 and 1 and copies the result; for every gradient it clears the gradients of all parameters. Here
a prediction is a call of the module, and a gradient is a call of the module and one of autograd. The numbers are the
same to the bit: the same module, laid out alike, sees the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.layout import lay_out

Array = NDArray[Any]


class LeanClassifier(PyTorchClassifier):  # type: ignore[misc]  # ART has no type information, its classes are Any
    """ART's ``PyTorchClassifier``, with ``predict``, ``loss_gradient`` and ``class_gradient`` straight from the module.

    The arguments are those of ``PyTorchClassifier``. What differs:

    - float64 images are cast to float32 at the network's door, and their gradients back. Under NumPy 2 four of the
      library's attacks compute in float64 without meaning to and fail on the library's own classifier.
    - The network stays on its device, whatever its kind.
    - Convolutions are laid out as CPUs compute them fastest: see :func:`adapters.layout.lay_out`.
    - Gradients are asked of the images only: parameters need not be frozen, and theirs stay as they are.

    Where the lean way does not apply (training mode, defences before or behind the network, recurrent layers, tensors
    instead of arrays) the library's own method answers.
    """

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        kwargs.setdefault("device_type", "cpu" if device.type == "cpu" else "gpu")
        # The library's default is a standardisation by mean 0 and deviation 1, which only costs time.
        kwargs.setdefault("preprocessing", None)
        lay_out(model)
        super().__init__(model, *args, **kwargs)
        # ART knows the CPU and the current CUDA device only.
        self._device: torch.device = device
        self._model.to(device)
        self._layers = tuple(self._model.modules())

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
            return np.asarray(super().predict(x, batch_size=batch_size, training_mode=training_mode, **kwargs))
        images = self._tensor(x)
        network = self._model._model  # noqa: SLF001 - the property ``model`` says the same and costs a call
        with torch.no_grad():
            if len(images) <= batch_size:
                logits = network(images)
            else:
                logits = torch.cat([network(batch) for batch in images.split(batch_size)])
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
            (n, classes, ...) for every class, else (n, 1, ...); of the dtype of ``x``.

        Raises:
            ValueError: ``label`` is out of range, or not one for each image.
        """
        if not self._is_lean(training_mode) or self._layer_idx_gradients >= 0:
            return np.asarray(super().class_gradient(x, label=label, training_mode=training_mode, **kwargs))
        images = self._tensor(x).requires_grad_()
        logits = self._model._model(images)  # noqa: SLF001 - as in predict
        if label is None:
            gradients = np.empty((logits.shape[1], *x.shape), dtype=x.dtype)
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
        return _array(gradient, x.dtype)[:, None]

    def jacobian(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What ``predict`` and ``class_gradient`` say, from one pass forward and without a detour over NumPy.

        Args:
            images: (n, ...) float32, on the network's device.

        Returns:
            (n, classes) logits and their (n, classes, ...) gradients.
        """
        self._is_lean(training_mode=False)
        # Contiguous, as NumPy's arrays are: sums over other layouts round otherwise.
        variable = images.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        logits = self._model._model(variable)  # noqa: SLF001 - as in predict
        return logits.detach(), torch.stack(list(_class_gradients(logits, variable)), 1).contiguous()

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
            The shape and dtype of ``x``.
        """
        if not self._is_lean(training_mode) or self._use_amp or isinstance(x, Tensor) or isinstance(y, Tensor):
            gradients: Array | Tensor = super().loss_gradient(x, y, training_mode=training_mode, **kwargs)
            return gradients
        images = self._tensor(x).requires_grad_()
        labels = torch.from_numpy(np.asarray(self.reduce_labels(y))).to(self._device)
        loss = self._loss(self._model._model(images), labels)  # noqa: SLF001 - as in predict
        (gradient,) = torch.autograd.grad(loss, images)
        return _array(gradient, x.dtype)

    def with_loss(self, loss: Any) -> LeanClassifier:
        """A lean classifier of the same network with another loss, for attacks that bring their own."""
        return LeanClassifier(
            self.model,
            loss,
            self.input_shape,
            self.nb_classes,
            channels_first=self.channels_first,
            clip_values=self.clip_values,
            preprocessing_defences=self.preprocessing_defences,
            postprocessing_defences=self.postprocessing_defences,
            preprocessing=self.preprocessing,
        )

    def _is_lean(self, training_mode: bool) -> bool:
        """Whether the lean way applies; leaves the network in eval mode if so."""
        if training_mode or self.preprocessing_operations or self.is_rnn:
            return False
        if any(layer.training for layer in self._layers):
            self._model.eval()
        return True

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
