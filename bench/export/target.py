"""What a format of a neighbour is: a name, what it takes, and a function that writes a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.export.material import Material


@dataclass(frozen=True, slots=True)
class Place:
    """Where a target writes.

    Attributes:
        folder: an empty folder; it takes its name when everything is written.
        final: its absolute path afterwards, for formats that hold paths.
        options: what the user gave, by name.
    """

    folder: Path
    final: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A format that a run can be written in.

    Attributes:
        name: on the command line, and of the folder.
        title: what is written, in a phrase.
        write: writes a run into an empty folder; it raises ``StoreError`` where the run lacks something.
        options: what it takes besides, with a phrase for each.
        packages: modules that have to be installed.
        install: the command that installs them.
    """

    name: str
    title: str
    write: Callable[[Material, Place], None]
    options: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    install: str = ""
