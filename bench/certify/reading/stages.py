"""Steps as stages: affine maps compose, and what a later stage needs of an earlier one passes through those between.

A value x passes through a stage of maxima as a window of one unit. Where the stage includes 0 in its maxima the unit is
``x + m`` with m so large that it is never negative over the whole box, and m is taken off behind it:
``relu(x + m) - m = x``, exactly. By interval arithmetic m is also so large, where that is not much, that bounds see
the unit as one that is always active, which costs them nothing.

What passes is the smallest set of values that everything later follows from: a vertex cut between the outputs of the stage before
and the values that are needed later, weighed by how many numbers each has (max-flow, min-cut).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from bench.certify.layers import FloatArray, IntArray, PlainNetwork, Stage, dense
from bench.certify.reading.sliding import afford
from bench.certify.reading.steps import Affine, Matrix, Maximum, Step
from bench.problem import Unsupported

_SLACK = 1e-9
"""Intervals are moved outward by this much, times 1 + the size of what was summed: that of bounds in general."""

_ROOM = 2.0**-6
"""By how much a unit that passes stays above 0, which the slack of bounds does not use up."""

_MOST_ROOM = 1024.0
"""The largest m: sums of larger ones would lose digits that the slack of bounds is made for."""

_ALL = 2**30
"""A capacity that no cut goes through."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What a step lies between over the box.

    Attributes:
        low, high: (size,) float64 that it never leaves.
        seen: (size,) float64, at most ``low``: what bounds that go backwards through lines below the maxima see.
    """

    low: FloatArray
    high: FloatArray
    seen: FloatArray


@dataclass(slots=True)
class _Form:
    """A value as an affine function of a stage's outputs.

    Attributes:
        parts: for each block of outputs a matrix; None for the identity.
        bias: (size,) float64; None for 0.
    """

    parts: dict[int, Matrix | None]
    bias: FloatArray | None


@dataclass(frozen=True, slots=True)
class _Block:
    """Outputs of a stage that are a step's values, moved up by ``room``; None where they are not moved."""

    step: int
    room: FloatArray | None


@dataclass(slots=True)
class _Units:
    """Units of a stage: forms behind each other."""

    forms: list[tuple[_Form, int, FloatArray | None]] = field(default_factory=list)
    count: int = 0

    def add(self, form: _Form, size: int, room: FloatArray | None) -> int:
        """Units that are a form, moved up by ``room``; where they begin."""
        self.forms.append((form, size, room))
        self.count += size
        return self.count - size


def staged(steps: list[Step], output: int, low: FloatArray, high: FloatArray) -> PlainNetwork:
    """The network of some steps.

    Args:
        steps: the first is the image.
        output: the step that gives the logits.
        low, high: (inputs,) float64, the box.

    Raises:
        Unsupported: it is too large.
    """
    return _Staging(steps, output, low, high).network()


