"""What is run, as pure data: attacks, verifiers, holes, suites. Frozen, hashable, and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, get_type_hints

import msgspec

from bench import libraries
from bench.norms import Norm

GAP = 1e-4
"""The relative gap between certified lower bound and best adversarial example at which a distance counts as exact."""

Value = bool | int | float | str | None
"""A hyperparameter: what JSON can hold."""

Count = Annotated[int, msgspec.Meta(ge=1)]
"""A whole number from 1."""

Seconds = Annotated[float, msgspec.Meta(ge=0)]
"""A duration, 0 for none."""


class Family(StrEnum):
    """The kinds of attacks that the grid compares; each grid cell is a family in a norm in a library."""

    DEEPFOOL = "DeepFool"
    CW = "C&W"
    BOUNDARY = "boundary"
    BOUNDARY_FOLLOWING = "boundary-following"
    REFERENCE = "reference"


class Access(StrEnum):
    """What an attack may see of the network."""

    GRADIENT = "gradient"
    DECISION = "decision"


class Origin(StrEnum):
    """Whose code an attack row is.

    ``native``: the library's own. ``port``: a paper's algorithm, written here. ``stand-in``: another method of the same
    family. ``repaired``: the library's own with a defect mended, always beside the native row.
    """

    NATIVE = "native"
    PORT = "port"
    STAND_IN = "stand-in"
    REPAIRED = "repaired"


class Start(StrEnum):
    """Where an attack begins.

    ``image``: at the clean image. ``nearest``: at an adversarial image, the nearest of another class that is at hand.
    ``noise``: at an adversarial image made of salt-and-pepper noise.
    """

    IMAGE = "image"
    NEAREST = "nearest"
    NOISE = "noise"


class Coupling(StrEnum):
    """What the images of one call have to do with each other.

    ``none``: nothing, a call of any size gives each image the same candidate up to rounding. ``noise``: they draw from one
    stream of random numbers, or the rounding of another size of batch grows beyond rounding, so that the images of a block
    are always one call. ``batch``: the attack averages over
    them, so that each image is a call of its own. ``lockstep``: as ``batch``, for attacks that need decisions only: the
    calls run side by side and their queries share forward passes, which changes no candidate.
    """

    NONE = "none"
    NOISE = "noise"
    BATCH = "batch"
    LOCKSTEP = "lockstep"

    @property
    def alone(self) -> bool:
        """Whether each image is a call of its own."""
        return self in (Coupling.BATCH, Coupling.LOCKSTEP)


class Kind(StrEnum):
    """What a record's distances bound: an attack gives upper bounds, a verifier lower bounds or exact distances."""

    UPPER = "upper"
    LOWER = "lower"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An attack as its paper has it, whatever library runs it.

    Attributes:
        slug: short lower-case name, part of the row's name.
        title: the name people use.
        family: its place in the grid.
        access: what it may see.
        paper: where it is from, as ``arXiv:1511.04599`` or a citation.
        idea: how it works, in two sentences.
        formula: its step or objective, in plain text.
    """

    slug: str
    title: str
    family: Family
    access: Access
    paper: str
    idea: str
    formula: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How a row departs from the plain run of its method.

    Attributes:
        slug: short lower-case name, part of the row's name.
        title: what people add to the method's name.
        idea: what is different, in one or two sentences.
    """

    slug: str
    title: str
    idea: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSpec:
    """One row of a suite: a method, in one norm, run by one library with pinned hyperparameters.

    Attributes:
        method: what is run.
        library: which library runs it; see :mod:`bench.libraries`.
        norm: the distance it minimises.
        target: the class to call, ``module:Class``; a string, so that suites import no library.
        params: the class's arguments.
        origin: whose code it is.
        variant: how it departs from the method; None where it does not.
        block: images to a block, the unit of work, of randomness and of resuming; part of a record's identity.
        batch: the most images that one call of the attack takes; None for a whole block. It changes no record.
        start: where the attack begins.
        coupling: what the images of one call have to do with each other.
        steps: which of ``params`` counts the steps; empty where none does.
        reasons: for a parameter, the paper's (or the library's) value and why this one.
        defects: what is known to be wrong with this implementation, in plain words; empty for nothing.
        cap: attack only the first so many images of a plan, because the row is expensive; None for all.
    """

    kind: ClassVar[Kind] = Kind.UPPER

    method: Method
    library: str
    norm: Norm
    target: str
    params: Mapping[str, Value] = field(default_factory=dict, hash=False)
    origin: Origin = Origin.NATIVE
    variant: Variant | None = None
    block: Count = 10
    batch: Count | None = None
    start: Start = Start.IMAGE
    coupling: Coupling = Coupling.NONE
    steps: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict, hash=False)
    defects: str = ""
    cap: Count | None = None

    @property
    def name(self) -> str:
        """The row's name, unique in a suite: ``foolbox-ddn-l2``, ``foolbox-fmn-every-class-linf``."""
        parts = (self.library, self.method.slug, self.variant.slug if self.variant else "", self.norm.value)
        return "-".join(filter(None, parts))

    @property
    def title(self) -> str:
        """The method and its variant: ``FMN, every class``."""
        return self.method.title + (f", {self.variant.title}" if self.variant else "")

    @property
    def label(self) -> str:
        """How tables and plots print the row: ``DDN L2 (Foolbox)``."""
        return f"{self.title} {self.norm.label} ({libraries.label(self.library)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSpec:
    """One row of a suite that bounds distances from below.

    Attributes:
        slug: short lower-case name, part of the row's name.
        title: the name people use.
        norm: the distance it bounds.
        kind: ``lower`` for certified lower bounds, ``exact`` for a search that closes the gap.
        seconds: time limit per image; what is proved by then is the record.
        gap: the relative gap at which an exact search stops.
        paper, idea, formula: as in :class:`Method`.
        block: images to a block.
        cap: bound only the first so many images of a plan; None for all.
    """

    slug: str
    title: str
    norm: Norm
    kind: Kind
    seconds: Seconds
    gap: float = GAP
    paper: str = ""
    idea: str = ""
    formula: str = ""
    block: Count = 1
    cap: Count | None = None
    library: str = "certify"

    @property
    def name(self) -> str:
        """The row's name, unique in a suite: ``certify-exact-l2``."""
        return f"{self.library}-{self.slug}-{self.norm.value}"

    @property
    def label(self) -> str:
        """How tables and plots print the row: ``exact L2 (certified)``."""
        return f"{self.title} {self.norm.label} ({libraries.label(self.library)})"


