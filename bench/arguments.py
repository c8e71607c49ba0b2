"""Command lines: what is wrong with one is one line on standard error that begins ``error:``; exit code 2."""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from bench import process
from bench.errors import BenchError, MachineError, StoreError, cause, printable

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which takes only text that can be shown and stored."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Values, and no options: argparse's own pattern knows neither exponents nor several numbers.
        self._negative_number_matcher = re.compile(r"-\.?\d[\d.,eE+-]*\Z")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, after a look at every argument."""
        given: Sequence[str] = sys.argv[1:] if args is None else args
        for argument in given:
            if any(unicodedata.category(character) in ("Cc", "Cs") for character in argument):
                self.error(
                    f"argument {ascii(argument)[:200]} holds control characters, or bytes that are no UTF-8; "
                    "give printable text, and rename the file if it is one"
                )
            # argparse takes this "--" for the end of options, and the value for none.
            if argument.startswith("--") and argument.endswith("=--"):
                self.error(f"argument {argument[:-3]}: expected one argument, not '--'")
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> Any:
        """End with the message."""
        print(f"error: {printable(message[:2000])}; --help shows the usage", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def typed(words: Sequence[str]) -> list[str]:
    """A command line as it is typed, which is the same on every machine: Python names the file of a module that it runs."""
    if words and re.search(r"[\\/]bench[\\/]run\.py$", words[0]):
        return ["python", "-m", "bench.run", *words[1:]]
    return list(words)


def tell(error: Exception) -> int:
    """Print an error as one line, as a message of somebody else's may have several; returns the exit code."""
    print(f"error: {printable(str(error))}", file=sys.stderr)
    return EXIT_USAGE


def command(body: Callable[[], int], *, last: bool = False) -> int:
    """A command, of which no fault of its input or of the machine, no signal and no closed stream makes a traceback.

    Args:
        body: does it, and returns the exit code.
        last: whether the process ends afterwards.

    Returns:
        The exit code.
    """
    with process.surroundings(last=last):
        try:
            return body()
        except KeyboardInterrupt:
            return _interrupted()
        except Exception as error:
            # Somebody's code may have made another error of the interruption.
            if process.interrupted():
                return _interrupted()
            reason = cause(error)
            if isinstance(error, BenchError) and (reason is None or isinstance(error, MachineError | StoreError)):
                return tell(error)
            if reason is None:
                raise
            return tell(
                RuntimeError(
                    f"the machine cannot go on ({reason}); see that memory, disk, temporary folder (TMPDIR) and limits "
                    "(ulimit) leave room; what is stored is kept, and a run goes on with --resume and fewer --workers"
                )
            )


def _interrupted() -> int:
    process.done()
    print("interrupted; begin again with the same command")
    return EXIT_INTERRUPTED
