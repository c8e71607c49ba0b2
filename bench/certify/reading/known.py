"""The layers, functions and methods that are read: each becomes a step, or the same step in another shape."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from bench.certify.layers import FloatArray
from bench.certify.reading import sliding
from bench.certify.reading.sliding import Window, afford, pair
from bench.certify.reading.steps import Matrix, Steps, Value
from bench.problem import Standardised, Unsupported


class Images:
    """How many images go through the network together: a forward may hand it on to view and reshape, and nothing else."""

    def __repr__(self) -> str:
        return "the number of images"


IMAGES = Images()

# Layers


def _skip(_: Steps, __: nn.Module, value: Value) -> Value:
    """A layer that does nothing in eval mode."""
    return value


def _flatten_layer(steps: Steps, layer: nn.Flatten, value: Value) -> Value:
    return flatten(steps, value, layer.start_dim, layer.end_dim)


def _relu_layer(steps: Steps, _: nn.ReLU, value: Value) -> Value:
    return relu(steps, value)


def _linear(steps: Steps, layer: nn.Linear, value: Value) -> Value:
    if value.shape != (layer.in_features,):
        raise Unsupported(f"no verifier for Linear on inputs of shape {value.shape}")
    afford("Linear", value.shape, layer.in_features * layer.out_features)
    bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias.numpy()
    return steps.affine([value], [np.ascontiguousarray(layer.weight.numpy())], bias, (layer.out_features,))


def _convolution(steps: Steps, layer: nn.Conv2d, value: Value) -> Value:
    if layer.padding_mode != "zeros":
        raise Unsupported(f"no verifier for Conv2d with padding mode {layer.padding_mode!r}")
    _check_channels("Conv2d", value, layer.in_channels)
    groups, channels = layer.groups, layer.out_channels // layer.groups
    window = Window(layer.kernel_size, layer.stride, layer.dilation, sliding.padding_of(layer))
    size = sliding.outputs(value.shape, window)
    taps = value.shape[0] // groups * math.prod(layer.kernel_size)
    afford("Conv2d", value.shape, layer.out_channels * math.prod(size) * taps)
    seen = sliding.places(value.shape, window)
    kernel = layer.weight.reshape(groups, channels, len(seen) // groups).numpy()
    bias = np.zeros(layer.out_channels) if layer.bias is None else layer.bias.numpy()
    weight = sliding.matrix(seen, kernel, value.size)
    return steps.affine([value], [weight], np.repeat(bias, seen.shape[1]), (layer.out_channels, *size))


def _max_pool(steps: Steps, layer: nn.MaxPool2d, value: Value) -> Value:
    _check_channels("MaxPool2d", value)
    if layer.return_indices:
        raise Unsupported("no verifier for MaxPool2d that returns indices")
    kernel, stride, dilation = (pair(v) for v in (layer.kernel_size, layer.stride, layer.dilation))
    top, left = pair(layer.padding)
    window = Window(kernel, stride, dilation, (left, left, top, top))
    size = _pooled("MaxPool2d", layer, value, window)
    seen, channels = sliding.places(value.shape, window), value.shape[0]
    members = seen.reshape(channels, -1, seen.shape[1]).transpose(0, 2, 1)
    windows = members.reshape(-1, members.shape[2])
    return steps.maximum(value, windows, rectified=False, shape=(channels, *size))


def _average_pool(steps: Steps, layer: nn.AvgPool2d, value: Value) -> Value:
    _check_channels("AvgPool2d", value)
    kernel, stride = pair(layer.kernel_size), pair(layer.stride)
    top, left = pair(layer.padding)
    window = Window(kernel, stride, (1, 1), (left, left, top, top))
    channels, taps = value.shape[0], math.prod(kernel)
    size = _pooled("AvgPool2d", layer, value, window)
    weight = sliding.matrix(sliding.places(value.shape, window), np.ones((channels, 1, taps)), value.size)
    counted = np.diff(weight.indptr) if not layer.count_include_pad else np.full(weight.shape[0], taps)
    divisors = np.full(len(counted), layer.divisor_override) if layer.divisor_override else counted
    weight.data /= np.repeat(divisors, np.diff(weight.indptr))
    return steps.affine([value], [weight], np.zeros(weight.shape[0]), (channels, *size))


def _adaptive_average_pool_layer(steps: Steps, layer: nn.AdaptiveAvgPool2d, value: Value) -> Value:
    return adaptive_average_pool(steps, value, layer.output_size)


def _normalisation(steps: Steps, layer: nn.BatchNorm1d | nn.BatchNorm2d, value: Value) -> Value:
    name = type(layer).__name__
    if layer.running_mean is None or layer.running_var is None:
        raise Unsupported(f"no verifier for {name} without running statistics")
    if value.shape[0] != layer.num_features:
        raise Unsupported(f"no verifier for {name} on inputs of shape {value.shape}")
    scale = 1.0 / np.sqrt(layer.running_var.numpy() + layer.eps)
    if layer.affine:
        scale = scale * layer.weight.numpy()
    shift = -scale * layer.running_mean.numpy() + (layer.bias.numpy() if layer.affine else 0.0)
    count = value.size // len(scale)
    return _scaled(steps, value, np.repeat(scale, count), np.repeat(shift, count))


def _standardisation(steps: Steps, layer: Standardised, value: Value) -> Value:
    scale, shift = (
        np.broadcast_to(part.numpy(), value.shape).ravel() for part in (1.0 / layer.std, -layer.mean / layer.std)
    )
    return _scaled(steps, value, scale, shift)


_SKIPPED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)

IN_PLACE = (nn.ReLU, *_SKIPPED[:3])
"""Layers that may overwrite their input."""

LAYERS: Mapping[type[nn.Module], Callable[[Steps, Any, Value], Value]] = {
    **dict.fromkeys(_SKIPPED, _skip),
    nn.Flatten: _flatten_layer,
    nn.ReLU: _relu_layer,
    nn.MaxPool2d: _max_pool,
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_average_pool_layer,
    Standardised: _standardisation,
}
"""How each layer is read: exactly these types, since a subclass may compute something else."""

# Functions and methods, their arguments those of torch's


def relu(steps: Steps, value: Value) -> Value:
    """The larger of each number and 0."""
    afford("ReLU", value.shape, value.size)
    return steps.maximum(value, np.arange(value.size)[:, None], rectified=True, shape=value.shape)


def max_pool(
    steps: Steps,
    value: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    """Maxima over windows of an image."""
    return _max_pool(steps, nn.MaxPool2d(kernel_size, stride, padding, dilation, return_indices, ceil_mode), value)


def average_pool(steps: Steps, value: Value, *arguments: Any, **named: Any) -> Value:
    """Means over windows of an image."""
    return _average_pool(steps, nn.AvgPool2d(*arguments, **named), value)


def adaptive_average_pool(steps: Steps, value: Value, output_size: Any) -> Value:
    """Means over as many windows as are wanted; they must divide the image into equal parts."""
    _check_channels("AdaptiveAvgPool2d", value)
    wanted = (output_size, output_size) if output_size is None or isinstance(output_size, int) else tuple(output_size)
    sizes = [have if want is None else want for want, have in zip(wanted, value.shape[1:], strict=True)]
    if any(want < 1 or have % want for want, have in zip(sizes, value.shape[1:], strict=True)):
        raise Unsupported(
            f"no verifier for adaptive average pooling to {sizes[0]} x {sizes[1]} on inputs of shape {value.shape}: possible "
            "where the parts are equal, such as 1 x 1"
        )
    return _average_pool(steps, nn.AvgPool2d((value.shape[1] // sizes[0], value.shape[2] // sizes[1])), value)


def dropout(_: Steps, value: Value, p: float = 0.5, training: bool = True) -> Value:
    """Nothing, where it is not in training mode."""
    if training and p > 0:
        raise Unsupported("no verifier for dropout in training mode; give dropout training=self.training")
    return value


def mean(steps: Steps, value: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """Means over some dimensions of each image."""
    axes = _axes("mean", value, dim)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    taps = math.prod(value.shape[axis] for axis in axes)
    numbers = np.moveaxis(np.arange(value.size).reshape(value.shape), axes, range(-len(axes), 0)).reshape(-1, taps)
    rows = np.repeat(np.arange(len(numbers)), taps)
    weight = sparse.csr_array((np.full(numbers.size, 1.0 / taps), (rows, numbers.ravel())), (len(numbers), value.size))
    shape = kept if keepdim else tuple(size for axis, size in enumerate(value.shape) if axis not in axes)
    return steps.affine([value], [weight], None, shape)


def flatten(_: Steps, value: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """All numbers of each image in one row."""
    end = end_dim if end_dim < 0 else end_dim - len(value.shape) - 1
    if start_dim != 1 or end != -1:
        raise Unsupported(
            "no verifier for Flatten that keeps some of the dimensions or joins images: possible is flatten(1)"
        )
    return Value(value.step, (value.size,))


def reshape(_: Steps, value: Value, *shape: Any) -> Value:
    """The numbers of each image in another shape."""
    first, *wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    open_ = wanted.count(-1)
    known = math.prod(size for size in wanted if size != -1) if all(isinstance(size, int) for size in wanted) else 0
    if open_ == 1 and first is IMAGES and known > 0 and value.size % known == 0:
        wanted[wanted.index(-1)] = value.size // known
    elif open_ or known != value.size or (first is not IMAGES and first != -1):
        raise Unsupported(
            f"no verifier for a reshape of inputs of shape {value.shape} to {(first, *wanted)}: possible is one of each image by "
            "itself, such as x.view(x.size(0), -1) or x.flatten(1)"
        )
    return Value(value.step, tuple(wanted))


def squeeze(_: Steps, value: Value, dim: Any = None) -> Value:
    """The same numbers without some dimensions of size 1."""
    axes = _axes("squeeze", value, dim)
    return Value(value.step, tuple(n for axis, n in enumerate(value.shape) if axis not in axes or n != 1))


def same(_: Steps, value: Value) -> Value:
    """The same numbers in another place of memory."""
    return value


def add(steps: Steps, one: Any, other: Any, alpha: float = 1) -> Value:
    """``one + alpha * other``: of two values in one shape, or of one and a constant."""
    if isinstance(one, Value) and isinstance(other, Value):
        if one.shape != other.shape:
            raise Unsupported(
                f"no verifier for a sum of inputs of shapes {one.shape} and {other.shape}: possible is one shape"
            )
        maps = [None, None if alpha == 1 else _diagonal(np.full(other.size, float(alpha)))]
        return steps.affine([one, other], maps, None, one.shape)
    if isinstance(one, Value):
        return _shifted(steps, one, alpha * _constant(other, one))
    return _shifted(steps, multiply(steps, other, alpha), _constant(one, other))


def subtract(steps: Steps, one: Any, other: Any, alpha: float = 1) -> Value:
    """``one - alpha * other``."""
    return add(steps, one, other, -alpha)


def multiply(steps: Steps, one: Any, other: Any) -> Value:
    """A value and a constant multiplied."""
    if isinstance(one, Value) and isinstance(other, Value):
        raise Unsupported(
            "no verifier for a product of two values that depend on the image: possible is one with a constant"
        )
    value, constant = (one, other) if isinstance(one, Value) else (other, one)
    factors = _constant(constant, value)
    return value if (factors == 1).all() else _scaled(steps, value, factors, None)


def divide(steps: Steps, one: Any, other: Any, rounding_mode: None = None) -> Value:
    """A value divided by a constant."""
    if not isinstance(one, Value) or isinstance(other, Value) or rounding_mode is not None:
        raise Unsupported(
            "no verifier for a division by a value that depends on the image, or that rounds: possible is x / constant"
        )
    divisors = _constant(other, one)
    return _scaled(steps, one, 1.0 / divisors, None)


def negative(steps: Steps, value: Value) -> Value:
    """``-value``."""
    return multiply(steps, value, -1)


FUNCTIONS: Mapping[object, Callable[..., Any]] = {
    **dict.fromkeys((functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), relu),
    **dict.fromkeys((functional.max_pool2d, torch.max_pool2d), max_pool),
    functional.avg_pool2d: average_pool,
    functional.adaptive_avg_pool2d: adaptive_average_pool,
    **dict.fromkeys((functional.dropout, functional.dropout1d, functional.dropout2d), dropout),
    **dict.fromkeys((torch.mean, Tensor.mean), mean),
    **dict.fromkeys((torch.flatten, Tensor.flatten), flatten),
    **dict.fromkeys((torch.reshape, Tensor.reshape, Tensor.view), reshape),
    **dict.fromkeys((torch.squeeze, Tensor.squeeze), squeeze),
    **dict.fromkeys((Tensor.contiguous, Tensor.clone, torch.clone), same),
    **dict.fromkeys((operator.add, operator.iadd, torch.add, Tensor.add, Tensor.add_), add),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, Tensor.sub, Tensor.sub_), subtract),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, Tensor.mul, Tensor.mul_), multiply),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, Tensor.div, Tensor.div_), divide),
    **dict.fromkeys((operator.neg, torch.neg, Tensor.neg), negative),
}
"""How each function, operator and method is read; ``inplace`` is none of its arguments."""

_OF_TENSORS = (functional.relu_, torch.relu_, Tensor.relu_, Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_)

OVERWRITE = frozenset((*_OF_TENSORS, operator.iadd, operator.isub, operator.imul, operator.itruediv))
"""Those that overwrite their first argument."""


def _check_channels(name: str, value: Value, channels: int | None = None) -> None:
    if len(value.shape) != 3 or (channels is not None and value.shape[0] != channels):
        raise Unsupported(f"no verifier for {name} on inputs of shape {value.shape}")


def _pooled(name: str, layer: nn.MaxPool2d | nn.AvgPool2d, value: Value, window: Window) -> tuple[int, int]:
    """Height and width of what a pooling layer gives; refused where it is too large or its windows leave the image."""
    height, width = sliding.outputs(value.shape, window)
    afford(name, value.shape, value.shape[0] * height * width * math.prod(window.kernel))
    with torch.no_grad():
        expected = layer.forward(torch.zeros((1, *value.shape), dtype=torch.float64)).shape[2:]
    if tuple(expected) != (height, width):
        raise Unsupported(f"no verifier for {name} with ceil_mode whose last windows leave the image")
    return height, width


def _axes(name: str, value: Value, dim: Any) -> tuple[int, ...]:
    """Dimensions as axes of one image's value."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    axes = tuple(sorted({d % (len(value.shape) + 1) - 1 for d in dims}))
    if not axes or axes[0] < 0:
        raise Unsupported(
            f"no verifier for {name} over all dimensions or over images: possible is {name} with dim, such as (2, 3)"
        )
    return axes


def _constant(constant: Any, value: Value) -> FloatArray:
    """A number or a tensor of them for each number of a value."""
    array: NDArray[Any] = np.asarray(constant.numpy(force=True) if isinstance(constant, Tensor) else constant)
    if array.dtype.kind not in "bif" or np.broadcast_shapes(array.shape, (1, *value.shape)) != (1, *value.shape):
        raise Unsupported(
            f"no verifier for a constant of shape {array.shape} with inputs of shape {value.shape}: possible are numbers that "
            "broadcast to an image"
        )
    return np.broadcast_to(array.astype(np.float64), (1, *value.shape)).ravel()


def _shifted(steps: Steps, value: Value, shift: FloatArray) -> Value:
    return steps.affine([value], [None], shift, value.shape)


def _scaled(steps: Steps, value: Value, scale: FloatArray, shift: FloatArray | None) -> Value:
    return steps.affine([value], [_diagonal(scale)], shift, value.shape)


def _diagonal(values: FloatArray) -> Matrix:
    return sparse.csr_array(sparse.diags_array(values))
