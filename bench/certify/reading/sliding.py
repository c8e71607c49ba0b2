"""Kernels that slide over an image: which inputs they see, and their matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

from bench.certify.layers import FloatArray, IntArray
from bench.problem import Unsupported

_MOST_ENTRIES = 32_000_000
"""The largest matrix, in numbers stored, that is made of a layer; 12 bytes each."""


class Window(NamedTuple):
    """How a kernel slides.

    Attributes:
        kernel, stride, dilation: along height and width.
        padding: left, right, top, bottom.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[int, int, int, int]


def afford(name: str, shape: tuple[int, ...], entries: int) -> None:
    """Refuse a layer before its matrix takes memory.

    Args:
        name: of the layer.
        shape: of its input.
        entries: of its matrix.

    Raises:
        Unsupported: too many.
    """
    if entries > _MOST_ENTRIES:
        raise Unsupported(
            f"no verifier for a network of this size: {name} on inputs of shape {shape} is a "
            f"matrix of {entries:,} numbers; at most {_MOST_ENTRIES:,} are possible"
        )


def places(shape: tuple[int, ...], window: Window) -> IntArray:
    """Which input each kernel tap sees.

    Args:
        shape: channels, height and width.
        window: how the kernel slides.

    Returns:
        (channels * taps, positions) int64; -1 on padding.
    """
    numbers = torch.arange(1, int(np.prod(shape)) + 1, dtype=torch.float64).reshape(1, *shape)
    kernel, stride, dilation = (pair(part) for part in window[:3])
    seen = functional.unfold(functional.pad(numbers, window.padding), kernel, dilation=dilation, stride=stride)
    return seen[0].numpy().astype(np.int64) - 1


def outputs(shape: tuple[int, ...], window: Window) -> tuple[int, int]:
    """Height and width of what comes out, the arguments being those of :func:`places`."""
    kernel, stride, dilation, padding = window
    padded = (shape[1] + padding[2] + padding[3], shape[2] + padding[0] + padding[1])
    height, width = (
        (full - d * (k - 1) - 1) // s + 1 for full, k, d, s in zip(padded, kernel, dilation, stride, strict=True)
    )
    return height, width


def matrix(seen: IntArray, kernel: FloatArray, size: int) -> sparse.csr_array:
    """The matrix of a kernel, (groups, outputs, taps), at every position of ``seen``, on ``size`` inputs."""
    groups, channels, inputs = kernel.shape
    shape = (groups, channels, seen.shape[1], inputs)
    columns = np.broadcast_to(seen.reshape(groups, 1, inputs, -1).transpose(0, 1, 3, 2), shape).ravel()
    values = np.broadcast_to(kernel[:, :, None, :], shape).ravel()
    rows = np.repeat(np.arange(groups * channels * seen.shape[1]), inputs)
    inside = columns >= 0
    return sparse.csr_array((values[inside], (rows[inside], columns[inside])), shape=(rows[-1] + 1, size))


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """An argument of torch's for height and width."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def padding_of(layer: nn.Conv2d) -> tuple[int, int, int, int]:
    """Left, right, top, bottom."""
    if layer.padding == "same":
        total = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2
    top, left = (0, 0) if isinstance(layer.padding, str) else pair(layer.padding)
    return left, left, top, top
