"""Reading a torch module into plain arrays: affine maps and maxima over windows, nothing else."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from bench.engine.queries import CountedNetwork

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_AGREEMENT = 1e-6
"""Logits of the module and of its plain form may differ by this much, relative to 1 + their size."""


class Unsupported(Exception):  # noqa: N818 - it tells a fact about the network, not a fault
    """The network has a layer, or a form, that no verifier here can bound; the text says which."""


@dataclass(frozen=True, slots=True)
class Stage:
    """An affine map, then a maximum over windows: ``z = weight x + bias``, ``p_w = max(z_i for i in window w)``.

    Where ``rectified``, each maximum also includes 0. A plain ReLU layer has windows of one unit. ReLU and
    max-pooling commute, so either order of the two reads as one stage.

    Attributes:
        weight: (units, inputs) float64, CSR where it comes from a convolution.
        bias: (units,) float64.
        windows: (outputs, width) int64 indices into the units; -1 fills places without a unit.
        rectified: whether 0 takes part in every maximum.
    """

    weight: sparse.csr_array | FloatArray
    bias: FloatArray
    windows: IntArray
    rectified: bool

    @property
    def is_relu(self) -> bool:
        """Whether this is an affine map followed by a plain ReLU on each unit."""
        units = len(self.bias)
        return self.rectified and self.windows.shape == (units, 1) and bool((self.windows[:, 0] == range(units)).all())

    def activate(self, units: FloatArray) -> FloatArray:
        """The maxima, (n, outputs), of (n, units) values."""
        floor = 0.0 if self.rectified else -np.inf
        highest: FloatArray = np.where(self.windows >= 0, units[:, self.windows], floor).max(axis=2).clip(min=floor)
        return highest


@dataclass(frozen=True, slots=True)
class PlainNetwork:
    """A network as arrays: stages, then a last affine map to the logits. Inputs are flat and lie in [0, 1].

    Attributes:
        stages: the hidden layers, from the input on.
        weight: (classes, last stage's outputs) float64.
        bias: (classes,) float64.
    """

    stages: tuple[Stage, ...]
    weight: FloatArray
    bias: FloatArray

    @property
    def inputs(self) -> int:
        """How many values an image has."""
        return int(self.stages[0].weight.shape[1] if self.stages else self.weight.shape[1])

    def logits(self, images: FloatArray) -> FloatArray:
        """The logits, (n, classes), of (n, inputs) flat images."""
        values = images
        for stage in self.stages:
            values = stage.activate((stage.weight @ values.T).T + stage.bias)
        return values @ self.weight.T + self.bias

    def margin(self, label: int, target: int) -> tuple[FloatArray, float]:
        """Row and constant of ``logit[target] - logit[label]`` on the last stage's outputs."""
        return self.weight[target] - self.weight[label], float(self.bias[target] - self.bias[label])


def dense(weight: sparse.csr_array | FloatArray) -> FloatArray:
    """A weight as a dense matrix."""
    return weight if isinstance(weight, np.ndarray) else weight.toarray()


def unwrapped(network: nn.Module) -> nn.Module:
    """The network itself, without the bench's counters around it."""
    while isinstance(network, CountedNetwork):
        network = network.network
    return network


def in_double(network: nn.Module) -> nn.Module:
    """A copy of the network that computes in float64 on the CPU, in eval mode, its parameters frozen: the judge's view."""
    return copy.deepcopy(unwrapped(network)).cpu().double().eval().requires_grad_(False)


def read(network: nn.Module, image: Tensor) -> PlainNetwork:
    """A sequential network as plain arrays.

    Args:
        network: ``nn.Sequential`` (nested ones too) of Linear, Conv2d, ReLU, MaxPool2d, AvgPool2d, Flatten, Dropout,
            BatchNorm, Identity, in eval mode; the bench's counters around it are taken off.
        image: an input, (...) without the batch dimension: its shape is read, and the plain network must agree with
            the module on it.

    Returns:
        The network's arrays in float64.

    Raises:
        Unsupported: a layer is of another kind, or the module does not compute what its layers say.
    """
    module = in_double(network)
    if unwrapped(network).training:
        raise Unsupported("no verifier for a network in training mode; call network.eval() first")
    reader = _Reader(tuple(image.shape))
    for layer in _leaves(module):
        reader.add(layer)
    plain = reader.finish()
    batch = image.detach().cpu().double()[None]
    expected = module(batch).numpy()
    found = plain.logits(batch.reshape(1, -1).numpy())
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=_AGREEMENT, atol=_AGREEMENT):
        raise Unsupported(f"no verifier for {type(module).__name__}: it does not compute what its layers say")
    return plain


def _leaves(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.Sequential):
        if type(module).forward is not nn.Sequential.forward:
            raise Unsupported(f"no verifier for {type(module).__name__}: it has a forward of its own")
        return [leaf for child in module for leaf in _leaves(child)]
    return [module]


