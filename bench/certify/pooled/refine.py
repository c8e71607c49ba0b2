"""Second-stage planes refined: each of a window's members is bounded on lines of its own, and planes may tilt.

:func:`bench.certify.pooled.windows.fit_planes` bounds ``(e_i - v).z`` for all windows and members on the same lines of the first
stage. Here every one of these rows has its own weights of the lines below, and its own convex combination of several
planes above, found by alternating maximisation: evaluate at the row's worst point, and move towards the member that is
largest, and the plane that is lowest, at the mean of these points
(:class:`bench.certify.pooled.propagation.LowerWeights` does so for the hidden rows). At the same time v takes gradient
steps, and so does a tilt g over the window's pixels,

    p <= v.z + g.d + c,   c = max over i of sup (e_i - v).z - g.d,

with d the move away from the image: what the members rise by in common need not be paid for at every point.
Whatever v, g and the rows' weights are, the plane is valid; the one that is lowest at the region's middle is kept.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.certify.layers import FloatArray, IntArray
from bench.certify.pooled.patches import Patches
from bench.certify.pooled.planes import Planes
from bench.certify.pooled.propagation import PooledStage
from bench.certify.regions import SLACK, Region, jit

_V_RATE, _TILT_RATE = 0.03, 0.015
"""First sizes of the steps."""

_SOFT = 0.1
"""How far below the highest row, as a fraction of the mean distance from it, others count for the slopes."""

_EXACT = 1e-6
"""Planes that pay less than this are left as they are."""


@dataclass(frozen=True, slots=True)
class InputBlock:
    """Inputs of some windows that see the same pixels.

    Attributes:
        inputs: where they stand among the windows' inputs.
        places: (q,) where their pixels stand among the windows' pixels.
        weight: (inputs * k, q) float64, their members' weights on the pixels.
        bias: (inputs * k,) float64, the members' biases; 0 for members that are not there.
        absent: (inputs, k) float64, -inf for members that are not there, else 0.
    """

    inputs: slice
    places: IntArray
    weight: FloatArray
    bias: FloatArray
    absent: FloatArray


@dataclass(frozen=True, slots=True)
class WindowGroup:
    """Windows of the second stage with the same inputs.

    Attributes:
        windows: (n,) their numbers.
        inputs: (s,) windows of the first stage.
        pixels: (t,) what these see.
        blocks: the inputs in blocks that see the same pixels.
    """

    windows: IntArray
    inputs: IntArray
    pixels: IntArray
    blocks: tuple[InputBlock, ...]


def window_groups(first: Patches, second: Patches) -> tuple[WindowGroup, ...]:
    """The windows of a second stage, grouped by what they see."""
    found = []
    for number in range(int(second.groups.max()) + 1):
        windows = np.flatnonzero(second.groups == number)
        inputs, seen = second.inputs[windows[0]], second.pixels[windows]
        pixels = np.unique(seen[seen >= 0])
        ends = [0, *(np.flatnonzero(np.diff(first.groups[inputs])) + 1), len(inputs)]
        used = (second.weight[windows] != 0).any(axis=(0, 1))
        blocks = [
            _block(first, inputs, slice(int(a), int(b)), pixels) for a, b in itertools.pairwise(ends) if used[a:b].any()
        ]
        found.append(WindowGroup(windows, inputs, pixels, tuple(blocks)))
    return tuple(found)


def _block(first: Patches, inputs: IntArray, span: slice, pixels: IntArray) -> InputBlock:
    at = inputs[span]
    there = first.pixels[at[0]] >= 0
    weight = first.weight[at][:, :, there]
    bias = first.bias[at]
    absent = np.where(np.isfinite(bias), 0.0, -np.inf)
    places = np.searchsorted(pixels, first.pixels[at[0]][there])
    finite = np.where(np.isfinite(bias), bias, 0.0)
    return InputBlock(span, places, np.ascontiguousarray(weight.reshape(absent.size, -1)), finite.ravel(), absent)


class Refinement:
    """Refines the planes of a second stage over one region."""

    def __init__(self, stages: list[PooledStage], region: Region, firsts: list[Planes]) -> None:
        """Nothing is refined yet.

        Args:
            stages: the network's; the first two matter.
            region: where the image may be, a box.
            firsts: planes of the first stage, for the rows to combine.
        """
        second = stages[1].patches
        assert second is not None
        self.patches, self.region, self.firsts = second, region, firsts
        self.rectified = stages[0].stage.rectified, stages[1].stage.rectified

    def refine(self, groups: tuple[WindowGroup, ...], planes: Planes, middles: FloatArray, rounds: int) -> Planes:
        """Planes that are lower at the middle.

        Args:
            groups: of the second stage's windows.
            planes: of the second stage, to start from.
            middles: (p, k) values of the members at the region's middle.
            rounds: of alternating maximisation and of gradient steps.
        """
        above, constant = planes.above.copy(), planes.constant.copy()
        loose = constant > _EXACT
        tilts = []
        for group in groups:
            windows = group.windows[loose[group.windows]]
            if not len(windows):
                continue
            fit = _Fit(self, group, windows, above[windows], middles[windows], rounds)
            for _ in range(rounds):
                fit.bound()
                fit.improve()
            fit.bound()
            above[windows], constant[windows] = fit.best_v, fit.constant
            tilts.append((group.pixels, windows, fit.best_tilt))
        return Planes(above, constant, None, planes.below, _matrix(tilts, (len(self.region.low), len(constant))))


def _matrix(parts: list[tuple[IntArray, IntArray, FloatArray]], shape: tuple[int, int]) -> sparse.csr_array:
    """(n, t) values of windows on pixels, group by group, as a (pixels, windows) matrix."""
    if not parts:
        return sparse.csr_array(shape)
    rows = np.concatenate([np.tile(pixels, len(windows)) for pixels, windows, _ in parts])
    columns = np.concatenate([np.repeat(windows, len(pixels)) for pixels, windows, _ in parts])
    return sparse.csr_array((np.concatenate([values.ravel() for _, _, values in parts]), (rows, columns)), shape=shape)


class _Fit:
    """The planes of n windows of one group on the way, with m rows each: one for every member, and one for 0."""

    def __init__(
        self, task: Refinement, group: WindowGroup, windows: IntArray, v: FloatArray, middles: FloatArray, rounds: int
    ) -> None:
        self.task, self.group = task, group
        self.weight, bias = task.patches.weight[windows], task.patches.bias[windows]
        self.there = np.isfinite(bias)
        self.bias, self.middles = np.where(self.there, bias, 0.0), np.where(self.there, middles, 0.0)
        count, members, inputs = self.weight.shape
        self.units = np.eye(members + 1, members) if task.rectified[1] else np.eye(members)
        self.shape = count, len(self.units), len(group.pixels)
        self.closed = np.zeros(self.shape[:2])
        self.closed[:, :members][~self.there] = -np.inf
        self.low, self.high = task.region.low[group.pixels], task.region.high[group.pixels]
        self.middle, self.centre = 0.5 * (self.low + self.high), task.region.centre[group.pixels]
        self.v, self.tilt = v.copy(), np.zeros((count, len(group.pixels)))
        first, rows = task.firsts[0], count * len(self.units)
        self.below = np.repeat(first.below[group.inputs][None], rows, axis=0)
        self.above = np.repeat(first.above[group.inputs][None], rows, axis=0)
        self.offsets = np.repeat(first.constant[group.inputs][None], rows, axis=0)
        self.choices = np.stack([plane.above[group.inputs] for plane in task.firsts])
        self.choice_offsets = np.stack([plane.constant[group.inputs] for plane in task.firsts])
        self.means = np.zeros((rows, inputs, first.above.shape[1]))
        self.rounds = 0
        self.steps = _Steps(_V_RATE, rounds), _Steps(_TILT_RATE, rounds)
        self.height, self.constant = np.full(count, np.inf), np.full(count, np.inf)
        self.best_v, self.best_tilt = self.v.copy(), self.tilt.copy()

    def bound(self) -> None:
        """Bound the rows on their present lines, and keep the planes where they are lower than before."""
        differences = self.units[None] - self.v[:, None]
        self.rows = (differences @ self.weight).reshape(len(self.below), -1)
        rising = np.maximum(self.rows, 0.0)
        falling = self.rows - rising
        constants = (differences @ self.bias[:, :, None]).ravel() + (rising * self.offsets).sum(axis=1)
        linear = np.zeros((len(self.rows), self.shape[2]))
        for block in self.group.blocks:
            at = block.inputs
            units = rising[:, at, None] * self.above[:, at] + falling[:, at, None] * self.below[:, at]
            units = units.reshape(len(units), -1)
            linear[:, block.places] += units @ block.weight
            constants += units @ block.bias
        constants += linear @ self.centre
        size = np.abs(self.rows).sum(axis=1) + np.abs(linear).sum(axis=1) + np.abs(constants)
        linear -= np.repeat(self.tilt, self.shape[1], axis=0)
        self.worst = np.where(linear > 0.0, self.high, self.low)
        self.values = (constants + (linear * self.worst).sum(axis=1)).reshape(self.shape[:2]) + self.closed
        constant = self.values.max(axis=1)
        height = constant + (self.v * self.middles).sum(axis=1) + self.tilt @ self.middle
        lower = height < self.height
        slack = SLACK * (1.0 + size.reshape(self.shape[:2]).max(axis=1) + np.abs(self.tilt).sum(axis=1))
        self.height = np.where(lower, height, self.height)
        self.constant = np.where(lower, constant + slack, self.constant)
        self.best_v[lower], self.best_tilt[lower] = self.v[lower], self.tilt[lower]

    def improve(self) -> None:
        """Move the rows' lines towards those that are best at their worst points, and step to other planes."""
        self.rounds += 1
        reached = self._lines()
        members = (self.weight @ reached.reshape(*self.shape[:2], -1).transpose(0, 2, 1)).transpose(0, 2, 1)
        members += self.bias[:, None]
        below = np.where(np.isfinite(self.closed), self.values.max(axis=1, keepdims=True) - self.values, 0.0)
        weight = np.exp(-below / (_SOFT * below.mean(axis=1, keepdims=True) + 1e-12) + self.closed)
        weight /= weight.sum(axis=1, keepdims=True)
        slope_v = np.where(self.there, self.middles - (weight[:, :, None] * members).sum(axis=1), 0.0)
        slope_tilt = self.middle - (weight[:, :, None] * self.worst.reshape(self.shape)).sum(axis=1)
        self.v = self.v + self.steps[0](slope_v)
        self.tilt = self.tilt + self.steps[1](slope_tilt)

    def _lines(self) -> FloatArray:
        """The lines' values at the worst points, (rows, inputs); then each line moves towards the best one there."""
        reached = np.zeros_like(self.rows)
        for block in self.group.blocks:
            units = (self.centre[block.places] + self.worst[:, block.places]) @ block.weight.T + block.bias
            _move_lines(
                units, block.absent, self.task.rectified[0], block.inputs.start, self.rounds, self.rows, self.choices,
                self.choice_offsets, self.above, self.offsets, self.below, self.means, reached,
            )  # fmt: skip
        return reached