Row = AttackSpec | VerifierSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A cell of the grid that nothing fills, and why."""

    family: Family
    norm: Norm
    library: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A standardized set of rows.

    Attributes:
        name: the file's name in ``suites/`` and the ``--suite`` name.
        description: what it is for, in a sentence.
        rows: attacks and verifiers, each name once.
        on_request: rows of other norms, which are run only where a user asks for their norm.
        holes: cells of the grid that are empty, with the reason.
        samples: how many images, unless the user says otherwise.
        data: which dataset, unless the user says otherwise.
        networks: which networks, unless the user says otherwise; empty where the user has to say.
    """

    name: str
    description: str
    rows: tuple[Row, ...]
    holes: tuple[Hole, ...] = ()
    on_request: tuple[Row, ...] = ()
    samples: Count
    data: str = "mnist"
    networks: tuple[str, ...] = ("MLP", "MLP_d", "CNN", "CNN_d")


def checked(suite: Suite) -> Suite:
    """A suite with every field as its annotation says; enums may be given by their values, tuples as lists.

    Raises:
        ValueError: a field is of another type, or out of its range; the message names the row and the field.
    """
    rows, on_request = _rows(suite.rows, "rows"), _rows(suite.on_request, "on_request")
    found: Suite = _converted(suite, "", besides=("rows", "on_request"))
    return replace(found, rows=rows, on_request=on_request)


def _rows(rows: Any, name: str) -> tuple[Row, ...]:
    if not isinstance(rows, list | tuple):
        raise ValueError(f"{name} is a {type(rows).__name__}; it must be a tuple of rows")  # noqa: TRY004 - a value of a suite
    found = []
    for i, row in enumerate(rows):
        if not isinstance(row, AttackSpec | VerifierSpec):
            raise ValueError(f"{name}[{i}] is a {type(row).__name__}; it must be an AttackSpec or a VerifierSpec")  # noqa: TRY004 - as above
        found.append(_converted(row, f"{name}[{i}]."))
        if isinstance(row, AttackSpec) and row.steps and row.steps not in row.params:
            raise ValueError(f"{name}[{i}].steps is {row.steps!r}, which is none of its params")
    return tuple(found)


def _converted(spec: Any, place: str, besides: tuple[str, ...] = ()) -> Any:
    """A spec with every field, but some, through plain data and back."""
    found = {}
    hints = get_type_hints(type(spec), include_extras=True)
    for name in [item.name for item in fields(spec) if item.name not in besides]:
        value, hint = getattr(spec, name), hints[name]
        try:
            found[name] = msgspec.convert(msgspec.to_builtins(value), hint)
        except (msgspec.ValidationError, TypeError) as error:
            raise ValueError(f"{place}{name} is {value!r}: {_in_words(str(error), hint)}") from error
    return replace(spec, **found)


def _in_words(message: str, hint: Any) -> str:
    what = message.partition(" - at `")[0].replace("`", "").replace("null", "None").replace("array", "tuple")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"it must be one of {', '.join(hint)}"
    return f"{what}; it must be a {getattr(hint, '__name__', hint)}" if "object" in what else what


def to_json(value: Any) -> Any:
    """A spec as plain JSON data: every field, defaults included, and the derived ``name``, ``label``, ``kind`` and ``library``.

    Args:
        value: a spec, or a tuple, mapping, enum or scalar inside one.

    Returns:
        dicts, lists, strings, numbers, booleans and None only.

    Raises:
        TypeError: something in it is not pure data.
    """
    if is_dataclass(value) and not isinstance(value, type):
        content = {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
        if isinstance(value, AttackSpec | VerifierSpec):
            content |= {"name": value.name, "label": value.label, "kind": value.kind.value, "library": value.library}
        return content
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is not pure data")
