"""The errors a user can meet: each says what was given, what is allowed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Base of every error that is the input's fault: printed as one line, exit code 2."""


class UsageError(BenchError):
    """A command-line argument, or a combination of them, cannot be used."""


class DataError(BenchError):
    """A data file is missing or damaged, or more images were asked for than there are."""


class NetworkError(BenchError):
    """A network or its weights cannot be loaded, or it does not behave as a classifier."""


class MachineError(BenchError):
    """The machine cannot go on, for lack of memory or of processes; nothing that was done is lost."""


class StoreError(BenchError):
    """A run's folder cannot be read or written."""


def unknown(what: str, given: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not one of the ``known`` names; it ends with the nearest of them, if one is near."""
    names = list(known)
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), lower, n=1)
    question = f"; did you mean {lower[near[0]]}?" if near else ""
    return UsageError(f"unknown {what} {given!r}; known: {', '.join(names)}{question}")


def printable(text: str) -> str:
    r"""A text in one line, as a terminal may have it.

    Control characters, and those that turn the direction of writing or that cannot be seen, stand there as escapes, such as
    ``\x1b`` or ``\u202e``: what is printed may come from names and files of others.
    """
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)