class _Staging:
    """Puts steps into stages: a maximum's stage is the first at which its operand is there."""

    def __init__(self, steps: list[Step], output: int, low: FloatArray, high: FloatArray) -> None:
        self.steps, self.output, self.box = steps, output, (low, high)
        self.needed = _ancestors(steps, output)
        self.levels: list[int] = []
        for step in steps:
            before = step.operands if isinstance(step, Affine) else (step.operand,)
            self.levels.append(max((self.levels[one] for one in before), default=0) + isinstance(step, Maximum))
        self._intervals: dict[int, Interval] = {}

    def network(self) -> PlainNetwork:
        """The network: its stages, then the last affine map."""
        blocks, stages = [_Block(0, None)], []
        for level in range(1, self.levels[self.output] + 1):
            forms = _Forms(self.steps, blocks)
            stage, blocks = self._stage(level, forms, blocks)
            stages.append(stage)
        units = _Units()
        units.add(_Forms(self.steps, blocks)[self.output], self.steps[self.output].size, None)
        weight, bias = _assembled(units, [self.steps[block.step].size for block in blocks])
        return PlainNetwork(tuple(stages), np.ascontiguousarray(dense(weight)), bias)

    def _stage(self, level: int, forms: _Forms, before: list[_Block]) -> tuple[Stage, list[_Block]]:
        """The stage of a level, and what its outputs are."""
        maxima = [
            (number, step)
            for number, step in enumerate(self.steps)
            if isinstance(step, Maximum) and self.levels[number] == level and number in self.needed
        ]
        rectified = any(step.rectified for _, step in maxima)
        passing = self._passing(level, before)
        units, windows, blocks = _Units(), [], []
        starts: dict[tuple[int, bool], int] = {}
        for number, step in maxima:
            moved = rectified and not step.rectified
            room = self._room(step.operand, alike=True) if moved else None
            key = step.operand, moved
            if key not in starts:
                starts[key] = units.add(forms[step.operand], self.steps[step.operand].size, room)
            windows.append(np.where(step.windows >= 0, step.windows + starts[key], -1))
            # All members of a window move up alike, so that its maximum does.
            blocks.append(_Block(number, None if room is None else np.full(step.size, room[0])))
        for number in passing:
            room = self._room(number) if rectified else None
            start = units.add(forms[number], self.steps[number].size, room)
            windows.append(start + np.arange(self.steps[number].size)[:, None])
            blocks.append(_Block(number, room))
        weight, bias = _assembled(units, [self.steps[block.step].size for block in before])
        return Stage(weight, bias, _side_by_side(windows), rectified), blocks

    def _passing(self, level: int, before: list[_Block]) -> list[int]:
        """The steps whose values pass through a stage: the fewest numbers from which all that is needed later follows."""
        later = {
            operand
            for number in self.needed
            if self.levels[number] >= level and isinstance(step := self.steps[number], Affine)
            for operand in step.operands
            if self.levels[operand] < level
        }
        if not later:
            return []
        there = {block.step for block in before}
        followed: dict[int, tuple[int, ...]] = {}
        waiting = sorted(later)
        while waiting:
            number = waiting.pop()
            if number not in followed:
                step = self.steps[number]
                followed[number] = step.operands if number not in there and isinstance(step, Affine) else ()
                waiting += followed[number]
        weights = {number: self._weight(number, there) for number in followed}
        return _cut(followed, later, weights)

    def _weight(self, number: int, there: set[int]) -> int:
        """What it costs to pass a step's values; too much where they would have to be moved up by too much."""
        movable = number in there or float(self._interval(number).low.min()) >= -_MOST_ROOM
        return self.steps[number].size if movable or self.levels[number] == 0 else _ALL

    def _room(self, number: int, *, alike: bool = False) -> FloatArray:
        """By how much the values of a step are moved up, so that they are never negative: (size,), all ``alike`` if asked.

        Raises:
            Unsupported: by more than keeps the sums exact enough.
        """
        interval = self._interval(number)
        least = np.maximum(-interval.low, 0.0)
        room: FloatArray = np.maximum(
            least, np.minimum(np.maximum(-interval.seen, 0.0) * (1 + 1e-6) + _ROOM, _MOST_ROOM)
        )
        if self.levels[number] > 0 and least.max() > _MOST_ROOM:
            raise Unsupported(
                f"no verifier for a network in which values without ReLU, as low as {-least.max():.3g}, stand beside others "
                f"with it; at least {-_MOST_ROOM:.0f} is possible"
            )
        return np.full(len(room), room.max()) if alike else room

    def _interval(self, number: int) -> Interval:
        """What a step lies between, by interval arithmetic."""
        for one in range(number + 1):
            if one not in self._intervals and one in self.needed:
                self._intervals[one] = self._interval_of(self.steps[one])
        return self._intervals[number]

    def _interval_of(self, step: Step) -> Interval:
        if isinstance(step, Maximum):
            before = self._intervals[step.operand]
            floor = 0.0 if step.rectified else -np.inf
            there = step.windows >= 0
            low, high = (
                np.where(there, ends[step.windows], -np.inf).max(axis=1).clip(min=floor)
                for ends in (before.low, before.high)
            )
            seen = np.where(there, before.seen[step.windows], np.inf).min(axis=1)
            return Interval(low, high, np.minimum(seen, 0.0) if step.rectified else seen)
        if not step.operands:
            return Interval(*self.box, self.box[0])
        inner = [self._intervals[operand] for operand in step.operands]
        low, high = _reach(step, [(one.low, one.high) for one in inner])
        seen, _ = _reach(step, [(one.seen, one.high) for one in inner])
        return Interval(low, high, seen)


