"""A CSV file as lines of text: its encoding, its separator, its header; what cannot be read is told by line and column."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError, printable
from bench.store.files import read_bytes

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
"""What may stand between cells; the header decides, and all lines have to agree."""

LONGEST = 100
"""So many characters may a name have."""

_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file as text.

    Attributes:
        name: what messages call the file.
        columns: the header, in lower case where a name is one of the ``words`` it was read with.
        lines: number of the line in the file, from 1, and its cells, as many as columns.
    """

    name: str
    columns: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]

    def fault(self, reason: str, line: int | None = None, column: str | None = None) -> DataError:
        """The error for something in the file: file, line, column, and the reason."""
        where = [self.name, f"line {line}" if line else "", f"column {column!r}" if column else ""]
        return DataError(f"{', '.join(filter(None, where))}: {reason}")

    def place(self, name: str) -> int | None:
        """The place of a column; None where there is none of this name."""
        return self.columns.index(name) if name in self.columns else None


def read(path: Path, words: Sequence[str]) -> Sheet:
    """Read a file.

    Args:
        path: of a CSV file in UTF-8, with or without a byte order mark, with a header.
        words: names of columns that are recognised in upper and lower case; the first has to be there.

    Raises:
        StoreError: there is no such file, or it cannot be read.
        DataError: it is no such table; the message says where and why.
    """
    name = path.name
    text = _decoded(read_bytes(path), name)
    header, separator = _header(text, name, words)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    sheet = Sheet(name, header, ())
    lines = list(_lines(reader, sheet, separator))
    if not lines:
        raise sheet.fault("it has a header and no lines; give a line for each image")
    return Sheet(name, header, tuple(lines))


def _decoded(content: bytes, name: str) -> str:
    encoding = _OTHER_ENCODINGS.get(content[:2])
    if encoding is not None:
        raise DataError(f"{name}: it is {encoding}; save it as CSV in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, line {line}: it is not UTF-8; save it as CSV in UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{name}, line {line}: it holds a NUL character and is no text; save it as CSV in UTF-8")
    if not text.strip():
        raise DataError(f"{name}: it is empty; give a header, and a line for each image")
    return text


def _header(text: str, name: str, words: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The header and the separator by which it has the first of the words as a column."""
    needed = words[0]
    seen: dict[str, tuple[str, ...]] = {}
    reason = ""
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), [])
        except csv.Error as error:
            # After a quotation mark only the right separator may come: of the others nothing is told.
            reason = str(error) if "end of data" in str(error) else reason
            continue
        stripped = [cell.strip() for cell in cells]
        known = tuple(cell.lower() if cell.lower() in words else cell for cell in stripped)
        if needed in known:
            _check_header(known, name)
            return known, separator
        seen[separator] = tuple(stripped)
    if reason or not seen:
        told = reason or "text stands behind a quotation mark"
        raise DataError(f"{name}, line 1: the header cannot be read ({told}); close its quotation marks")
    columns = max(seen.values(), key=len)
    shown = ", ".join(repr(printable(column)[:40]) for column in columns[:8])
    more = f" and {len(columns) - 8} more" if len(columns) > 8 else ""
    near = difflib.get_close_matches(needed, [column.lower() for column in columns], n=1)
    question = f"; is it {near[0]!r}?" if near else ""
    raise DataError(
        f"{name}, line 1: there is no column {needed!r} among {shown}{more}; give a header that has it, with cells separated "
        f"by commas, semicolons, tabs or bars{question}"
    )


def _check_header(columns: Sequence[str], name: str) -> None:
    for place, column in enumerate(columns, start=1):
        if not column:
            raise DataError(
                f"{name}, line 1: column {place} has no name; name it, or leave it out (pandas: to_csv(..., index=False))"
            )
        check_name(column, f"{name}, line 1, column {place}")
    twice = next((column for place, column in enumerate(columns) if column in columns[:place]), None)
    if twice is not None:
        raise DataError(f"{name}, line 1: column {twice!r} is there twice; give each attack a name of its own")


def check_name(text: str, where: str) -> None:
    """Refuse a name that cannot be shown.

    Raises:
        DataError: it holds characters that cannot be seen, or is too long.
    """
    if not text.isprintable():
        raise DataError(f"{where}: the name {ascii(text)[:60]} holds characters that cannot be seen; leave them out")
    if len(text) > LONGEST:
        raise DataError(f"{where}: the name {text[:40]!r}... has {len(text)} characters; give at most {LONGEST}")


def _lines(reader: Iterator[list[str]], sheet: Sheet, separator: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    number = 1
    try:
        for cells in reader:
            begun, number = number, reader.line_num + 1  # type: ignore[attr-defined]  # every reader of csv has it
            # The first is the header; an empty line is none.
            if begun == 1 or not cells:
                continue
            if len(cells) != len(sheet.columns):
                raise sheet.fault(_count(cells, sheet, separator), begun)
            yield begun, tuple(cell.strip() for cell in cells)
    except csv.Error as error:
        raise sheet.fault(
            f"it cannot be read ({error}); close its quotation marks, and separate cells alike", number
        ) from None


def _count(cells: Sequence[str], sheet: Sheet, separator: str) -> str:
    told = f"it has {len(cells)} cells, and the header {len(sheet.columns)}"
    if len(cells) == 1:
        return f"{told}; separate cells by the header's {SEPARATORS[separator]}"
    if separator == ",":
        return f"{told}; give one for each column, and write numbers with a point, without separators of thousands"
    return f"{told}; give one for each column"
