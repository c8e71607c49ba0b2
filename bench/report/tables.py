"""Tables of the page: cells that carry how they sort, read and filter, made from metric frames."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.norms import Norm

INFINITE = "∞"
UNDEFINED = "\N{EN DASH}"
NOT_FOUND = "nothing was found on half of the images or more"
"""What an infinite median means."""

NORM_LABELS = {norm.value: norm.label for norm in Norm}
"""What norms are called."""

TAGS = ("network", "norm", "library", "attack")
"""The columns by which the page filters."""

AFTER = "after"
"""A column that is true for lines which stand after the others of their norm, however a table is sorted."""

Value = Callable[[Mapping[str, Any]], Any]
"""What a line of a frame gives to a column of a file."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, sorts by, and explains on demand.

    ``tone`` is ``good``, ``warn``, ``bad`` or empty; ``note`` stands small under the text.
    """

    text: str
    sort: float | str = ""
    title: str = ""
    tone: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, how a line of the frame becomes its cell, what it means, and how it is set.

    ``wrap`` lets long text break; ``tags`` are names by which the page filters the whole column; ``fields`` are the columns of
    a file that it becomes, each with one number or one text: by default the text that is shown.
    """

    heading: str
    cell: Callable[[Mapping[str, Any]], Cell]
    explanation: str = ""
    numeric: bool = True
    wrap: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its cells, the names by which the page filters it, and what it is in a file; see ``AFTER``."""

    cells: Sequence[Cell]
    tags: Mapping[str, str]
    numbers: Sequence[float | str | bool | None]
    after: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption; ``keys`` names each column, ``heads`` the columns of a file, each with its column's place."""

    id: str
    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line] = field(default_factory=list)
    keys: Sequence[str] = field(default_factory=list)
    heads: Sequence[tuple[str, int]] = field(default_factory=list)

    @property
    def content(self) -> dict[str, Any]:
        """The table as a file holds it, as JSON data: headings with their columns' places, and lines."""
        return {"heads": self.heads, "rows": [line.numbers for line in self.lines]}


def table(id_: str, caption: str, columns: Sequence[Column], frame: pd.DataFrame) -> Table:
    """A table of a frame: one line per row of it, tagged with whatever of ``TAGS`` the frame has; norms stay together."""
    if "norm" in frame:
        order = {norm.value: place for place, norm in enumerate(Norm)}
        frame = frame.iloc[np.argsort(frame["norm"].astype(str).map(order).to_numpy(), kind="stable")]
    keys = _distinct([snake(column.heading) for column in columns])
    given = [
        (name, place, value)
        for place, (column, key) in enumerate(zip(columns, keys, strict=True))
        for name, value in (column.fields or {key: _shown(column)}).items()
    ]
    names = _distinct([snake(name) for name, _, _ in given])
    lines = []
    for line in frame.to_dict("records"):
        content = {str(key): value for key, value in line.items()}
        tags = {tag: str(content[tag]) for tag in TAGS if isinstance(content.get(tag), str)}
        values = [plain(value(content)) for _, _, value in given]
        lines.append(Line([column.cell(content) for column in columns], tags, values, bool(content.get(AFTER, False))))
    heads = [(name, place) for name, (_, place, _) in zip(names, given, strict=True)]
    return Table(id_, caption, columns, lines, keys, heads)


def _shown(column: Column) -> Value:
    return lambda line: column.cell(line).text


def snake(name: str) -> str:
    """A heading as files have it: ``first_quartile``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "value"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, with a number behind those that occur already."""
    made: list[str] = []
    for name in names:
        count = 1
        while (unique := name if count == 1 else f"{name}_{count}") in made:
            count += 1
        made.append(unique)
    return made


