"""``python -m bench.export results/<run> --to csv``: a stored run in the format of a neighbour, without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import store
from bench.arguments import Parser, command
from bench.errors import UsageError, printable
from bench.export import EXPORTS, export
from bench.process import leave


def main(arguments: list[str] | None = None, *, last: bool = False) -> int:
    """Write the export that the command line asks for; returns the exit code.

    Args:
        arguments: the words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(parser().parse_args(arguments)), last=last)


def _main(options: argparse.Namespace) -> int:
    given = dict(map(_pair, options.options))
    folder = export(options.run, options.to, options.out, force=options.force, options=given)
    status = store.read(options.run).manifest.get("status")
    if status not in (None, "finished"):
        print(f"note: the run is {status}; what it has stored so far is exported", file=sys.stderr)
    print(printable(str(folder)))
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--with {text!r} is not possible; give NAME=VALUE")
    return name, value


def parser() -> Parser:
    """The command line of ``python -m bench.export``."""
    parser = Parser(
        prog="python -m bench.export",
        description="Write a stored run in the format of a neighbour; docs/neighbours.md says what is in it.",
    )
    parser.add_argument("run", type=Path, help="folder of a run, results/<run>")
    parser.add_argument(
        "--to", required=True, metavar="TARGET", help=f"{', '.join(EXPORTS.names())}, or path/to/file.py:object"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the folder to write (<run>/export/<target>)")
    parser.add_argument("--force", action="store_true", help="let it take the place of an earlier export")
    parser.add_argument(
        "--with",
        dest="options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="what the target takes besides, such as dataset=ylecun/mnist for huggingface",
    )
    return parser


if __name__ == "__main__":
    leave(main(last=True))
