"""Measured seconds per image of every row: what a run is ordered and predicted by.

``python -m bench.engine.costs results/<run>`` keeps the measurements of a finished run in ``suites/costs.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, StoreError, printable
from bench.specs import Row, VerifierSpec

if TYPE_CHECKING:
    from bench.store import Run

FILE = Path(__file__).parents[2] / "suites" / "costs.json"
UNKNOWN = 1.0
"""Seconds an image assumed for an attack that was never measured on any network."""

Costs = Mapping[str, Mapping[str, float]]
"""Seconds of one core per image, by network and row."""


def load(suite: str, file: Path = FILE) -> Costs:
    """The costs of a suite's rows, by default those of ``minimal_norm``; empty where nothing was measured."""
    content: dict[str, Costs] = json.loads(file.read_text()) if file.is_file() else {}
    return content.get(suite) or content.get("minimal_norm", {})


def expected(row: Row, network: str, measured: Costs) -> float:
    """Seconds per image that a row should take on one core.

    A network that was never measured is taken to cost what the most expensive measured one does. A verifier takes no
    longer than its limit.
    """
    largest = max((rows[row.name] for rows in measured.values() if row.name in rows), default=None)
    known = measured.get(network, {}).get(row.name, largest)
    if isinstance(row, VerifierSpec):
        return row.seconds if known is None else min(known, row.seconds)
    return UNKNOWN if known is None else known


def measure(run: Run) -> dict[str, dict[str, float]]:
    """The mean seconds per image of a stored run, misclassified images included, by network and row.

    Raises:
        StoreError: the run is not finished, or damaged.
    """
    if run.manifest["status"] != "finished":
        raise StoreError(f"{run.path} is {run.manifest['status']}; costs are taken from a finished run")
    means = run.records().groupby(["network", "attack"], observed=True)["seconds"].mean()
    found: dict[str, dict[str, float]] = {}
    for entry in means.reset_index().itertuples():
        found.setdefault(str(entry.network), {})[str(entry.attack)] = float(f"{entry.seconds:.3g}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep a run's costs; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine.costs", description="Keep the seconds per image of a finished run with the suites."
    )
    parser.add_argument("run", type=Path, help="results/<run>")
    options = parser.parse_args(arguments)
    from bench import store  # noqa: PLC0415 - only this command reads a run; pandas takes half a second to import

    try:
        run = store.read(options.run)
        content = json.loads(FILE.read_text()) if FILE.is_file() else {}
        kept = content.setdefault(run.manifest["suite"]["name"], {})
        for network, rows in measure(run).items():
            kept.setdefault(network, {}).update(rows)
        FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    except BenchError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
