"""One library against another: the same methods, and known defects."""

from __future__ import annotations

import numpy as np

import suites
from bench import libraries, metrics
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored
from bench.guide.results.words import outcome
from bench.metrics import Evidence, tables
from bench.metrics.agreement import SAME, relative
from bench.norms import Norm
from bench.specs import AttackSpec, Origin


def agreement(run: Stored) -> list[Facts]:
    """The same method in two libraries, network by network: :func:`bench.metrics.agreement.agreement`."""
    table = run.frames.plain("agreement").to_dict("records")
    lines: list[Facts] = [{str(key): value for key, value in line.items()} for line in table]
    for line in lines:
        line["label"] = Norm(str(line["norm"])).label
        line["labels"] = [libraries.label(str(line[name])) for name in ("library_a", "library_b")]
        line["worse_label"] = libraries.label(str(line["worse"])) if line["worse"] else ""
        line["larger_label"] = libraries.label(str(line["larger"])) if line["larger"] else ""
    return lines


def library(run: Stored) -> Facts:
    """Which library to use: :func:`bench.metrics.library_choice`."""
    choice = metrics.library_choice(run.evidence, run.frames.plain("agreement"))
    return {
        "methods": choice.methods,
        "settled": choice.settled,
        "reachable": choice.reachable,
        "unequal": choice.unequal,
        "worse": {libraries.label(name): count for name, count in choice.worse.items()},
        "compared": {libraries.label(name): count for name, count in choice.compared.items()},
        "best": [libraries.label(name) for name in choice.best],
    }


def defects(run: Stored) -> list[Facts]:
    """Known defects of the libraries' own rows, and what the records say: the row against its repaired variant, or the best."""
    rows = [row for row in suites.load("minimal_norm").rows if isinstance(row, AttackSpec)]
    summary = run.frames.plain("summary")
    made = []
    for row in rows:
        own = summary[summary["attack"] == row.name]
        if not row.defects or not len(own):
            continue
        repaired = [
            other
            for other in rows
            if other.origin is Origin.REPAIRED
            and (other.library, other.method, other.norm) == (row.library, row.method, row.norm)
        ]
        made.append(
            {
                "label": row.label,
                "attack": row.name,
                "library": libraries.label(row.library),
                "defects": row.defects,
                "found": float(own["found_rate"].mean()),
                "ratio": metrics.median(own["ratio"].fillna(np.inf)),
                "seen_nearer": float(own["seen_nearer"].mean()),
                "repaired": [_beside(run.evidence, row, other) for other in repaired],
            }
        )
    return made


def _beside(known: Evidence, row: AttackSpec, other: AttackSpec) -> Facts:
    """A repaired row against the library's own, on the same images of all networks."""
    records = known.attacks[known.attacks["status"] != "misclassified"].astype({"network": object})
    one, two = (records.loc[records["attack"] == each.name, ["network", "image", "distance"]] for each in (row, other))
    both = one.merge(two, on=["network", "image"], suffixes=("_own", "_repaired"))
    if not len(both):
        return {"label": other.label, "images": 0}
    ratios = relative(both["distance_repaired"].to_numpy(), both["distance_own"].to_numpy())
    test = metrics.paired(both["distance_own"].to_numpy(), both["distance_repaired"].to_numpy(), resamples=1000)
    low, high = metrics.ratio_interval(ratios)
    return {
        "label": other.label,
        "images": len(both),
        "ratio": tables.median_ratio(ratios),
        "low": low,
        "high": high,
        "nearer": float((ratios < 1 - SAME).mean()),
        "p": test.p,
        "verdict": outcome(test.p, test.effect),
    }