def _reach(step: Affine, ends: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """What a step lies between where its operands lie between some ends; slack included."""
    middle = np.zeros(step.size) if step.bias is None else step.bias.copy()
    radius, size = np.zeros(step.size), 1.0 + np.abs(middle)
    for (low, high), weight in zip(ends, step.maps, strict=True):
        centre, reach = 0.5 * (low + high), 0.5 * (high - low)
        middle += centre if weight is None else weight @ centre
        radius += reach if weight is None else _sizes(weight) @ reach
        size += np.abs(centre) if weight is None else _sizes(weight) @ np.abs(centre)
    radius += _SLACK * (size + radius)
    return middle - radius, middle + radius


def _sizes(weight: Matrix) -> Matrix:
    return np.abs(weight) if isinstance(weight, np.ndarray) else sparse.csr_array(abs(weight))


class _Forms:
    """Values of steps as affine functions of a stage's outputs, found when they are asked for."""

    def __init__(self, steps: list[Step], blocks: list[_Block]) -> None:
        self.steps = steps
        self._found = {
            block.step: _Form({at: None}, None if block.room is None else -block.room)
            for at, block in enumerate(blocks)
        }

    def __getitem__(self, number: int) -> _Form:
        if number not in self._found:
            step = self.steps[number]
            assert isinstance(step, Affine)
            first, *others = [
                _applied(weight, self[operand]) for operand, weight in zip(step.operands, step.maps, strict=True)
            ]
            total = _Form(first.parts, _sum(first.bias, step.bias))
            for other in others:
                total = _Form(_joined(total.parts, other.parts, step.size), _sum(total.bias, other.bias))
            self._found[number] = total
        return self._found[number]


def _applied(weight: Matrix | None, form: _Form) -> _Form:
    if weight is None:
        return form
    parts: dict[int, Matrix | None] = {
        at: weight if part is None else _product(weight, part) for at, part in form.parts.items()
    }
    return _Form(parts, None if form.bias is None else weight @ form.bias)


def _product(weight: Matrix, inner: Matrix) -> Matrix:
    product = weight @ inner
    return product if isinstance(product, np.ndarray) else sparse.csr_array(product)


def _joined(
    one: Mapping[int, Matrix | None], other: Mapping[int, Matrix | None], size: int
) -> dict[int, Matrix | None]:
    """The sum of two functions of blocks of outputs."""
    total = dict(one)
    for at, part in other.items():
        if at in total:
            left, right = (_identity(size) if each is None else each for each in (total[at], part))
            found = left + right
            total[at] = found if isinstance(found, np.ndarray) else sparse.csr_array(found)
        else:
            total[at] = part
    return total


def _sum(one: FloatArray | None, other: FloatArray | None) -> FloatArray | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _assembled(units: _Units, sizes: list[int]) -> tuple[Matrix, FloatArray]:
    """Weight and bias of units, on blocks of outputs of some sizes."""
    biases = [_sum(np.zeros(size) if form.bias is None else form.bias, room) for form, size, room in units.forms]
    bias = np.concatenate([one for one in biases if one is not None])
    rows = [[_part(form, at, size, columns) for at, columns in enumerate(sizes)] for form, size, _ in units.forms]
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0], bias
    thin = [[part for part in row if not isinstance(part, np.ndarray)] for row in rows]
    if all(len(one) == len(row) for one, row in zip(thin, rows, strict=True)):
        return sparse.csr_array(sparse.block_array(thin)), bias
    afford("a layer beside which others pass", (sum(sizes),), units.count * sum(sizes))
    return np.vstack([np.hstack([dense(part) for part in row]) for row in rows]), bias


def _part(form: _Form, at: int, size: int, columns: int) -> Matrix:
    if at not in form.parts:
        return sparse.csr_array((size, columns))
    part = form.parts[at]
    return _identity(size) if part is None else part


def _identity(size: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.eye_array(size))


def _side_by_side(windows: list[IntArray]) -> IntArray:
    """Windows of several widths below each other, filled up with -1."""
    width = max(one.shape[1] for one in windows)
    return np.vstack([np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=-1) for one in windows])


def _ancestors(steps: list[Step], output: int) -> set[int]:
    """The steps that a step depends on, and itself."""
    found, waiting = {output}, [output]
    while waiting:
        step = steps[waiting.pop()]
        before = set(step.operands if isinstance(step, Affine) else (step.operand,)) - found
        found |= before
        waiting += before
    return found


def _cut(followed: Mapping[int, tuple[int, ...]], later: set[int], weights: Mapping[int, int]) -> list[int]:
    """The cheapest values that all later ones follow from; of equally cheap ones the earliest.

    Args:
        followed: for each value what it follows from; nothing where it is there already.
        later: those that are needed.
        weights: what each costs.
    """
    numbers = sorted(followed)
    at = {number: 2 * place for place, number in enumerate(numbers)}
    source, sink = 2 * len(numbers), 2 * len(numbers) + 1
    edges = [(at[number], at[number] + 1, weights[number]) for number in numbers]
    edges += [(at[one] + 1, at[number], _ALL) for number in numbers for one in set(followed[number])]
    edges += [(source, at[number], _ALL) for number in numbers if not followed[number]]
    edges += [(at[number] + 1, sink, _ALL) for number in sorted(later)]
    start, end, capacity = (np.array(column, dtype=np.int32) for column in zip(*edges, strict=True))
    graph = sparse.csr_array((capacity, (start, end)), shape=(sink + 1, sink + 1))
    left = sparse.csr_array(graph - csgraph.maximum_flow(graph, source, sink).flow)
    left.eliminate_zeros()
    reached = set(csgraph.breadth_first_order(left, source, return_predecessors=False).tolist())
    return [number for number in numbers if at[number] in reached and at[number] + 1 not in reached]
