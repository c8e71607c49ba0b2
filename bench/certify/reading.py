"""Read a torch network into plain arrays, and refuse every network that may compute something else than its layers say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from bench import guard
from bench.certify.layers import FloatArray, IntArray, PlainNetwork, Stage, dense
from bench.problem import InUnitBox, Standardised, Unsupported

_AGREEMENT = 1e-8
"""Logits of the module and of its plain form may differ by this much, relative to 1 + the largest logit."""

_RANDOM_POINTS = 64
"""Random points, and as many random corners of the box, at which the plain form is compared with the module."""

_MOST_ENTRIES = 32_000_000
"""The largest matrix, in numbers stored, that is made of a layer; 12 bytes each."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

_HARMLESS = frozenset(
    ("__init__", "__doc__", "__module__", "__annotations__", "__dict__", "__weakref__", "__repr__", "extra_repr")
)
"""What a subclass of Sequential may define and still compute what Sequential does; names of its own as well."""


def in_double(network: nn.Module) -> nn.Module:
    """A copy of the network that computes in float64 on the CPU, in eval mode, its parameters frozen: the judge's view.

    Raises:
        Unsupported: it cannot be copied.
    """
    try:
        copied = guard.copied(network)
    except Exception as error:
        raise Unsupported(f"no verifier for {type(network).__name__}: it cannot be copied ({error})") from error
    copied = guard.frozen(guard.converted(copied, "cpu", torch.float64))
    for layer in copied.modules():
        # What overwrites its input would overwrite the points that are evaluated.
        if type(layer) in _IN_PLACE:
            setattr(layer, "inplace", False)  # noqa: B010 - no attribute of modules in general
    return copied


def read(network: nn.Module, images: Tensor) -> PlainNetwork:
    """A sequential network as plain arrays.

    Args:
        network: ``nn.Sequential`` (nested ones too) of Linear, Conv2d, ReLU, MaxPool2d, AvgPool2d, Flatten, Dropout,
            BatchNorm, Identity, :class:`bench.problem.Standardised`, in eval mode; :class:`bench.problem.InUnitBox` may stand
            in front.
        images: (n, *shape) points of the unit box, n at least 1: the shape is read, and the plain network must agree
            with the module on them, between them, at random points and at corners of the box.

    Returns:
        The network of unit points as arrays in float64.

    Raises:
        Unsupported: a layer is of another kind or changed by its user, the network is too large to be written as
            matrices, or the module does not compute what its layers say.
    """
    inner = network.network if type(network) is InUnitBox else network
    layers = _leaves(inner)
    double = in_double(network)
    assert isinstance(double, nn.Module)
    shape = tuple(images.shape[1:])
    reader = _Reader(shape)
    for layer in layers:
        reader.add(copy.deepcopy(layer).cpu().double().requires_grad_(False))
    plain = reader.finish()
    if isinstance(double, InUnitBox):
        low, width = (np.broadcast_to(part.numpy(), shape).ravel() for part in (double.low, double.width))
        plain = plain.in_unit_box(low, width)
    _check_agreement(plain, double, images)
    return plain


def _check_agreement(plain: PlainNetwork, double: nn.Module, images: Tensor) -> None:
    clean = images[:16].detach().cpu().double()
    shape = clean.shape[1:]
    random = torch.Generator().manual_seed(0)
    scattered = torch.rand((_RANDOM_POINTS, *shape), generator=random, dtype=torch.float64)
    # Corners of every kind: few values at the high end, and many.
    thresholds = torch.linspace(0, 1, _RANDOM_POINTS, dtype=torch.float64).reshape(-1, *([1] * len(shape)))
    corners = (torch.rand((_RANDOM_POINTS, *shape), generator=random, dtype=torch.float64) < thresholds).double()
    between = 0.5 * (clean + clean.roll(1, dims=0))
    for points in torch.cat([clean, between, 0.5 * (clean[:1] + corners), scattered, corners]).split(16):
        with torch.no_grad():
            expected = double(points.clone()).numpy()
        found = plain.logits(points.flatten(1).numpy())
        allowed = _AGREEMENT * (1 + np.abs(found).max())
        if found.shape != expected.shape or not (np.abs(found - expected) <= allowed).all():
            raise Unsupported(f"no verifier for {type(double).__name__}: it does not compute what its layers say")


