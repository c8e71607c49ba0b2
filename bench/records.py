"""The record: what is known of one image under one attack or verifier. Its schema, and the rules it keeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from bench.norms import Norm
from bench.specs import Kind

if TYPE_CHECKING:
    import pyarrow as pa


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
        distances: of the candidate in every norm; 0 when ``misclassified``, +inf when not found.
        pixels: how many pixels the candidate changes: its L0, but for inputs of several channels; 0 and +inf likewise.
        lower: certified lower bound of the distance in ``norm``; 0 where nothing is proved.
        best_seen: distance in ``norm`` of the nearest adversarial point, judged, that passed through the network during
            the attack, the candidate included; +inf where there was none; None where nothing was watched: of images that
            are not attacked, of decision-based attacks, of verifiers, and of a process that was ended.
        curve: distance in ``norm`` of the nearest adversarial point, by the network's own decision in float32, that a
            decision-based attack had asked about after each of :func:`query_counts` queries per image; +inf where there
            was none yet. As many values as counts were reached; None where nothing was noted: of images that are not
            attacked, of attacks that see gradients, of verifiers, and of a process that was ended.
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
    distances: Mapping[Norm, float] = field(default_factory=lambda: dict.fromkeys(Norm, math.inf))
    pixels: float = math.inf
    lower: float = 0.0
    best_seen: float | None = None
    curve: tuple[float, ...] | None = None
    seconds: float = 0.0
    forwards: float = 0.0
    backwards: float = 0.0
    message: str = ""

    @property
    def distance(self) -> float:
        """The distance in the row's own norm."""
        return float(self.distances[self.norm])


@cache
def schema() -> pa.Schema:
    """The columns of a part of ``records/``: the fields of :class:`Record` in their order, a column for each norm."""
    import pyarrow as pa  # noqa: PLC0415 - a command line that stores nothing starts sooner without it

    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("network", text),
            ("attack", text),
            ("library", text),
            ("norm", text),
            ("kind", text),
            ("block", pa.int32()),
            ("image", pa.int32()),
            ("label", pa.int32()),
            ("predicted", pa.int32()),
            ("status", text),
            ("adversarial_class", pa.int32()),
            *((norm.value, pa.float64()) for norm in Norm),
            ("pixels", pa.float64()),
            ("lower", pa.float64()),
            ("best_seen", pa.float64()),
            ("curve", pa.list_(pa.float64())),
            ("seconds", pa.float64()),
            ("forwards", pa.float64()),
            ("backwards", pa.float64()),
            ("message", pa.string()),
        ]
    )


def columns() -> list[str]:
    """The names of the columns of :func:`schema`."""
    return list(schema().names)


def to_table(records: Sequence[Record]) -> pa.Table:
    """Records as an Arrow table of :func:`schema`."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    content: dict[str, list[Any]] = {}
    for item in fields(Record):
        values = [getattr(record, item.name) for record in records]
        if item.name == "distances":
            content |= {norm.value: [distances[norm] for distances in values] for norm in Norm}
        else:
            content[item.name] = [str(value) if isinstance(value, StrEnum) else value for value in values]
    return pa.table(content, schema=schema())


def query_count(place: int) -> int:
    """How many queries per image the value of a curve at a place, from 0, stands for: 1, 2, 3, 6, 10, 18, 32, 56, 100, ..."""
    return round(10 ** (place / 4))


def query_counts(most: float) -> tuple[int, ...]:
    """The query counts of a curve up to so many queries per image, in ascending order; none for less than one query."""
    return tuple(itertools.takewhile(lambda count: count <= most, map(query_count, itertools.count())))


def curve_problem(curve: Sequence[float], queries: float, lower: float = 0.0) -> str:
    """What contradicts itself in a curve; empty when nothing does.

    The rules: it has a value for each of :func:`query_counts` that was reached; its values are above 0, no NaN, and
    not below a certified lower bound; with more queries it never rises.

    Args:
        curve: distances, as in :class:`Record`.
        queries: per image.
        lower: the record's certified lower bound.
    """
    counts = query_counts(queries)
    if len(curve) != len(counts):
        return f"a curve of {len(curve)} values for {queries:g} queries per image, which reach {len(counts)} counts"
    # NaN compares with nothing.
    if not all(value > 0 and value >= lower for value in curve):
        return (
            f"a curve with distances that are no numbers above 0 and the certified lower bound {lower:g}: {list(curve)}"
        )
    if any(after > before for before, after in itertools.pairwise(curve)):
        return f"a curve that rises: {list(curve)}"
    return ""


def block_key(network: str, attack: str, number: int) -> str:
    """The name of a block's parts in the store, without digest and ending."""
    return f"{network}.{attack}.{number:05d}"


def problems(records: Iterable[Record]) -> list[str]:
    """What contradicts itself in records: an empty list when nothing does.

    The rules: a distance is never NaN or negative; it is finite exactly when ``found`` or ``misclassified``; it is
    0 in every norm when ``misclassified`` and, being a real change, above 0 in every norm when ``found``; what counts
    is a whole number, and there are no more changed pixels than changed values; no certified lower bound exceeds the
    record's own distance or the nearest point seen, which is no farther than the candidate; a curve keeps the rules of
    :func:`curve_problem`, and only attacks on images that are classified correctly have one; what failed says why.
    """
    found = []
    for record in records:
        where = f"{record.network}, {record.attack}, image {record.image}"
        values = {norm.label: float(record.distances[norm]) for norm in Norm} | {"pixels": float(record.pixels)}
        counts = {norm.label: values[norm.label] for norm in Norm if norm.counts} | {"pixels": values["pixels"]}
        finite = record.status in (Status.FOUND, Status.MISCLASSIFIED)
        explained = record.status in (Status.INVALID, Status.ERROR, Status.TIMEOUT, Status.UNSUPPORTED)
        if any(math.isnan(v) or v < 0 for v in values.values()):
            found.append(f"{where}: a distance is negative or not a number: {values}")
        elif any(math.isfinite(v) != finite for v in values.values()) or (
            finite and any((v == 0) != (record.status is Status.MISCLASSIFIED) for v in values.values())
        ):
            found.append(f"{where}: status {record.status} with distances {values}")
        elif finite and not all(value.is_integer() for value in counts.values()):
            found.append(f"{where}: {counts} are no whole numbers")
        elif values["pixels"] > values[Norm.L0.label]:
            found.append(f"{where}: {values['pixels']:g} changed pixels of {values[Norm.L0.label]:g} changed values")
        if not 0 <= record.lower <= record.distance:
            found.append(f"{where}: certified lower bound {record.lower} and distance {record.distance}")
        if record.best_seen is not None and not record.lower <= record.best_seen <= record.distance:
            found.append(
                f"{where}: nearest point seen at {record.best_seen}, candidate at {record.distance}, certified lower bound "
                f"{record.lower}"
            )
        if record.curve is not None:
            if record.kind is not Kind.UPPER or record.status is Status.MISCLASSIFIED:
                found.append(f"{where}: a curve of what was not attacked")
            elif wrong := curve_problem(record.curve, record.forwards, record.lower):
                found.append(f"{where}: {wrong}")
        if explained != bool(record.message):
            found.append(f"{where}: status {record.status} with message {record.message!r}")
    return found
