"""From lines to distances: a column for each attack, or a line for each attack and image."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.norms import Norm
from bench.score.cells import NoDistanceError, distance
from bench.score.reader import Sheet, check_name, read

KEYS = ("image", "attack", "distance", "network", "norm")
"""The names of columns that mean something; ``attack`` and ``distance`` together make a tidy table."""

NETWORK = "network"
"""What the only network is called where no column names it."""

USUAL = Norm.L2
"""The norm of distances of which nothing says another one."""

_SUFFIX = re.compile(rf"(?:.*[-_ .(])?({'|'.join(norm.value for norm in Norm)})\)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One distance, and where it stands.

    Attributes:
        line, column: in the file.
        network, attack, image: names as they were given; the attack is empty in a table of best known distances.
        norm: of the distance; the usual one where nothing says it.
        distance: 0 or more; +inf where nothing was found.
    """

    line: int
    column: str
    network: str
    attack: str
    image: str
    norm: Norm
    distance: float


@dataclass(frozen=True, slots=True)
class Given:
    """A table of distances.

    Attributes:
        sheet: the file.
        entries: in the order of the file; no network, attack, norm and image twice.
        notes: what was assumed or left out, a sentence each.
    """

    sheet: Sheet
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


def distances(path: Path, norm: Norm | None = None) -> Given:
    """The distances of attacks in a file; every entry has a norm.

    A table with columns ``attack`` and ``distance`` has a line for each attack and image. In any other every column beside
    ``image``, ``network`` and ``norm`` is an attack. The norm is that of the column ``norm``, else the given one, else that
    in which the name of every attack ends, such as ``ddn_l2``, else L2.

    Args:
        path: of a CSV file.
        norm: of the distances.

    Raises:
        StoreError: the file cannot be read.
        DataError: something in it is no such table.
        UsageError: the norm is given twice.
    """
    sheet = read(path, KEYS)
    if sheet.place("norm") is not None and norm is not None:
        raise UsageError(
            f"--norm {norm.value} is given, and {sheet.name} has a column 'norm'; leave one of the two out"
        )
    tidy = {"attack", "distance"} <= set(sheet.columns)
    entries = list(_tidy(sheet, "distance", attacks=True) if tidy else _wide(sheet))
    _check(sheet, entries, tidy=tidy)
    notes = [_left_out(sheet, ("image", "attack", "distance", "network", "norm"))] if tidy else []
    assumed = ""
    if sheet.place("norm") is None:
        entries, assumed = _with_norms(entries, norm)
    return Given(sheet, tuple(entries), tuple(filter(None, [*notes, assumed])))


def best(path: Path) -> Given:
    """Best known distances in a file: columns ``image`` and ``distance`` (or ``best``), and ``network`` and ``norm`` if any.

    Raises:
        StoreError: the file cannot be read.
        DataError: something in it is no such table.
    """
    sheet = read(path, ("image", "distance", "best", "network", "norm"))
    value = next((name for name in ("best", "distance") if name in sheet.columns), None)
    if value is None:
        raise sheet.fault(
            "there is no column 'distance' (or 'best'); give the best known distance of each image in it", 1
        )
    entries = list(_tidy(sheet, value, attacks=False))
    _check(sheet, entries, tidy=True)
    return Given(sheet, tuple(entries), tuple(filter(None, [_left_out(sheet, ("image", value, "network", "norm"))])))


def _wide(sheet: Sheet) -> Iterator[Entry]:
    places = {place: name for place, name in enumerate(sheet.columns) if name not in ("image", "network", "norm")}
    wrong = next((name for name in places.values() if name in KEYS), None)
    if wrong is not None:
        other = "distance" if wrong == "attack" else "attack"
        raise sheet.fault(
            f"there is a column {wrong!r} and no column {other!r}; give both, or a column for each attack under its name",
            1,
        )
    if not places:
        raise sheet.fault("there is no column of an attack; give one for each, under its name", 1)
    for line, cells in sheet.lines:
        network, norm, image = _who(sheet, line, cells)
        for place, name in places.items():
            value = _value(sheet, line, name, cells[place])
            if value is not None:
                yield Entry(line, name, network, name, image, norm, value)