def plain(value: Any) -> float | str | bool | None:
    """A value as a file has it: six significant digits, ``inf`` for infinity, None for what is not defined."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    number = float(value)
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    short = float(f"{number:.6g}") if not number.is_integer() else number
    return int(short) if short.is_integer() else short


def of(*keys: str) -> dict[str, Value]:
    """Columns of a file that hold entries of a line as they are."""
    return {key: operator.itemgetter(key) for key in keys}


def text(
    key: str, heading: str, explanation: str = "", *, labels: Mapping[str, str] | None = None, wrap: bool = False
) -> Column:
    """A column of words."""

    def cell(line: Mapping[str, Any]) -> Cell:
        value = str(line[key])
        shown = (labels or {}).get(value, value)
        return Cell(shown, shown)

    return Column(heading, cell, explanation, numeric=False, wrap=wrap, fields=of(key))


def number(key: str, heading: str, explanation: str = "", *, digits: int = 3, infinite: str = "") -> Column:
    """A column of numbers with so many significant digits; ``infinite`` explains an infinite one."""

    def cell(line: Mapping[str, Any]) -> Cell:
        value = line[key]
        return Cell(figure(value, digits), sort_key(value), infinite if value == math.inf else "")

    return Column(heading, cell, explanation, fields=of(key))


def count(key: str, heading: str, explanation: str = "", *, bad_above: float = math.inf) -> Column:
    """A column of whole numbers, marked where it is above a limit."""

    def cell(line: Mapping[str, Any]) -> Cell:
        value = int(line[key])
        return Cell(f"{value:,}", value, tone="warn" if value > bad_above else "")

    return Column(heading, cell, explanation, fields=of(key))


def percent(key: str, heading: str, explanation: str = "", *, warn_below: float = -1, digits: int = 1) -> Column:
    """A column of percentages, marked where one is below a limit."""

    def cell(line: Mapping[str, Any]) -> Cell:
        value = float(line[key])
        return Cell(percentage(value, digits), sort_key(value), tone="warn" if value < warn_below else "")

    return Column(heading, cell, explanation, fields=of(key))


def interval(key: str, low: str, high: str, heading: str, explanation: str = "", *, digits: int = 3) -> Column:
    """A column of numbers with their interval in brackets."""

    def cell(line: Mapping[str, Any]) -> Cell:
        ends = f"{figure(line[low], digits)} to {figure(line[high], digits)}"
        known = not math.isnan(line[key])
        return Cell(f"{figure(line[key], digits)} ({ends})" if known else UNDEFINED, sort_key(line[key]))

    return Column(heading, cell, explanation, fields=of(key, low, high))


def p_value(key: str, heading: str, explanation: str = "", *, undefined: str = "") -> Column:
    """A column of p values: below 0.001 their size says nothing more; ``undefined`` explains one that is missing."""

    def cell(line: Mapping[str, Any]) -> Cell:
        value = float(line[key])
        return Cell(
            "< 0.001" if value < 0.001 else figure(value, 2), sort_key(value), undefined if math.isnan(value) else ""
        )

    return Column(heading, cell, explanation, fields=of(key))


def figure(value: float, digits: int = 3) -> str:
    """A number as people read it: ``0.462``, ``1,230``, infinity, or a dash for not defined."""
    value = float(value)
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return INFINITE if value > 0 else "-" + INFINITE
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    rounded = float(f"{value:.{digits - 1}e}")
    if 1e-4 <= abs(rounded) < 1e6:
        places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
        shown = f"{rounded:,.{places}f}"
        # Zeros at the end stand for digits that were rounded away; of a short number there are none.
        return shown.rstrip("0").rstrip(".") if rounded == value and "." in shown else shown
    return f"{value:.{digits - 1}e}"


def percentage(value: float, digits: int = 1) -> str:
    """A fraction as percentage, or a dash; never rounded up to 100 % or down to 0 %."""
    if math.isnan(value):
        return UNDEFINED
    if value in (0, 1):
        return f"{value:.0%}"
    shown = f"{value:.{digits}%}"
    if float(shown[:-1]) == 100:
        return f"> {100 - 10.0**-digits:.{digits}f}%"
    if float(shown[:-1]) == 0:
        return f"< {10.0**-digits:.{digits}f}%"
    return shown


def sort_key(value: float) -> float | str:
    """What a number sorts by in the page: itself, spelled as JavaScript reads it where it is infinite; empty for NaN."""
    value = float(value)
    if math.isnan(value):
        return ""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
