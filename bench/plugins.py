"""From a name to an object: what is built in, what packages bring (entry points), ``module:object``, ``file.py:object``."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UsageError, line, unknown
from bench.usercode import UserFile, kept
from bench.usercode.sources import from_source, installed

ENTRY_POINTS = "minimal_norm_bench"
"""Entry point groups are ``minimal_norm_bench.suites``, ``.libraries``, ``.datasets``, ``.networks`` and ``.exports``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object that users may bring.

    Attributes:
        name: what messages call it, such as ``suite``.
        group: the last part of the entry point group, such as ``suites``.
        builtin: names of what the bench brings, and where it lies, as ``module:object``.
        attribute: the object's name in a file that is given without one; empty where one has to be given.
        also: what else than objects can be named, for messages.
    """

    name: str
    group: str
    builtin: Callable[[], Mapping[str, str]]
    attribute: str = ""
    also: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """The names that need no path: what is built in first, then what installed packages bring."""
        return tuple(dict.fromkeys([*self.builtin(), *sorted(entry.name for entry in self._entries())]))

    def find(self, text: str) -> Found:
        """The object of a name, ``module:object`` or ``file.py:object``.

        Args:
            text: what a user typed.

        Raises:
            UsageError: there is no such object, or its module cannot be imported.
        """
        place = self.builtin().get(text)
        if place is not None:
            module, _, name = place.partition(":")
            return Found(text, getattr(importlib.import_module(module), name), text)
        for entry in self._entries():
            if entry.name == text:
                value, file = _imported(entry.module, entry.attr, f"{self.name} {text!r}")
                return Found(text, value, text, file)
        source, name, colon = self._place(text)
        if source.endswith(".py") and name:
            path = file_path(source, f"{self.name} {text!r}")
            code = _executed(path, f"{self.name} {text!r}")
            value = _attribute(code.module, name, f"{self.name} {text!r}")
            return Found(_short(name, self.attribute, path.stem), value, f"{path}:{name}", path, code)
        if colon and re.fullmatch(r"[^\W\d][\w.]*", source) and name:
            value, file = _imported(source, name, f"{self.name} {text!r}")
            return Found(_short(name, self.attribute, source), value, f"{source}:{name}", file)
        raise unknown(self.name, text, [*self.names(), *self.also, "path/to/file.py:object", "module:object"])

    def executed(self, text: str) -> tuple[Path, ...] | None:
        """The files that :meth:`find` would execute first for a text; nothing is executed to find them.

        Args:
            text: as :meth:`find` takes it.

        Returns:
            The file itself; of ``module:object`` the module's file and those of the packages that it lies in, none where
            they have no files. None for what is built in, for what installed packages bring, and for what is no place.

        Raises:
            UsageError: the text can be no path.
        """
        if text in self.names():
            return None
        source, _, colon = self._place(text)
        if source.endswith(".py"):
            return (file_path(source, f"{self.name} {text!r}"),)
        return module_files(source) if colon else None

    def _place(self, text: str) -> tuple[str, str, bool]:
        """The two parts of ``file.py:object``, and whether there was a colon."""
        source, colon, name = text.rpartition(":")
        if not colon or "/" in name or "\\" in name or name.endswith(".py"):
            source, name = text, ""
        return source, name or self.attribute, bool(colon)

    def _entries(self) -> list[Any]:
        return list(entry_points(group=f"{ENTRY_POINTS}.{self.group}"))


@dataclass(frozen=True, slots=True)
class Found:
    """An object and where it is from.

    Attributes:
        name: what it is called where it has no name of its own.
        value: the object.
        source: what :meth:`Kind.find` finds it by from any folder: a name, ``module:object``, or an absolute path.
        file: the file of a user's module; None for what is built in.
        code: that file as it was run, where it was named by its path.
    """

    name: str
    value: Any
    source: str
    file: Path | None = None
    code: UserFile | None = field(default=None, repr=False, compare=False)

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the user's file, and of the modules beside it that it has imported; None for what is built in."""
        return self.code.sha256 if self.code is not None else next(iter(self.files.values()), None)

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of the content that was run, by absolute path, of the user's files; empty for what is built in."""
        if self.code is not None:
            return self.code.files
        return {} if self.file is None else _package(self.file)

    def within(self) -> AbstractContextManager[None]:
        """What calls are made within: imports find what is beside the file first; after it, the process is as it was."""
        return kept() if self.code is None else self.code.among_neighbours()

    def entered(self) -> AbstractContextManager[None]:
        """The same, which also finds out what was replaced for the whole process: for what is run once.

        Raises:
            ImportError: something was; it is put back.
        """
        return kept() if self.code is None else self.code.entered()

    def call(self, *arguments: Any, **named: Any) -> Any:
        """Call the object: it finds what is beside its file, and changes nothing of the process."""
        with self.entered():
            return self.value(*arguments, **named)


def _package(file: Path) -> dict[str, str]:
    """SHA-256 of a module's file, of the packages that it lies in, and of what else of its package is loaded.

    Of an installed package only the first two: its version is compared, not its files.
    """
    module = next((name for name, each in sys.modules.items() if getattr(each, "__file__", None) == str(file)), "")
    parts = module.split(".")
    chain = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    others = (
        [] if installed(file) else sorted(name for name in sys.modules if module and name.partition(".")[0] == parts[0])
    )
    paths = [str(file), *(getattr(sys.modules.get(name), "__file__", None) for name in [*chain, *others])]
    return {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in dict.fromkeys(paths)
        if path and (path == str(file) or (path.endswith(".py") and Path(path).is_file()))
    }


def _short(name: str, usual: str, source: str) -> str:
    """What an object is called: its own name; where that is the usual one, its module's."""
    return source.rpartition(".")[2] if name == usual else name


def _imported(module: str, name: str, what: str) -> tuple[Any, Path | None]:
    try:
        with kept(), from_source():
            loaded = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what}: module {module} cannot be imported: {line(error)}") from error
    file = getattr(loaded, "__file__", None)
    return _attribute(loaded, name, what), None if file is None else Path(file)


def module_files(module: str) -> tuple[Path, ...]:
    """The files of a module and of the packages that it lies in, its own first, found without importing any of them."""
    found: list[Path] = []
    path: list[str] | None = None
    names = module.split(".")
    for length in range(1, len(names) + 1):
        specification = PathFinder.find_spec(".".join(names[:length]), path)
        if specification is None:
            break
        if specification.origin is not None and specification.has_location:
            found.insert(0, Path(specification.origin))
        path = list(specification.submodule_search_locations or ())
    return tuple(found)


def file_path(text: str, what: str) -> Path:
    """The absolute path of a file that a user typed; it need not be there.

    Args:
        text: may begin with ``~``.
        what: what the message calls it.

    Raises:
        UsageError: it can be no path.
    """
    try:
        path = Path(text).expanduser().resolve()
        path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{what}: {text!r} is no path: {line(error)}") from error
    return path


def _executed(path: Path, what: str) -> UserFile:
    if not path.is_file():
        raise UsageError(f"{what}: there is no file {path}")
    try:
        return UserFile(path)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what}: {path} cannot be imported: {line(error)}") from error


def _attribute(module: ModuleType, name: str, what: str) -> Any:
    if not hasattr(module, name):
        raise UsageError(f"{what}: {getattr(module, '__file__', module.__name__)} has no {name!r}")
    return getattr(module, name)