def _tidy(sheet: Sheet, column: str, *, attacks: bool) -> Iterator[Entry]:
    attack, value = sheet.place("attack") if attacks else None, sheet.columns.index(column)
    for line, cells in sheet.lines:
        network, norm, image = _who(sheet, line, cells)
        name = "" if attack is None else _name(sheet, line, "attack", cells[attack])
        found = _value(sheet, line, column, cells[value])
        if found is not None:
            yield Entry(line, column, network, name, image, norm, found)


def _who(sheet: Sheet, line: int, cells: Sequence[str]) -> tuple[str, Norm, str]:
    image, network, norm = (sheet.place(name) for name in ("image", "network", "norm"))
    assert image is not None
    return (
        NETWORK if network is None else _name(sheet, line, "network", cells[network]),
        USUAL if norm is None else _norm(sheet, line, cells[norm]),
        _name(sheet, line, "image", cells[image]),
    )


def _name(sheet: Sheet, line: int, column: str, text: str) -> str:
    if not text:
        raise sheet.fault(f"the cell is empty; give the {column} of this line", line, column)
    check_name(text, f"{sheet.name}, line {line}, column {column!r}")
    return text


def _norm(sheet: Sheet, line: int, text: str) -> Norm:
    try:
        return Norm(text.lower())
    except ValueError:
        raise sheet.fault(str(unknown("norm", text, [norm.value for norm in Norm])), line, "norm") from None


def _value(sheet: Sheet, line: int, column: str, text: str) -> float | None:
    try:
        return distance(text)
    except NoDistanceError as error:
        raise sheet.fault(f"{text[:40]!r} {error}", line, column) from None


def _check(sheet: Sheet, entries: Sequence[Entry], *, tidy: bool) -> None:
    """Refuse columns without a distance, and what stands twice."""
    if not entries:
        raise sheet.fault("no cell holds a distance; give numbers, and inf where nothing was found")
    if not tidy:
        full = {entry.attack for entry in entries}
        for name in sheet.columns:
            if name not in full and name not in ("image", "network", "norm"):
                raise sheet.fault("no cell holds a distance; leave the column out", column=name)
    seen: dict[tuple[str, str, Norm, str], int] = {}
    for entry in entries:
        first = seen.setdefault((entry.network, entry.attack, entry.norm, entry.image), entry.line)
        if first != entry.line:
            of = f" of {entry.attack!r}" if entry.attack else ""
            raise sheet.fault(
                f"image {entry.image!r}{of} is there already, in line {first}; give each image once",
                entry.line,
                "image",
            )


def _left_out(sheet: Sheet, used: Sequence[str]) -> str:
    """Which columns say nothing here; one whose name is nearly that of one that does is refused."""
    others = [name for name in sheet.columns if name not in used]
    for name in others:
        near = difflib.get_close_matches(
            name.lower(), [each for each in used if each not in sheet.columns], n=1, cutoff=0.8
        )
        if near:
            raise sheet.fault(f"did you mean {near[0]!r}? Name it so, or otherwise", 1, name)
    return f"{sheet.name}: columns that are not used: {', '.join(others)}." if others else ""


def _with_norms(entries: list[Entry], norm: Norm | None) -> tuple[list[Entry], str]:
    """The entries in the norm that is given, or that their attacks' names say, and what was assumed for it."""
    named = {entry.attack: _SUFFIX.fullmatch(entry.attack) for entry in entries}
    if norm is None and all(named.values()):
        norms = {name: Norm(match[1].lower()) for name, match in named.items() if match}
        assumed = "The norms are those in which the attacks' names end; --norm says another one."
    else:
        norms = dict.fromkeys(named, norm or USUAL)
        assumed = (
            "" if norm else f"Distances are taken to be in {USUAL.label}; --norm, or a column 'norm', says otherwise."
        )
    # Many entries: dataclasses.replace would take twice as long.
    return [
        Entry(e.line, e.column, e.network, e.attack, e.image, norms[e.attack], e.distance) for e in entries
    ], assumed