class _Reader:
    """Collects layers into stages: affine maps compose, and so do maxima."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.stages: list[Stage] = []
        self.affine: tuple[sparse.csr_array | FloatArray, FloatArray] | None = None
        self.windows: IntArray | None = None
        self.rectified = False

    def add(self, layer: nn.Module) -> None:
        if isinstance(layer, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Identity):
            return
        if isinstance(layer, nn.Flatten):
            self._flatten(layer)
        elif isinstance(layer, nn.ReLU):
            self._maximum(np.arange(self._size())[:, None], rectified=True)
        elif isinstance(layer, nn.MaxPool2d):
            self._max_pool(layer)
        elif isinstance(layer, nn.Linear):
            self._linear(layer)
        elif isinstance(layer, nn.Conv2d):
            self._convolution(layer)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            self._normalisation(layer)
        elif isinstance(layer, nn.AvgPool2d):
            self._impulses(layer)
        else:
            raise Unsupported(f"no verifier for {type(layer).__name__}")

    def finish(self) -> PlainNetwork:
        if self.windows is not None or self.affine is None:
            self._compose(_identity(self._size()), np.zeros(self._size()))
        assert self.affine is not None
        if len(self.shape) != 1:
            raise Unsupported(f"no verifier for a network whose logits have shape {self.shape}")
        weight, bias = self.affine
        return PlainNetwork(tuple(self.stages), np.ascontiguousarray(dense(weight)), bias)

    def _size(self) -> int:
        return int(np.prod(self.shape))

    def _flatten(self, layer: nn.Flatten) -> None:
        end = layer.end_dim if layer.end_dim < 0 else layer.end_dim - len(self.shape) - 1
        if layer.start_dim != 1 or end != -1:
            raise Unsupported("no verifier for Flatten that keeps some of the dimensions")
        self.shape = (self._size(),)

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

    def _linear(self, layer: nn.Linear) -> None:
        if self.shape != (layer.in_features,):
            raise Unsupported(f"no verifier for Linear on inputs of shape {self.shape}")
        bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias.numpy()
        self._compose(np.ascontiguousarray(layer.weight.numpy()), bias)
        self.shape = (layer.out_features,)

    def _convolution(self, layer: nn.Conv2d) -> None:
        if layer.padding_mode != "zeros":
            raise Unsupported(f"no verifier for Conv2d with padding mode {layer.padding_mode!r}")
        self._check_channels(layer, layer.in_channels)
        places, size = _places(self.shape, layer.kernel_size, layer.stride, layer.dilation, _padding(layer))
        groups, outputs = layer.groups, layer.out_channels // layer.groups
        inputs = len(places) // groups
        kernel = layer.weight.reshape(groups, outputs, inputs).numpy()
        shape = (groups, outputs, places.shape[1], inputs)
        columns = np.broadcast_to(places.reshape(groups, 1, inputs, -1).transpose(0, 1, 3, 2), shape).ravel()
        values = np.broadcast_to(kernel[:, :, None, :], shape).ravel()
        rows = np.repeat(np.arange(groups * outputs * places.shape[1]), inputs)
        inside = columns >= 0
        matrix = sparse.csr_array((values[inside], (rows[inside], columns[inside])), shape=(rows[-1] + 1, self._size()))
        bias = np.zeros(layer.out_channels) if layer.bias is None else layer.bias.numpy()
        self._compose(matrix, np.repeat(bias, places.shape[1]))
        self.shape = (layer.out_channels, *size)

    def _max_pool(self, layer: nn.MaxPool2d) -> None:
        self._check_channels(layer, self.shape[0])
        kernel, stride, dilation = (_pair(v) for v in (layer.kernel_size, layer.stride, layer.dilation))
        top, left = _pair(layer.padding)
        places, size = _places(self.shape, kernel, stride, dilation, (left, left, top, top))
        with torch.no_grad():
            expected = layer(torch.zeros((1, *self.shape), dtype=torch.float64)).shape[2:]
        if tuple(expected) != size:
            raise Unsupported("no verifier for MaxPool2d with ceil_mode whose last windows leave the image")
        members = places.reshape(self.shape[0], -1, places.shape[1]).transpose(0, 2, 1)
        self._maximum(members.reshape(-1, members.shape[2]), rectified=False)
        self.shape = (self.shape[0], *size)

    def _normalisation(self, layer: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
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

    def _impulses(self, layer: nn.Module) -> None:
        """Any layer that is linear: its matrix from its answers to the unit vectors."""
        basis = torch.eye(self._size(), dtype=torch.float64).reshape(-1, *self.shape)
        with torch.no_grad():
            try:
                zero = layer(torch.zeros((1, *self.shape), dtype=torch.float64))
                blocks = [sparse.csr_array((layer(part) - zero).flatten(1).numpy()) for part in basis.split(256)]
            except (RuntimeError, ValueError) as error:
                raise Unsupported(f"no verifier for {type(layer).__name__} on shape {self.shape}") from error
        self._compose(sparse.csr_array(sparse.vstack(blocks).T), zero.flatten().numpy())
        self.shape = tuple(zero.shape[1:])

    def _check_channels(self, layer: nn.Module, channels: int) -> None:
        if len(self.shape) != 3 or self.shape[0] != channels:
            raise Unsupported(f"no verifier for {type(layer).__name__} on inputs of shape {self.shape}")


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


def _places(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[int, int, int, int],
) -> tuple[IntArray, tuple[int, int]]:
    """Which input each kernel tap sees: (channels * taps, positions) int64, -1 on padding; and the output's size."""
    numbers = torch.arange(1, int(np.prod(shape)) + 1, dtype=torch.float64).reshape(1, *shape)
    padded = functional.pad(numbers, padding)
    places = functional.unfold(padded, _pair(kernel), dilation=_pair(dilation), stride=_pair(stride))
    height, width = (
        (full - d * (k - 1) - 1) // s + 1
        for full, k, d, s in zip(padded.shape[2:], kernel, dilation, stride, strict=True)
    )
    return places[0].numpy().astype(np.int64) - 1, (height, width)
