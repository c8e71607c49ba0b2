"""Imports of users' modules from their source alone, never from bytecode that may be older, or somebody else's."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.abc import SourceLoader
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

_PLACES = ("stdlib", "platstdlib", "purelib", "platlib")
"""Where Python keeps what is installed, in the words of ``sysconfig``: its versions are compared, not its files."""

_USUAL = SourceLoader.get_code


@cache
def _places() -> frozenset[Path]:
    return frozenset(Path(place) for key, place in sysconfig.get_paths().items() if key in _PLACES)


def installed(path: Path | str) -> bool:
    """Whether a file lies where Python keeps what is installed."""
    return not _places().isdisjoint(Path(path).parents)


@contextmanager
def from_source() -> Iterator[None]:
    """Within it, modules that are not installed are compiled from their source; their bytecode is not read, nor written.

    Python takes bytecode for that of any file of the same length and second: a file that is edited at once would be taken
    for its old self.
    """
    within = "get_code" in vars(SourceFileLoader)
    SourceFileLoader.get_code = _compiled  # type: ignore[method-assign, assignment]  # for every finder of files
    try:
        yield
    finally:
        if not within:
            del SourceFileLoader.get_code


def _compiled(self: SourceFileLoader, fullname: str) -> CodeType | None:
    path = self.get_filename(fullname)
    if installed(path):
        return _USUAL(self, fullname)
    code: CodeType = self.source_to_code(self.get_data(path), path)
    return code
