"""``python fake_run.py ARGUMENTS``: the command line of the bench, with all imported that a run needs; for tests to kill."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import fakes

from bench import run

SUITE = f"{fakes.__file__}:SUITE"


def environment() -> dict[str, str]:
    """Of a process that finds what this one finds, with one thread for arithmetic."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}


def main(arguments: list[str] | None = None, folder: Path | None = None) -> int:
    """``bench.run.main`` in a folder; returns the exit code."""
    if folder is not None:
        os.chdir(folder)
    return run.main(arguments)


def exit_with(arguments: list[str], folder: Path) -> None:
    """:func:`main` as the target of a process, which Ctrl-C ends even where the tests were started to ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
