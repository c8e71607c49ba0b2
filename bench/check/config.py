"""What is required, as a TOML file has it: ``[tool.minimal-norm-bench.check]`` of a ``pyproject.toml``, or a file of its own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError, unknown

PROJECT = "pyproject.toml"
TABLE = ("tool", "minimal-norm-bench", "check")
KEYS = ("require", "baseline", "undecided")
UNDECIDED = ("fail", "pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says.

    Attributes:
        where: the file, for messages.
        require: requirements as they are written.
        baseline: folder of a run, relative to the file's folder; None where nothing is said.
        undecided: ``fail`` or ``pass``; None where nothing is said.
    """

    where: str
    require: tuple[str, ...]
    baseline: Path | None
    undecided: str | None


def found(folder: Path) -> Config | None:
    """What the ``pyproject.toml`` of a folder says; None where there is none, or it says nothing of checks."""
    path = folder / PROJECT
    if not os.path.isfile(path):  # noqa: PTH113 - False for what can be no path at all
        return None
    content = _table(_content(path))
    return None if content is None else _config(content, path)


def read(path: Path) -> Config:
    """What a file says.

    Args:
        path: a ``pyproject.toml`` with the table ``[tool.minimal-norm-bench.check]``, or a TOML file whose top level has the
            same keys.

    Raises:
        UsageError: it cannot be read, is no TOML, lacks the table, or has a key or value that is not possible.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - as above
        raise UsageError(f"--config {path} is no file; give a {PROJECT} or another TOML file")
    content = _content(path)
    table = _table(content)
    if table is None and path.name == PROJECT:
        raise UsageError(f'{path} has no table [{".".join(TABLE)}]; write one with require = ["l2.median >= 1.0"]')
    return _config(content if table is None else table, path)


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}; mend it, or give --require on the command line") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _table(content: Mapping[str, Any]) -> Any:
    """The table of checks; None where there is none."""
    for key in TABLE:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content


def _config(content: Any, path: Path) -> Config:
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: {'.'.join(TABLE)} is no table; write [{'.'.join(TABLE)}]")
    for key in content:
        if key not in KEYS:
            raise UsageError(f"{path}: {unknown('key', str(key), KEYS)}")
    require = content.get("require", [])
    if not isinstance(require, list) or not all(isinstance(text, str) for text in require):
        raise UsageError(f'{path}: require is a list of texts, as in require = ["l2.median >= 1.0", "verdict >= warn"]')
    baseline = content.get("baseline")
    if baseline is not None and not isinstance(baseline, str):
        raise UsageError(f'{path}: baseline is the folder of a run, as in baseline = "results/main"')
    undecided = content.get("undecided")
    if undecided is not None and undecided not in UNDECIDED:
        raise UsageError(f"{path}: undecided = {undecided!r} is not possible; allowed: {', '.join(UNDECIDED)}")
    return Config(
        where=str(path),
        require=tuple(require),
        baseline=None if baseline is None else path.parent / baseline,
        undecided=undecided,
    )
