"""``python -m bench.score distances.csv``: metrics, curves and a page for attacks that never ran here, without torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from bench.arguments import Parser, command
from bench.errors import printable
from bench.norms import Norm
from bench.process import leave


def main(arguments: list[str] | None = None, *, last: bool = False) -> int:
    """Score the file that the command line names; returns the exit code.

    Args:
        arguments: the words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(parser().parse_args(arguments)), last=last)


def _main(options: argparse.Namespace) -> int:
    from bench import score  # noqa: PLC0415 - --help and errors of usage answer at once
    from bench.score import show  # noqa: PLC0415 - as above

    norm = None if options.norm is None else Norm(options.norm)
    result = score.score(options.distances, options.best, options.out, norm=norm, force=options.force)
    for note in result.scored.notes:
        print(f"note: {printable(note)}")
    console = Console(highlight=False)
    for table in show.tables(result.scored, result.frames):
        console.print(table)
    print(printable(str(result.folder / score.PAGE)))
    return 0


def parser() -> Parser:
    """The command line of ``python -m bench.score``."""
    parser = Parser(
        prog="python -m bench.score",
        description="Score distances from elsewhere: a CSV file with a column for each attack and a line for each image, "
        "or with columns attack, image, distance; network and norm may stand beside. docs/neighbours.md has examples.",
    )
    parser.add_argument("distances", type=Path, metavar="distances.csv", help="distances of attacks")
    parser.add_argument(
        "--best", type=Path, metavar="best.csv", help="best known distances: columns image and distance"
    )
    parser.add_argument("--norm", type=str.lower, choices=[norm.value for norm in Norm], help="of the distances (l2)")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the folder to write (<distances>-scores beside the file)"
    )
    parser.add_argument("--force", action="store_true", help="let it take the place of an earlier one")
    return parser


if __name__ == "__main__":
    leave(main(last=True))
