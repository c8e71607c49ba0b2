"""``python -m bench.check results/<run> --require "l2.median >= 1.0"``: a gate for continuous integration, without torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.arguments import Parser, command
from bench.check import config, grammar
from bench.check.requirements import Quantity, Requirement
from bench.errors import BenchError, UsageError, printable
from bench.process import leave

BROKEN, UNDECIDED = 1, 3
"""Exit codes, beside 0 for all held and 2 for what is not usable."""


def main(arguments: list[str] | None = None, *, last: bool = False) -> int:
    """Decide what is required on the command line or in a file; returns the exit code.

    Args:
        arguments: the words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(parser().parse_args(arguments)), last=last)


def parser() -> Parser:
    """The command line of ``python -m bench.check``."""
    parser = Parser(
        prog="python -m bench.check",
        description="Decide requirements on a stored run: held (exit code 0), broken (1), or not decidable with so few images "
        "(3); 2 where something cannot be used. docs/gate.md explains them.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run, results/<run>")
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="TEXT",
        help="a requirement, such as 'l2.median >= 1.0', 'linf.robust_accuracy[0.1] >= 0.5', 'linf.certified[0.1] >= 0.5', "
        "'l2 no-worse by 5%%', 'clean_accuracy >= 0.98', 'attack.foolbox-ddn-l2.found_rate = 1', 'verdict = pass'; "
        "'CNN: ...' for one network only; may be repeated; in place of those of a file",
    )
    parser.add_argument("--baseline", type=Path, metavar="RUN", help="the run that no-worse compares with")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file with require, baseline and undecided (without --require the pyproject.toml of this folder, table "
        "tool.minimal-norm-bench.check)",
    )
    parser.add_argument(
        "--undecided",
        choices=config.UNDECIDED,
        help="whether what is not decidable fails (exit code 1) or passes (0), instead of exit code 3",
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    parser.add_argument("--github", action="store_true", help="print annotations of a GitHub workflow")
    return parser


def _main(options: argparse.Namespace) -> int:
    try:
        return _checked(options)
    except BenchError as error:
        if options.github:
            from bench.check.output import annotation  # noqa: PLC0415 - as below

            print(annotation("error", "the check cannot be made", str(error)), end="")
        raise


def _checked(options: argparse.Namespace) -> int:
    requirements, baseline, undecided = _settings(options)
    compares = any(one.quantity is Quantity.NO_WORSE for one in requirements)
    if compares and baseline is None:
        raise UsageError("no-worse compares with a baseline; give one: --baseline results/<run>")
    # What cannot be read is said at once: these take a second to import.
    from bench.check import output, runs  # noqa: PLC0415
    from bench.check.decide import decide  # noqa: PLC0415
    from bench.check.decision import Outcome  # noqa: PLC0415

    checked = decide(requirements, runs.read(options.run), runs.read(baseline) if compares and baseline else None)
    name, lenient = str(options.run), undecided == "pass"
    for line in output.lines(checked):
        print(line)
    if options.github:
        print(output.github(name, checked, lenient), end="")
    for path, render in ((options.junit, output.junit), (options.markdown, output.markdown)):
        if path is not None:
            _write(path, render(name, checked, lenient))
    if checked.count(Outcome.BROKEN):
        return BROKEN
    if checked.count(Outcome.UNDECIDED):
        return {None: UNDECIDED, "fail": BROKEN, "pass": 0}[undecided]
    return 0


def _settings(options: argparse.Namespace) -> tuple[Sequence[Requirement], Path | None, str | None]:
    """Requirements, baseline and what becomes of the undecided, from the command line before the file."""
    said = None
    if options.config is not None:
        said = config.read(options.config)
    elif not options.require:
        said = config.found(Path())
    baseline, undecided = options.baseline, options.undecided
    if said is not None:
        baseline, undecided = baseline or said.baseline, undecided or said.undecided
    if options.require:
        return grammar.parse_all(options.require), baseline, undecided
    if said is None or not said.require:
        where = (
            "no table [tool.minimal-norm-bench.check] in ./pyproject.toml" if said is None else f"none in {said.where}"
        )
        raise UsageError(f"nothing is required: no --require, and {where}; give --require 'l2.median >= 1.0'")
    return grammar.parse_all(said.require, f"{said.where}, require"), baseline, undecided


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{printable(str(path))} cannot be written: {reason}; give a file in a folder that is there"
        ) from error


if __name__ == "__main__":
    leave(main(last=True))
