"""The record: what is known of one image under one attack or verifier. Its schema, and the rules it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

import pyarrow as pa

from bench.norms import Norm
from bench.specs import Kind


class Status(StrEnum):
    """How a record ended.

    For a verifier's row ``found`` and ``not_found`` say whether it has an adversarial example of its own; its
    lower bound holds either way.
    """

    label: str
    explanation: str

    def __new__(cls, value: str, label: str = "", explanation: str = "") -> Self:
        """A member with its attributes; ``Status("found")`` looks one up."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.explanation = explanation
        return member

    FOUND = ("found", "found", "the candidate is adversarial: the distances are its own")
    NOT_FOUND = ("not_found", "not found", "the candidate is not adversarial: the distances are infinite")
    MISCLASSIFIED = ("misclassified", "misclassified", "the clean image is already wrong: distance 0, not attacked")
    INVALID = ("invalid", "invalid", "the candidate is no image: NaN, another shape, or outside the box")
    ERROR = ("error", "error", "the attack raised, or its process died")
    TIMEOUT = ("timeout", "timeout", "the attack did not end within its time limit")
    UNSUPPORTED = ("unsupported", "unsupported", "no verifier for this network")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One (network, image, attack or verifier).

    Attributes:
        network: the network's name.
        attack: the row's name in the suite.
        library, norm, kind: of that row.
        block: number of the block it was computed in.
        image: index in the split.
        label: true class.
        predicted: the network's class for the clean image, decided in float64; -1 where its logits are not finite.
        status: how it ended.
        adversarial_class: the network's class for the candidate when ``found``, else -1.
        l0, l1, l2, linf: distances of the candidate, float64; 0 when ``misclassified``, +inf when not found.
        lower: certified lower bound of the distance in ``norm``; 0 where nothing is proved.
        seconds: wall time of the call that made it, divided by the images in the call.
        forwards, backwards: images passed forward and backward through the network, divided likewise.
        message: the reason of ``invalid``, ``error``, ``timeout`` and ``unsupported``; else empty.
    """

    network: str
    attack: str
    library: str
    norm: Norm
    kind: Kind
    block: int
    image: int
    label: int
    predicted: int
    status: Status
    adversarial_class: int = -1
    l0: float = math.inf
    l1: float = math.inf
    l2: float = math.inf
    linf: float = math.inf
    lower: float = 0.0
    seconds: float = 0.0
    forwards: float = 0.0
    backwards: float = 0.0
    message: str = ""

    @property
    def distance(self) -> float:
        """The distance in the row's own norm."""
        return float(getattr(self, self.norm.value))


_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("network", _TEXT),
        ("attack", _TEXT),
        ("library", _TEXT),
        ("norm", _TEXT),
        ("kind", _TEXT),
        ("block", pa.int32()),
        ("image", pa.int32()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("status", _TEXT),
        ("adversarial_class", pa.int32()),
        *((norm.value, pa.float64()) for norm in Norm),
        ("lower", pa.float64()),
        ("seconds", pa.float64()),
        ("forwards", pa.float64()),
        ("backwards", pa.float64()),
        ("message", pa.string()),
    ]
)
"""The columns of a part of ``records/``: the fields of :class:`Record`, in their order."""


def to_table(records: Sequence[Record]) -> pa.Table:
    """Records as an Arrow table of ``SCHEMA``."""
    columns = {item.name: [getattr(record, item.name) for record in records] for item in fields(Record)}
    plain = {name: [str(v) if isinstance(v, StrEnum) else v for v in values] for name, values in columns.items()}
    return pa.table(plain, schema=SCHEMA)


def from_table(table: pa.Table) -> list[Record]:
    """The records of a table of ``SCHEMA``."""
    return [
        Record(**row | {"norm": Norm(row["norm"]), "kind": Kind(row["kind"]), "status": Status(row["status"])})
        for row in table.to_pylist()
    ]


def problems(records: Iterable[Record]) -> list[str]:
    """What contradicts itself in records: an empty list when nothing does.

    The rules: a distance is never NaN or negative; it is finite exactly when ``found`` or ``misclassified``; it is
    0 in every norm when ``misclassified`` and, being a real change, above 0 in every norm when ``found``; L0 is a
    whole number; no certified lower bound exceeds the record's own distance; what failed says why.
    """
    found = []
    for record in records:
        where = f"{record.network}, {record.attack}, image {record.image}"
        values = {norm: float(getattr(record, norm.value)) for norm in Norm}
        finite = record.status in (Status.FOUND, Status.MISCLASSIFIED)
        explained = record.status in (Status.INVALID, Status.ERROR, Status.TIMEOUT, Status.UNSUPPORTED)
        if any(math.isnan(v) or v < 0 for v in values.values()):
            found.append(f"{where}: a distance is negative or not a number: {values}")
        elif any(math.isfinite(v) != finite for v in values.values()) or (
            finite and any((v == 0) != (record.status is Status.MISCLASSIFIED) for v in values.values())
        ):
            found.append(f"{where}: status {record.status} with distances {values}")
        elif finite and not values[Norm.L0].is_integer():
            found.append(f"{where}: L0 of {values[Norm.L0]} is not a number of pixels")
        if not 0 <= record.lower <= record.distance:
            found.append(f"{where}: certified lower bound {record.lower} and distance {record.distance}")
        if explained != bool(record.message):
            found.append(f"{where}: status {record.status} with message {record.message!r}")
    return found