@jit
def _move_lines(  # type: ignore[no-untyped-def]  # compiled
    units, absent, rectified, start, turn, rows, choices, choice_offsets, above, offsets, below, means, reached
):
    """One round of alternating maximisation on the inputs of a block, from ``start`` on: everything from ``above`` on is changed.

    Args:
        units: (r, inputs * k) the members' values at the rows' worst points.
        absent: (inputs, k), -inf for members that are not there, else 0.
        rectified: whether 0 takes part in the inputs' maxima.
        start: the first input.
        turn: rounds so far, this one included.
        rows: (r, s) coefficients on all inputs.
        choices, choice_offsets: (c, s, k) and (c, s), the planes to choose from.
        above, offsets, below, means: what :class:`_Fit` holds.
        reached: (r, s) the values of the lines before they move, written.
    """
    pace, (count, members) = 1.0 / (turn + 1), absent.shape
    for r in range(len(rows)):
        for at in range(count):
            s = start + at
            over, under, top, largest = offsets[r, s], 0.0, -np.inf, 0
            for k in range(members):
                z = units[r, at * members + k]
                over += above[r, s, k] * z
                under += below[r, s, k] * z
                means[r, s, k] += (z - means[r, s, k]) / turn
                if means[r, s, k] + absent[at, k] > top:
                    top, largest = means[r, s, k], k
            reached[r, s] = over if rows[r, s] > 0.0 else under
            # One member only where several are largest: weights that sum to more than 1 would not bound from below.
            for k in range(members):
                below[r, s, k] -= pace * below[r, s, k]
            if top > 0.0 or (not rectified and top > -np.inf):
                below[r, s, largest] += pace
            lowest, chosen = np.inf, 0
            for c in range(len(choices)):
                height = choice_offsets[c, s]
                for k in range(members):
                    height += choices[c, s, k] * means[r, s, k]
                if height < lowest:
                    lowest, chosen = height, c
            offsets[r, s] += pace * (choice_offsets[chosen, s] - offsets[r, s])
            for k in range(members):
                above[r, s, k] += pace * (choices[chosen, s, k] - above[r, s, k])


class _Steps:
    """Steps against slopes, scaled by each window's mean square slope so far, that shrink to 0."""

    def __init__(self, rate: float, turns: int) -> None:
        self.rate, self.turns, self.turn = rate, turns, 0
        self.square: FloatArray | float = 0.0

    def __call__(self, slope: FloatArray) -> FloatArray:
        """The step for (n, ...) slopes."""
        self.turn += 1
        self.square = self.square + (slope * slope).mean(axis=1, keepdims=True)
        pace = self.rate * (1 - self.turn / (self.turns + 1))
        step: FloatArray = -pace * slope / (np.sqrt(self.square / self.turn) + 1e-12)
        return step
