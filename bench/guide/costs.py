"""``python -m bench.guide.costs results/<run> ...``: keep what attacks cost with the suites, fitted to stored runs.

Runs of networks of several sizes say more than one: they separate what depends on an input's size from what does not.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from bench import store
from bench.arguments import Parser, tell
from bench.engine import costs
from bench.engine.costs import AttackCost, BoundCost, Cost, Line, Pace
from bench.errors import BenchError, StoreError
from bench.norms import Norm
from bench.records import Status
from bench.specs import Kind
from bench.store import Run

Floats = NDArray[np.float64]

BATCHES = (1, 2, 5, 10, 20, 50, 100)
"""How many images of an attack may go through the network together, on average."""

UNCOUNTED = (Status.MISCLASSIFIED, Status.ERROR, Status.TIMEOUT, Status.UNSUPPORTED)
"""Records that say nothing of what a row costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a row took on a network, an image.

    Attributes:
        kind, norm: of the row.
        pace: of the network, on the machine of the run.
        seconds, forwards, backwards: means over the attacked images.
        steps: of an attack that counts them; else 0.
    """

    kind: Kind
    norm: Norm
    pace: Pace
    seconds: float
    forwards: float
    backwards: float
    steps: float = 0.0


def seen(run: Run) -> dict[str, list[Seen]]:
    """What every row of a stored run took, network by network.

    Raises:
        StoreError: the run is not finished, is damaged, or does not say how fast its networks were.
    """
    if run.manifest["status"] != "finished":
        raise StoreError(f"{run.path} is {run.manifest['status']}; costs are taken from a finished run")
    paces = run.manifest.get("pace")
    if not paces:
        raise StoreError(f"{run.path} does not say how fast its networks were; run it again with this version")
    records = run.records()
    counted = records[~records["status"].isin([str(status) for status in UNCOUNTED])]
    rows = {row["name"]: row for row in run.manifest["rows"]}
    groups = counted.groupby(["attack", "network", "kind", "norm"], observed=True)
    found: dict[str, list[Seen]] = {}
    for entry in groups[["seconds", "forwards", "backwards"]].mean().reset_index().to_dict("records"):
        row = rows[entry["attack"]]
        one = Seen(
            kind=Kind(entry["kind"]),
            norm=Norm(entry["norm"]),
            pace=costs.pace_from_json(paces[entry["network"]]),
            steps=costs.steps(row.get("params", {}), row.get("steps", "")),
            **{name: float(entry[name]) for name in ("seconds", "forwards", "backwards")},
        )
        found.setdefault(str(entry["attack"]), []).append(one)
    return found


def fitted(every: Sequence[Seen]) -> Cost:
    """The cost that explains best what a row took on some networks.

    Args:
        every: what was seen of it, one or more.
    """
    return _attack(every) if every[0].kind is Kind.UPPER else _bound(every)


def _attack(every: Sequence[Seen]) -> AttackCost:
    values: Floats = np.array([one.pace.values for one in every], dtype=np.float64)
    forwards = _line(values, [one.forwards for one in every])
    backwards = _line(values, [one.backwards for one in every])
    best, least = None, math.inf
    for batch in BATCHES:
        passes = AttackCost(forwards=forwards, backwards=backwards, batch=batch, own=Line(0.0))
        units = [passes.passes(one.pace) / one.pace.overhead for one in every]
        taken = [one.seconds / one.pace.overhead for one in every]
        constant, slope, factor = _parts([np.ones_like(values), values, np.array(units)], taken)
        cost = replace(passes, own=Line(constant, slope), factor=factor)
        off = sum(math.log(max(cost.seconds(one.pace), 1e-9) / one.seconds) ** 2 for one in every)
        if off < least:
            best, least = cost, off
    assert best is not None
    return replace(best, steps=every[0].steps)


def _line(values: Floats, found: Sequence[float]) -> Line:
    """The line without negative parts that fits best."""
    return Line(*_parts([np.ones_like(values), values], found))


def _parts(columns: Sequence[Floats], found: Sequence[float]) -> list[float]:
    """How much of each column gives the values found, each value relative to itself; nothing of it is negative."""
    if not any(found):
        return [0.0] * len(columns)
    target = np.maximum(np.array(found, dtype=np.float64), 1e-12)
    # What is the same for all is in the first column already.
    basis = np.stack([c if i == 0 or len(np.unique(c)) > 1 else 0 * c for i, c in enumerate(columns)], axis=1)
    scale = np.maximum(np.abs(basis).max(axis=0), 1e-30)
    solution, _ = nnls(basis / scale / target[:, None], np.ones_like(target))
    # The solver leaves rounding where nothing belongs.
    counts = (basis / scale * solution / target[:, None]).max(axis=0) > 1e-6
    return [float(part) for part in np.where(counts, solution / scale, 0.0)]


def _bound(every: Sequence[Seen]) -> BoundCost:
    dense, pooled = (_power([one for one in every if one.pace.dense is kind]) for kind in (True, False))
    return BoundCost(dense=dense, pooled=pooled)


def _power(every: Sequence[Seen]) -> tuple[float, float] | None:
    """The power of what was reckoned that fits best, as a and p; p from 0 to 1, and 1 where there is one network."""
    if not every:
        return None
    x = np.log([one.pace.bounds[one.norm] for one in every])
    y = np.log([one.seconds / one.pace.overhead for one in every])
    p = float(np.clip(np.polyfit(x, y, 1)[0], 0.0, 1.0)) if np.ptp(x) > 0 else 1.0
    return float(np.exp((y - p * x).mean())), p


def _keep(suite: str, found: Mapping[str, Cost]) -> None:
    """Write costs beside those that are known.

    Raises:
        StoreError: the file cannot be read or written.
    """
    try:
        content = json.loads(costs.FILE.read_text()) if costs.FILE.is_file() else {}
        content.setdefault(suite, {}).update({name: costs.to_json(cost) for name, cost in found.items()})
        lines = ",\n".join(
            f' "{name}": {{\n'
            + ",\n".join(f'  "{row}": {json.dumps(cost)}' for row, cost in sorted(rows.items()))
            + "\n }"
            for name, rows in sorted(content.items())
        )
        costs.FILE.write_text(f"{{\n{lines}\n}}\n")
    except (OSError, ValueError) as error:
        raise StoreError(f"{costs.FILE} cannot be read or written: {error}; mend it, or its permissions") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Keep the costs of some runs; returns the exit code."""
    parser = Parser(
        prog="python -m bench.guide.costs", description="Keep what the rows of finished runs cost with the suites."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="results/<run>, all of one suite")
    options = parser.parse_args(arguments)
    try:
        runs = [store.read(path) for path in options.runs]
        names = {str(run.manifest["suite"]["name"]) for run in runs}
        if len(names) > 1:
            raise StoreError(f"the runs are of suites {', '.join(sorted(names))}; give runs of one suite")
        found: dict[str, list[Seen]] = {}
        for run in runs:
            for name, known in seen(run).items():
                found.setdefault(name, []).extend(known)
        _keep(names.pop(), {name: fitted(known) for name, known in found.items()})
    except BenchError as error:
        return tell(error)
    print(costs.FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
