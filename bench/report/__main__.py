"""``python -m bench.report results/<run>``: the report again, from what is stored, without torch.

With two runs or more, one page that lays them side by side; with a folder of runs, the list of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import report
from bench.errors import BenchError, UsageError


def main(arguments: list[str] | None = None) -> int:
    """Render what is named on the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        print(_rendered(options.run, options.out))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description="Write the report of a stored run again; of two or more, one page that lays them side by side.",
    )
    parser.add_argument(
        "run", nargs="+", type=Path, help="folder of a run, results/<run>; or results, to list its runs"
    )
    parser.add_argument("--out", type=Path, help="file for the page of several runs")
    return parser


def _rendered(runs: list[Path], out: Path | None) -> Path:
    if len(runs) > 1:
        return report.render_together(runs, out)
    if out is not None:
        raise UsageError("--out is for the page of several runs; the report of one run lies in its folder")
    if runs[0].is_dir() and not (runs[0] / "manifest.json").exists() and any(runs[0].glob("*/manifest.json")):
        return report.render_index(runs[0])
    return report.render(runs[0])


if __name__ == "__main__":
    sys.exit(main())
