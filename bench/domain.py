"""The domain: the space of inputs that a network takes. Attacks stay in it, the judge enforces it, pictures read it."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import DataError
from bench.norms import Norm

Floats = NDArray[np.float64]

VALUES = 2**20
"""How many values the inputs of one call of a network may have together: 1,337 pictures of 28 x 28, 6 of 3 x 224 x 224.

What a call holds in memory grows with them, and more are no faster on a CPU.
"""

UNIT_BOX = (0.0, 1.0)
"""The box of every :class:`bench.problem.Problem`: attacks and verifiers see inputs scaled to it."""

ROUNDING = 1e-6
"""By how much, in widths of the box, a value may leave the box and count as rounding.

float32 values near 1 are 6e-8 apart; scaling an image makes a few such errors, not twenty.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The space of inputs: shape, box and classes.

    Attributes:
        shape: of one input, such as ``(3, 32, 32)`` or ``(30,)``.
        classes: number of classes, at least 2.
        low, high: the box. A number each, or one number per value of an input, flat in C order. They are rounded to
            float32, the type of inputs.
        channel_axis: the axis of an input that holds channels: values that differ in this index alone are one pixel.
            None: every value stands by itself.
        class_names: one per class; empty where they have none.
        feature_names: one per value of an input, flat in C order; empty where they have none.
        unit: what a step of 1 is, such as ``grey level``; empty where nothing is known.

    Raises:
        DataError: a part of it contradicts another; the message says which.
    """

    shape: tuple[int, ...]
    classes: int
    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    channel_axis: int | None = None
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        """Normalise and check the values."""
        object.__setattr__(self, "shape", tuple(_whole(length, "a length of the shape") for length in self.shape))
        object.__setattr__(self, "classes", _whole(self.classes, "the number of classes"))
        if self.channel_axis is not None:
            object.__setattr__(self, "channel_axis", _whole(self.channel_axis, "the channel axis"))
        for name in ("low", "high"):
            object.__setattr__(self, name, _end(getattr(self, name), self.size, name))
        for name in ("class_names", "feature_names"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise DataError(f"{name} is the text {given!r}; give a sequence of names")
            object.__setattr__(self, name, tuple(str(item) for item in given))
        if not self.shape or min(self.shape) < 1:
            raise DataError(f"inputs of shape {self.shape} are not possible; a shape has one or more lengths above 0")
        if self.classes < 2:
            raise DataError(f"{self.classes} classes are not possible; a classifier has at least 2")
        low, high = self.ends
        if (low > high).any() or not (low < high).any():
            raise DataError(
                f"box {_interval(self.low)} to {_interval(self.high)} is empty; give a low end below the high end"
            )
        if self.channel_axis is not None and not 0 <= self.channel_axis < len(self.shape):
            raise DataError(
                f"channel axis {self.channel_axis} is not possible; inputs have axes 0 to {len(self.shape) - 1}"
            )
        for name, number, what in (
            ("class_names", self.classes, "classes"),
            ("feature_names", self.size, "values of an input"),
        ):
            given = getattr(self, name)
            if given and len(given) != number:
                raise DataError(f"{len(given)} names for {number} {what}; give one for each, or none")

    @property
    def size(self) -> int:
        """How many values an input has."""
        return math.prod(self.shape)

    @property
    def per_feature(self) -> bool:
        """Whether values have boxes of their own: distances are then in widths of the box."""
        return isinstance(self.low, tuple) or isinstance(self.high, tuple)

    @property
    def is_unit(self) -> bool:
        """Whether the box is [0, 1] for every value."""
        return (self.low, self.high) == UNIT_BOX

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """The low and the high end of the box, each of ``shape`` where values have boxes of their own, else ()."""
        low, high = (np.asarray(end, dtype=np.float64) for end in (self.low, self.high))
        if not self.per_feature:
            return low, high
        return tuple(np.broadcast_to(end.reshape(self.shape if end.ndim else ()), self.shape) for end in (low, high))  # type: ignore[return-value]  # two of them

    @property
    def width(self) -> Floats:
        """The width of the box, of the shape of :attr:`ends`; 1 for a value that the box leaves no choice."""
        low, high = self.ends
        return np.where(high > low, high - low, 1.0)

    @property
    def pixels(self) -> int:
        """How many pixels an input has: values, divided by channels where there is a channel axis."""
        return self.size if self.channel_axis is None else self.size // self.shape[self.channel_axis]

    def at_once(self, most: int, values: int = VALUES) -> int:
        """How many inputs go through a network in one call: ``most``, or as many as have ``values`` values; at least 1."""
        return max(1, min(most, values // self.size))

    def scale(self, norm: Norm) -> float:
        """What a distance of 1 in the unit box is in the distances of records.

        L0 has no unit. Where values have boxes of their own, records are in widths of the box already.
        """
        return 1.0 if norm.counts or self.per_feature else float(self.width)

    def measured(self, differences: ArrayLike) -> Floats:
        """Differences (n, *shape) in the units of distances: the data's own; widths where features have boxes of their own."""
        values = np.asarray(differences, dtype=np.float64)
        return values / self.width if self.per_feature else values

    def to_unit(self, inputs: ArrayLike) -> Floats:
        """Inputs (n, *shape) of the box as float64 points of the unit box."""
        values = np.asarray(inputs, dtype=np.float64)
        if self.is_unit:
            return values
        unit: Floats = np.clip((values - self.ends[0]) / self.width, *UNIT_BOX)
        return unit

    def from_unit(self, points: ArrayLike, inputs: ArrayLike, images: ArrayLike) -> Floats:
        """Points near the unit box as float64 inputs; where a point was not moved, its input is exactly the clean one.

        Args:
            points: (n, *shape) what an attack returned.
            inputs: (n, *shape) the clean inputs in the box.
            images: (n, *shape) the same in the unit box, as the attack was given them.

        Returns:
            (n, *shape) float64. A point outside the unit box becomes an input outside the box.
        """
        moved = np.asarray(points, dtype=np.float64)
        if self.is_unit:
            return moved
        low, high = self.ends
        found = low + (high - low) * moved
        return np.where(moved == np.asarray(images, dtype=np.float64), np.asarray(inputs, dtype=np.float64), found)

    def excess(self, inputs: ArrayLike) -> Floats:
        """By how many widths of the box each value of (n, *shape) inputs lies outside it; 0 inside."""
        values = np.asarray(inputs, dtype=np.float64)
        low, high = self.ends
        beyond: Floats = np.maximum(np.maximum(low - values, values - high), 0.0) / self.width
        return beyond

    def clip(self, inputs: ArrayLike) -> Floats:
        """Inputs (n, *shape), each value set to the nearest one in the box; NaN stays NaN."""
        return np.clip(np.asarray(inputs, dtype=np.float64), *self.ends)

    def changed_pixels(self, differences: ArrayLike) -> Floats:
        """How many pixels of (n, *shape) differences are not 0: (n,) float64; a pixel counts once for all its channels."""
        changed = np.asarray(differences) != 0
        if self.channel_axis is not None:
            changed = changed.any(axis=self.channel_axis + 1)
        count: Floats = changed.reshape(len(changed), -1).sum(axis=1).astype(np.float64)
        return count

    def checked(self, inputs: ArrayLike) -> NDArray[np.float32]:
        """Inputs (n, *shape) as float32 in the box; values that are outside it by rounding alone are set to its end.

        Raises:
            DataError: another shape, values that are no finite numbers, or values outside the box.
        """
        values = np.asarray(inputs)
        if values.dtype.kind not in "buif":
            raise DataError(f"images are of dtype {values.dtype}; give real numbers, all images of one shape")
        if values.shape[1:] != self.shape:
            raise DataError(f"images have shape {values.shape[1:]}; the domain says {self.shape}")
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        if not np.isfinite(single).all():
            raise DataError("some values of the images are NaN or infinite; leave those images out, or mend them")
        # Of each value the smallest and the largest: excesses of all images would take several times their memory.
        if len(single) and self.excess([single.min(axis=0), single.max(axis=0)]).max() > ROUNDING:
            raise DataError(
                f"images have values from {single.min():g} to {single.max():g}, outside the box "
                f"{_interval(self.low)} to {_interval(self.high)}; give the box that the images have"
            )
        return np.clip(single, *(end.astype(np.float32) for end in self.ends))

    def class_name(self, number: int) -> str:
        """What a class is called: its name, or its number."""
        return self.class_names[number] if 0 <= number < len(self.class_names) else str(number)

    def to_json(self) -> dict[str, Any]:
        """The domain as JSON data; :meth:`from_json` reads it."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The domain that :meth:`to_json` wrote.

        Raises:
            DataError: it is none.
        """
        try:
            known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
            return cls(**known)
        except TypeError as error:
            raise DataError(f"this is no domain: {error}") from error


def _whole(value: object, what: str) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]  # anything may be given
    except TypeError as error:
        raise DataError(f"{what} is {value!r}; give a whole number") from error


def _end(value: float | Sequence[float] | ArrayLike, size: int, name: str) -> float | tuple[float, ...]:
    """An end of the box as a number, where it is the same for every value, or as one number per value."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.asarray(value, dtype=np.float32).ravel()
    except (TypeError, ValueError) as error:
        raise DataError(f"the {name} end of the box is {value!r}; give a number, or one per value") from error
    if numbers.size not in (1, size) or not np.isfinite(numbers).all():
        raise DataError(
            f"the {name} end of the box has {numbers.size} numbers for {size} values of an input; give one finite "
            "number, or one for each"
        )
    if (numbers == numbers[0]).all():
        return float(numbers[0])
    return tuple(float(number) for number in numbers)


def _interval(end: float | tuple[float, ...]) -> str:
    return f"{end:g}" if isinstance(end, float) else f"{min(end):g}..{max(end):g}"
