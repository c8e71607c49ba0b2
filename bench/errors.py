"""The errors a user can meet: each says what was given, what is allowed and what to do next; and faults of the machine."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

OF_THE_MACHINE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EAGAIN
})  # fmt: skip
"""Errors of the operating system that no program can help."""

WORDS = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "unable to allocate", "bad_alloc", "alloc_failed",
    "failed to map segment", "can't start new thread", "no space left on device", "too many open files",
)  # fmt: skip
"""How libraries that raise a ``RuntimeError`` or an ``ImportError`` say that memory, disk or handles ran out."""


class BenchError(Exception):
    """Base of every error that ends a command with one line and exit code 2."""


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


class LostWork(Exception):  # noqa: N818 - it is no error of what was computed
    """Work was lost, and its message says how; computed again it may well be finished."""


def cause(error: BaseException | None) -> str | None:
    """What of the machine an error, or one that it was raised for, speaks of; None where it speaks of nothing of the kind."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, LostWork):
            return str(error)
        named = any(word in str(error).lower() for word in WORDS)
        number = error.errno if isinstance(error, OSError) else None
        # torch.OutOfMemoryError is a RuntimeError, NumPy's a MemoryError.
        if (
            isinstance(error, MemoryError)
            or number in OF_THE_MACHINE
            or (named and isinstance(error, RuntimeError | ImportError | OSError))
        ):
            return line(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def line(error: BaseException) -> str:
    """An error's class and its message, in one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())[:300]


def no_room(error: OSError) -> MachineError:
    """The error for a temporary file that cannot be written."""
    return MachineError(f"no temporary file can be written: {line(error)}; set TMPDIR to a folder with room")


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