def _leaves(module: nn.Module) -> list[nn.Module]:
    """The layers of a module in their order, each known to compute what its type says."""
    kind = type(module)
    if changed := _changed(module):
        raise Unsupported(f"no verifier for {kind.__name__} with {changed}")
    if module.training:
        raise Unsupported("no verifier for a network in training mode; call network.eval() first")
    if isinstance(module, nn.Sequential):
        bases = kind.__mro__[: kind.__mro__.index(nn.Sequential)]
        own = {name for base in bases for name in vars(base) if hasattr(nn.Sequential, name)} - _HARMLESS
        if own:
            raise Unsupported(f"no verifier for {kind.__name__}: it has a {min(own)} of its own")
        return [leaf for child in module._modules.values() if child is not None for leaf in _leaves(child)]  # noqa: SLF001 - iteration may be overridden
    if kind not in _LAYERS:
        base = next((base for base in kind.__mro__ if base in _LAYERS), None)
        reason = "" if base is None else f": it is a {base.__name__} that may compute something else"
        raise Unsupported(f"no verifier for {kind.__name__}{reason}")
    return [module]


def _changed(module: nn.Module) -> str:
    """What makes a module compute something else than its type does; empty for nothing."""
    if any(getattr(module, name, None) for name in _HOOKS) or any(
        getattr(torch_module, f"_global{name}", None) for name in _HOOKS
    ):
        return "a hook"
    if parametrize.is_parametrized(module):
        return "a parametrisation"
    for name in vars(module):
        if callable(getattr(type(module), name, None)):
            return f"a {name} of its own"
    for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if type(value) not in (Tensor, nn.Parameter) or value.is_complex() or value.is_quantized:
            return f"a {name} that is no plain tensor"
    return ""


