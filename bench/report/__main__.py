"""``python -m bench.report results/<run>``: the report again, from what is stored, without torch.

With two runs or more, one page that lays them side by side; with a folder of runs, the list of them. With ``--verify``,
everything that is stored is judged again, for which the networks and torch are needed.
"""

from __future__ import annotations

import argparse
import os.path
from pathlib import Path

from bench import report, store
from bench.arguments import Parser, command
from bench.errors import UsageError, printable
from bench.process import leave
from bench.report import exports


def main(arguments: list[str] | None = None, *, last: bool = False) -> int:
    """Render, or verify, what is named on the command line; returns the exit code.

    Args:
        arguments: the words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(parser().parse_args(arguments)), last=last)


def _main(options: argparse.Namespace) -> int:
    if options.schema:
        print(exports.schema(), end="")
        return 0
    if not options.run:
        raise UsageError("no run is named; give results/<run>, two runs to compare, or results to list all")
    if not options.seconds >= 0:
        raise UsageError(f"--seconds {options.seconds:g} is not possible; give 0 or more, or inf")
    if options.verify:
        return _verified(options)
    if options.trust:
        raise UsageError("--trust goes with --verify; a report executes nothing that a run names")
    print(printable(str(_rendered(options.run, options.out))))
    return 0


def parser() -> Parser:
    """The command line of ``python -m bench.report``."""
    parser = Parser(
        prog="python -m bench.report",
        description="Write the report of a stored run again; of two or more, one page that lays them side by side.",
    )
    parser.add_argument(
        "run", nargs="*", type=Path, help="folder of a run, results/<run>; or results, to list its runs"
    )
    parser.add_argument("--schema", action="store_true", help="instead, print the JSON schema of summary.json")
    parser.add_argument("--out", type=Path, help="file for the page of several runs")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="instead, judge everything that the run stores again, and compute again what has no example; exit code 1 if "
        "anything is not as it says",
    )
    parser.add_argument(
        "--trust", action="store_true", help="with --verify: execute the Python files that the run names"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="with --verify: processes (one for each core)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="with --verify: time for computing blocks again that their examples prove; inf for all (%(default)g)",
    )
    return parser


def _verified(options: argparse.Namespace) -> int:
    """Judge every run again; returns 1 if anything is not what the run says."""
    try:
        from bench.engine.verify import verify  # noqa: PLC0415 - only this needs torch, reports do not
    except ImportError as error:
        raise UsageError(f"--verify needs the networks, and so torch: {error}") from None
    failed = 0
    for path in options.run:
        found = verify(
            store.read(path),
            trusted=options.trust,
            workers=options.workers,
            seconds=options.seconds,
            tell=lambda line: print(printable(line), flush=True),
        )
        for line in found.broken:
            print(f"BROKEN: {printable(line)}")
        for line in found.unchecked:
            print(f"not checked: {printable(line)}")
        failed += len(found.broken)
        state = (
            f"{len(found.broken)} contradictions" if found.broken else "all as their records say, and no rule is broken"
        )
        print(
            f"{printable(str(path))}: {found.judged} adversarial examples judged again, {found.computed} of {found.blocks} "
            f"blocks computed again: {state}"
        )
    return 1 if failed else 0


def _rendered(runs: list[Path], out: Path | None) -> Path:
    if len(runs) > 1:
        return report.render_together(runs, out)
    if out is not None:
        raise UsageError("--out is for the page of several runs; the report of one run lies in its folder")
    # Unlike Path.is_dir this is False for what can be no path at all.
    folder = os.path.isdir(runs[0])  # noqa: PTH112
    if folder and not (runs[0] / "manifest.json").exists() and any(runs[0].glob("*/manifest.json")):
        return report.render_index(runs[0])
    return report.render(runs[0])


if __name__ == "__main__":
    leave(main(last=True))
