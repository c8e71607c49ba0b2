"""``python -m bench.report results/<run>``: the report again, from what is stored, without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import report
from bench.errors import BenchError


def main(arguments: list[str] | None = None) -> int:
    """Render the reports of the runs named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("run", nargs="+", type=Path, help="folder of a run: results/<run>")
    options = parser.parse_args(arguments)
    try:
        for path in options.run:
            print(report.render(path))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