class _Reader:
    """Collects layers into stages: affine maps compose, and so do maxima."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.stages: list[Stage] = []
        self.affine: tuple[sparse.csr_array | FloatArray, FloatArray] | None = None
        self.windows: IntArray | None = None
        self.rectified = False

    def add(self, layer: nn.Module) -> None:
        """Put a layer behind those read so far."""
        _LAYERS[type(layer)](self, layer)

    def finish(self) -> PlainNetwork:
        """The network of the layers read."""
        if self.windows is not None or self.affine is None:
            self._compose(_identity(self._size()), np.zeros(self._size()))
        assert self.affine is not None
        if len(self.shape) != 1:
            raise Unsupported(f"no verifier for a network whose logits have shape {self.shape}")
        weight, bias = self.affine
        return PlainNetwork(tuple(self.stages), np.ascontiguousarray(dense(weight)), bias)

    def _size(self) -> int:
        return int(np.prod(self.shape))

    def _afford(self, layer: nn.Module, entries: int) -> None:
        if entries > _MOST_ENTRIES:
            raise Unsupported(
                f"no verifier for a network of this size: {type(layer).__name__} on inputs of shape {self.shape} is a "
                f"matrix of {entries:,} numbers; at most {_MOST_ENTRIES:,} are possible"
            )

    def skip(self, layer: nn.Module) -> None:
        """A layer that does nothing in eval mode."""

    def flatten(self, layer: Any) -> None:
        end = layer.end_dim if layer.end_dim < 0 else layer.end_dim - len(self.shape) - 1
        if layer.start_dim != 1 or end != -1:
            raise Unsupported("no verifier for Flatten that keeps some of the dimensions")
        self.shape = (self._size(),)

    def relu(self, layer: nn.Module) -> None:
        self._afford(layer, self._size())
        self._maximum(np.arange(self._size())[:, None], rectified=True)

    def _maximum(self, windows: IntArray, *, rectified: bool) -> None:
        if self.affine is None and self.windows is None:
            self._compose(_identity(self._size()), np.zeros(self._size()))
        if self.windows is not None:
            # A maximum of maxima is a maximum over the union of their windows.
            inner = np.vstack([self.windows, np.full(self.windows.shape[1], -1)])
            windows = inner[windows].reshape(len(windows), -1)
        self.windows = windows
        self.rectified = self.rectified or rectified

    def _compose(self, weight: sparse.csr_array | FloatArray, bias: FloatArray) -> None:
        if self.windows is not None:
            assert self.affine is not None
            self.stages.append(Stage(*self.affine, self.windows, self.rectified))
            self.affine, self.windows, self.rectified = None, None, False
        if self.affine is not None:
            inner, offset = self.affine
            bias = weight @ offset + bias
            product = weight @ inner
            weight = product if isinstance(product, np.ndarray) else sparse.csr_array(product)
        self.affine = weight, bias

    def linear(self, layer: Any) -> None:
        if self.shape != (layer.in_features,):
            raise Unsupported(f"no verifier for Linear on inputs of shape {self.shape}")
        self._afford(layer, layer.in_features * layer.out_features)
        bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias.numpy()
        self._compose(np.ascontiguousarray(layer.weight.numpy()), bias)
        self.shape = (layer.out_features,)

    def convolution(self, layer: Any) -> None:
        if layer.padding_mode != "zeros":
            raise Unsupported(f"no verifier for Conv2d with padding mode {layer.padding_mode!r}")
        self._check_channels(layer, layer.in_channels)
        places, size = self._places(
            layer, layer.kernel_size, layer.stride, layer.dilation, _padding(layer), layer.groups
        )
        groups, outputs = layer.groups, layer.out_channels // layer.groups
        inputs = len(places) // groups
        kernel = layer.weight.reshape(groups, outputs, inputs).numpy()
        bias = np.zeros(layer.out_channels) if layer.bias is None else layer.bias.numpy()
        self._compose(self._sliding(places, kernel), np.repeat(bias, places.shape[1]))
        self.shape = (layer.out_channels, *size)

    def max_pool(self, layer: Any) -> None:
        self._check_channels(layer, self.shape[0])
        if layer.return_indices:
            raise Unsupported("no verifier for MaxPool2d that returns indices")
        kernel, stride, dilation = (_pair(v) for v in (layer.kernel_size, layer.stride, layer.dilation))
        top, left = _pair(layer.padding)
        places, size = self._places(layer, kernel, stride, dilation, (left, left, top, top), self.shape[0])
        self._check_size(layer, size)
        members = places.reshape(self.shape[0], -1, places.shape[1]).transpose(0, 2, 1)
        self._maximum(members.reshape(-1, members.shape[2]), rectified=False)
        self.shape = (self.shape[0], *size)

    def average_pool(self, layer: Any) -> None:
        self._check_channels(layer, self.shape[0])
        kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
        top, left = _pair(layer.padding)
        channels, taps = self.shape[0], kernel[0] * kernel[1]
        places, size = self._places(layer, kernel, stride, (1, 1), (left, left, top, top), channels)
        self._check_size(layer, size)
        matrix = self._sliding(places, np.ones((channels, 1, taps)))
        counted = np.diff(matrix.indptr) if not layer.count_include_pad else np.full(matrix.shape[0], taps)
        divisors = np.full(len(counted), layer.divisor_override) if layer.divisor_override else counted
        matrix.data /= np.repeat(divisors, np.diff(matrix.indptr))
        self._compose(matrix, np.zeros(matrix.shape[0]))
        self.shape = (channels, *size)

    def normalisation(self, layer: Any) -> None:
        if layer.running_mean is None or layer.running_var is None:
            raise Unsupported(f"no verifier for {type(layer).__name__} without running statistics")
        if self.shape[0] != layer.num_features:
            raise Unsupported(f"no verifier for {type(layer).__name__} on inputs of shape {self.shape}")
        scale = 1.0 / np.sqrt(layer.running_var.numpy() + layer.eps)
        if layer.affine:
            scale = scale * layer.weight.numpy()
        shift = -scale * layer.running_mean.numpy() + (layer.bias.numpy() if layer.affine else 0.0)
        places = self._size() // len(scale)
        self._compose(sparse.csr_array(sparse.diags_array(np.repeat(scale, places))), np.repeat(shift, places))

    def standardisation(self, layer: Any) -> None:
        scale, shift = (
            np.broadcast_to(part.numpy(), self.shape).ravel() for part in (1.0 / layer.std, -layer.mean / layer.std)
        )
        self._compose(sparse.csr_array(sparse.diags_array(scale)), shift)

    def _check_channels(self, layer: nn.Module, channels: int) -> None:
        if len(self.shape) != 3 or self.shape[0] != channels:
            raise Unsupported(f"no verifier for {type(layer).__name__} on inputs of shape {self.shape}")

    def _check_size(self, layer: Any, size: tuple[int, int]) -> None:
        with torch.no_grad():
            expected = layer(torch.zeros((1, *self.shape), dtype=torch.float64)).shape[2:]
        if tuple(expected) != size:
            raise Unsupported(
                f"no verifier for {type(layer).__name__} with ceil_mode whose last windows leave the image"
            )

    def _places(
        self,
        layer: Any,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        padding: tuple[int, int, int, int],
        groups: int,
    ) -> tuple[IntArray, tuple[int, int]]:
        """Which input each kernel tap sees: (channels * taps, positions) int64, -1 on padding; and the output's size."""
        padded = (self.shape[1] + padding[2] + padding[3], self.shape[2] + padding[0] + padding[1])
        height, width = (
            (full - d * (k - 1) - 1) // s + 1 for full, k, d, s in zip(padded, kernel, dilation, stride, strict=True)
        )
        outputs = getattr(layer, "out_channels", self.shape[0])
        self._afford(layer, outputs * height * width * (self.shape[0] // groups) * int(np.prod(kernel)))
        numbers = torch.arange(1, self._size() + 1, dtype=torch.float64).reshape(1, *self.shape)
        places = functional.unfold(
            functional.pad(numbers, padding), _pair(kernel), dilation=_pair(dilation), stride=_pair(stride)
        )
        return places[0].numpy().astype(np.int64) - 1, (height, width)

    def _sliding(self, places: IntArray, kernel: FloatArray) -> sparse.csr_array:
        """The matrix of a kernel, (groups, outputs, taps), at every position of ``places``."""
        groups, outputs, inputs = kernel.shape
        shape = (groups, outputs, places.shape[1], inputs)
        columns = np.broadcast_to(places.reshape(groups, 1, inputs, -1).transpose(0, 1, 3, 2), shape).ravel()
        values = np.broadcast_to(kernel[:, :, None, :], shape).ravel()
        rows = np.repeat(np.arange(groups * outputs * places.shape[1]), inputs)
        inside = columns >= 0
        return sparse.csr_array((values[inside], (rows[inside], columns[inside])), shape=(rows[-1] + 1, self._size()))


_SKIPPED = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
_IN_PLACE = (nn.ReLU, *_SKIPPED[:3])

_LAYERS: Mapping[type[nn.Module], Callable[[_Reader, Any], None]] = {
    **dict.fromkeys(_SKIPPED, _Reader.skip),
    nn.Flatten: _Reader.flatten,
    nn.ReLU: _Reader.relu,
    nn.MaxPool2d: _Reader.max_pool,
    nn.Linear: _Reader.linear,
    nn.Conv2d: _Reader.convolution,
    nn.BatchNorm1d: _Reader.normalisation,
    nn.BatchNorm2d: _Reader.normalisation,
    nn.AvgPool2d: _Reader.average_pool,
    Standardised: _Reader.standardisation,
}
"""How each layer is read: exactly these types, since a subclass may compute something else."""


def _identity(size: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.eye_array(size))


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padding(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2
    top, left = (0, 0) if isinstance(layer.padding, str) else _pair(layer.padding)
    return left, left, top, top
