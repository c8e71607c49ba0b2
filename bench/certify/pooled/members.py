"""A member of a window minus a plane, ``(e_i - v).z``, as a function of the image: what a plane has to make up for.

Members are linear in the stage's inputs, and the inputs lie between lines in the image (:class:`InputLines`): an input with a
positive coefficient takes its upper line, one with a negative coefficient its lower line. The result is
``value + linear.d + spread.|d|`` with d the move away from the image, on the window's own pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.certify.layers import FloatArray, IntArray
from bench.certify.pooled.patches import Patches
from bench.certify.pooled.planes import Planes
from bench.certify.regions import jit


class InputLines(NamedTuple):
    """What a stage's inputs lie between, as functions of the move d away from the image.

    Input j lies below ``upper_values[j] + upper_rows[j] . d_j + spread[j] . |d_j|`` and above
    ``lower_values[j] + lower_rows[j] . d_j``, d_j being d on its own pixels.

    Attributes:
        pixels: (m, s) int64, the pixels of each input.
        groups: (m,) int64: inputs with the same pixels have the same number.
        upper_rows, spread, lower_rows: (m, s) float64.
        upper_values, lower_values: (m,) float64.
    """

    pixels: IntArray
    groups: IntArray
    upper_rows: FloatArray
    upper_values: FloatArray
    spread: FloatArray
    lower_rows: FloatArray
    lower_values: FloatArray

    @classmethod
    def image(cls, centre: FloatArray) -> InputLines:
        """The image's own pixels: each is exactly what it is."""
        at, ones = np.arange(len(centre)), np.ones((len(centre), 1))
        return cls(at[:, None], at, ones, centre, np.zeros_like(ones), ones, centre)

    @classmethod
    def after(cls, patches: Patches, planes: Planes, spread: FloatArray, centre: FloatArray) -> InputLines:
        """The outputs of a first stage, between its planes; ``spread`` is theirs on each window's inputs."""
        upper_rows, upper_values = _line_rows(patches, planes.above, planes.constant, centre)
        lower_rows, lower_values = _line_rows(patches, planes.below, np.zeros(len(planes.below)), centre)
        return cls(patches.inputs, patches.groups, upper_rows, upper_values, spread, lower_rows, lower_values)


@jit
def _line_rows(patches, lines, constants, centre):  # type: ignore[no-untyped-def]  # compiled
    """Lines on a first stage's members as rows over each window's pixels: (p, s) rows and (p,) values at the image."""
    inputs, weight, bias = patches.inputs, patches.weight, patches.bias
    windows, members, size = weight.shape
    rows, values = np.zeros((windows, size)), constants.copy()
    for w in range(windows):
        for k in range(members):
            if lines[w, k] != 0.0:
                values[w] += lines[w, k] * bias[w, k]
                for s in range(size):
                    rows[w, s] += lines[w, k] * weight[w, k, s]
        for s in range(size):
            values[w] += rows[w, s] * centre[inputs[w, s]]
    return rows, values


class Room(NamedTuple):
    """Room to compute in, for one window at a time; all arrays are float64.

    Attributes:
        linear, spread: (all pixels,) of the function at hand: slopes in d, and what it pays for abs(d).
        moves, worst: (all pixels,) where in its box the function at hand is largest, and the highest of all functions.
        plane: (inputs,) the row ``v . weight`` on the window's inputs.
        gathered: (2, pixels of an input) sums over inputs with the same pixels.
        steepest, longest: (t,) for each of the window's pixels the slope that is paid, and how far it can move.
    """

    linear: FloatArray
    spread: FloatArray
    moves: FloatArray
    worst: FloatArray
    plane: FloatArray
    gathered: FloatArray
    steepest: FloatArray
    longest: FloatArray


@jit
def room_for(patches, lines, total):  # type: ignore[no-untyped-def]  # compiled
    """The room that a stage's windows need; ``total`` is the number of all pixels."""
    reached = patches.pixels.shape[1]
    return Room(
        np.zeros(total), np.zeros(total), np.zeros(total), np.zeros(total), np.empty(patches.inputs.shape[1]),
        np.empty((2, lines.pixels.shape[1])), np.empty(reached), np.zeros(reached),
    )  # fmt: skip


@jit
def there(w, i, patches, rectified):  # type: ignore[no-untyped-def]  # compiled
    """Whether window ``w`` has a member ``i``; -1 is 0."""
    return rectified if i < 0 else patches.bias[w, i] != -np.inf


@jit
def plane_row(w, v, patches, room):  # type: ignore[no-untyped-def]  # compiled
    """Write the row ``v . weight`` of a window's plane on its inputs."""
    plane, weight = room.plane, patches.weight
    plane[:] = 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            for s in range(len(plane)):
                plane[s] += v[k] * weight[w, k, s]


@jit
def member(w, i, v, patches, lines, room):  # type: ignore[no-untyped-def]  # compiled
    """``(e_i - v).z`` of one window, ``v . weight`` being in the room: its value; slopes and what it pays are written."""
    inputs, linear, spread, gathered = patches.inputs, room.linear, room.spread, room.gathered
    patch = lines.pixels.shape[1]
    value = patches.bias[w, i] if i >= 0 else 0.0
    for k in range(len(v)):
        if v[k] != 0.0:
            value -= v[k] * patches.bias[w, k]
    for at in patches.pixels[w]:
        if at >= 0:
            linear[at] = spread[at] = 0.0
    # Sums over inputs with the same pixels are formed in a short array, then added where they belong.
    group, leader, size = -1, 0, inputs.shape[1]
    for s in range(size + 1):
        j = inputs[w, s] if s < size else 0
        if s == size or lines.groups[j] != group:
            if group >= 0:
                for q in range(patch):
                    linear[lines.pixels[leader, q]] += gathered[0, q]
                    spread[lines.pixels[leader, q]] += gathered[1, q]
            if s == size:
                break
            group, leader = lines.groups[j], j
            gathered[:] = 0.0
        r = (patches.weight[w, i, s] if i >= 0 else 0.0) - room.plane[s]
        if r > 0.0:
            value += r * lines.upper_values[j]
            for q in range(patch):
                gathered[0, q] += r * lines.upper_rows[j, q]
                gathered[1, q] += r * lines.spread[j, q]
        elif r < 0.0:
            value += r * lines.lower_values[j]
            for q in range(patch):
                gathered[0, q] += r * lines.lower_rows[j, q]
    return value
