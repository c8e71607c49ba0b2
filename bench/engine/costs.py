"""What a row costs on a network: the queries it makes, times what they take there, and what its library takes besides.

Reading costs imports no torch. ``python -m bench.guide.costs`` keeps those of stored runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.norms import Norm
from bench.specs import Row, VerifierSpec

FILE = Path(__file__).parents[2] / "suites" / "costs.json"

USUAL = "minimal_norm"
"""The suite whose costs those of rows are that a suite has no own ones for."""

UNKNOWN = 1.0
"""Seconds an image assumed for a row whose cost is not known."""

Estimates = Mapping[str, Mapping[str, float]]
"""Seconds an image should take, on one core or on the device, by network and row; rows of unknown cost are left out."""


@dataclass(frozen=True, slots=True)
class Line:
    """A quantity that grows with another one: ``constant + slope * x``."""

    constant: float
    slope: float = 0.0

    def at(self, x: float) -> float:
        """The quantity at a value of the other one."""
        return self.constant + self.slope * x


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a network is on this machine.

    Attributes:
        forward: seconds of a pass, by the number of images in it.
        backward: the same of the gradient of an image.
        overhead: seconds of :func:`bench.engine.pace.overhead`, a fixed piece of work: the machine's own speed.
        values: how many values an input has.
        attacked: the fraction of images that the network classifies right; others are not attacked.
        bounds: what certified bounds of an image cost by norm, as :func:`bench.certify.cost.forecast` reckons; empty where
            the network has none.
        dense: whether these are those of a network without pooling.
    """

    forward: Line
    backward: Line
    overhead: float
    values: int
    attacked: float = 1.0
    bounds: Mapping[Norm, float] = field(default_factory=dict)
    dense: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCost:
    """What an attack asks of any network, for an image.

    Attributes:
        forwards, backwards: images passed through the network, by the number of values of an input.
        batch: how many images go through it together.
        factor: how many times the fastest passes they take, among all that the attack does besides.
        own: what the library takes besides, in units of ``Pace.overhead``, by the number of values.
        steps: with how many steps that was so; 0 where it has none. All of it grows with them.
    """

    forwards: Line
    backwards: Line
    batch: float
    own: Line
    factor: float = 1.0
    steps: float = 0.0

    def passes(self, pace: Pace) -> float:
        """Seconds in the network."""
        forward, backward = (line.at(self.batch) / self.batch for line in (pace.forward, pace.backward))
        return self.factor * (self.forwards.at(pace.values) * forward + self.backwards.at(pace.values) * backward)

    def seconds(self, pace: Pace) -> float:
        """Seconds of an image that is attacked."""
        return self.passes(pace) + pace.overhead * self.own.at(pace.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCost:
    """What a verifier takes for an image: ``a * x**p`` units of ``Pace.overhead``, x being what its network's sizes say.

    Attributes:
        dense: a and p on networks without pooling; None where it was never measured.
        pooled: the same on others.
    """

    dense: tuple[float, float] | None
    pooled: tuple[float, float] | None

    def seconds(self, pace: Pace, norm: Norm) -> float | None:
        """Seconds of an image; None where that was never measured."""
        power = self.dense if pace.dense else self.pooled
        return None if power is None else power[0] * pace.bounds[norm] ** power[1] * pace.overhead


Cost = AttackCost | BoundCost


def load(suite: str, file: Path = FILE) -> dict[str, Cost]:
    """The costs of rows by name: of those of the suite, else of those of the usual one, else of any; empty for nothing."""
    content: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else {}
    known: dict[str, Any] = {}
    for name in (*content, USUAL, suite):
        known |= content.get(name, {})
    return {name: from_json(entry) for name, entry in known.items()}


def to_json(cost: Cost) -> dict[str, Any]:
    """A cost as JSON data, with three digits."""
    if isinstance(cost, BoundCost):
        return {
            name: None if value is None else [_short(part) for part in value] for name, value in _fields(cost).items()
        }
    content: dict[str, Any] = {}
    for name, value in _fields(cost).items():
        content[name] = [_short(value.constant), _short(value.slope)] if isinstance(value, Line) else _short(value)
    return content


def from_json(content: Mapping[str, Any]) -> Cost:
    """The cost that :func:`to_json` wrote."""
    if "batch" not in content:
        dense, pooled = (None if value is None else tuple(value) for value in (content["dense"], content["pooled"]))
        return BoundCost(dense=dense, pooled=pooled)
    forwards, backwards, own = (Line(*content[name]) for name in ("forwards", "backwards", "own"))
    numbers = {name: content[name] for name in ("batch", "factor", "steps")}
    return AttackCost(forwards=forwards, backwards=backwards, own=own, **numbers)


def pace_to_json(pace: Pace) -> dict[str, Any]:
    """A pace as JSON data; :func:`pace_from_json` reads it."""
    lines = {
        name: [line.constant, line.slope] for name, line in (("forward", pace.forward), ("backward", pace.backward))
    }
    return _fields(pace) | lines | {"bounds": {norm.value: seconds for norm, seconds in pace.bounds.items()}}


def pace_from_json(content: Mapping[str, Any]) -> Pace:
    """The pace that :func:`pace_to_json` wrote."""
    lines = {name: Line(*content[name]) for name in ("forward", "backward")}
    return Pace(**{**content, **lines, "bounds": {Norm(norm): value for norm, value in content["bounds"].items()}})


def estimates(rows: Sequence[Row], known: Mapping[str, Cost], paces: Mapping[str, Pace]) -> dict[str, dict[str, float]]:
    """What every row should take on every network, misclassified images included.

    Args:
        rows: of a plan.
        known: costs by row, of :func:`load`.
        paces: of the plan's networks, by name.
    """
    found = {name: {row.name: _seconds(row, known.get(row.name), pace) for row in rows} for name, pace in paces.items()}
    return {
        name: {row: seconds for row, seconds in entries.items() if seconds is not None}
        for name, entries in found.items()
    }


def expected(row: Row, network: str, estimated: Estimates) -> float:
    """Seconds per image that a row should take on one core; :data:`UNKNOWN`, or a verifier's limit, where it is not known."""
    known = estimated.get(network, {}).get(row.name)
    if known is None:
        return row.seconds if isinstance(row, VerifierSpec) else UNKNOWN
    return known


def _seconds(row: Row, cost: Cost | None, pace: Pace) -> float | None:
    if isinstance(row, VerifierSpec):
        if not pace.bounds:
            return 0.0
        found = cost.seconds(pace, row.norm) if isinstance(cost, BoundCost) else None
        return pace.attacked * (row.seconds if found is None else min(found, row.seconds))
    if not isinstance(cost, AttackCost):
        return None
    asked = steps(row.params, row.steps)
    longer = asked / cost.steps if asked and cost.steps else 1.0
    return longer * cost.seconds(pace) * pace.attacked


def steps(params: Mapping[str, Any], name: str) -> float:
    """How many steps an attack takes at most.

    Args:
        params: of its row.
        name: of the parameter that counts them; empty where none does, and the answer is 0.
    """
    return float(params[name]) if name else 0.0


def _fields(cost: Cost | Pace) -> dict[str, Any]:
    return {name: getattr(cost, name) for name in cost.__slots__}


def _short(value: float) -> float:
    return float(f"{value:.3g}")
