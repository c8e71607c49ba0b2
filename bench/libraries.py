"""The libraries of attacks and verifiers: one object in one folder each, ``adapters/<name>/``, or in a package of others."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from bench.errors import BenchError, UsageError
from bench.plugins import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library of attacks or verifiers: what all of the bench knows of it.

    Attributes:
        name: short lower-case name, the first part of its rows' names.
        label: what people call it.
        attacker: where its :class:`bench.problem.Attacker` lies, ``module:object``; empty where it has none.
        verifier: where its :class:`bench.problem.Verifier` lies; empty where it has none.
        packages: names of the distributions whose versions its results depend on.
        install: how to install what it needs, for the message where that is missing.
        ours: whether its code is the bench's own, so that its results say nothing about another library.
        marker: how plots mark its rows, a marker of Matplotlib; empty to be given one.
    """

    name: str
    label: str
    attacker: str = ""
    verifier: str = ""
    packages: tuple[str, ...] = ()
    install: str = ""
    ours: bool = False
    marker: str = ""

    def to_json(self) -> dict[str, Any]:
        """For the manifest: its fields, and the versions of its packages."""
        return asdict(self) | {"packages": list(self.packages), "versions": self.versions()}

    def versions(self) -> dict[str, str]:
        """The installed versions of its packages; ``not installed`` for one that is missing."""
        return {name: version(name) for name in self.packages}


def _builtin() -> Mapping[str, str]:
    # The folder is looked into and not imported: it lies above this module, as every library does.
    folder = importlib.util.find_spec("adapters")
    places = folder.submodule_search_locations if folder else None
    return {part.name: f"adapters.{part.name}:LIBRARY" for part in pkgutil.iter_modules(places) if part.ispkg}


LIBRARIES = Kind("library", "libraries", _builtin, attribute="LIBRARY")


@cache
def load(name: str) -> Library:
    """A library by its name, ``module:object`` or ``file.py:object``.

    Raises:
        UsageError: there is no such library, or the object is none.
    """
    value = LIBRARIES.find(name).value
    if not isinstance(value, Library):
        raise UsageError(f"library {name!r} is a {type(value).__name__}; it must be a bench.libraries.Library")
    return value


def label(name: str) -> str:
    """What people call a library; its name where it is not known here."""
    try:
        return load(name).label
    except BenchError:
        return name


def part(library: Library, place: str) -> Any:
    """What lies at one of a library's places, ``module:object``; imports the library.

    Raises:
        UsageError: it cannot be imported; the message says how to install it.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        advice = f"; install it with {library.install}" if library.install else ""
        raise UsageError(f"library {library.label} cannot be imported ({error}){advice}") from error


def version(package: str) -> str:
    """The installed version of a package; ``not installed`` for one that is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
