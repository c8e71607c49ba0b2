"""METRICS: from records to tidy frames. Pure functions; the same statistics take plain arrays of anyone's numbers."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.metrics import agreement as agree
from bench.metrics import classes, cost, exact, profiles, ranking, tables
from bench.metrics.agreement import LibraryChoice, library_choice
from bench.metrics.before_after import attack_changes, changes
from bench.metrics.cost import front
from bench.metrics.curves import attack_curves, best_curves, certified_curves, robust_accuracy_table
from bench.metrics.distribution import curve, found_rate, mean_found, median, quantile, robust_accuracy, wilson
from bench.metrics.frames import Evidence, LibraryInfo, Manifest, evidence
from bench.metrics.invariants import Invariant, invariants, violations
from bench.metrics.noninferiority import Noninferiority, noninferiority
from bench.metrics.optimality import global_optimality, optimality
from bench.metrics.queries import query_curves
from bench.metrics.ranking import Leader, Recommendation, attack_scores, leaders, recommended
from bench.metrics.resample import (
    SIGNIFICANT,
    Paired,
    holm,
    median_interval,
    paired,
    ratio_interval,
    robust_accuracy_interval,
)
from bench.metrics.tables import attacked_less

METRICS: dict[str, Callable[[Evidence], pd.DataFrame]] = {
    "summary": tables.summary,
    "networks": tables.networks,
    "differences": tables.differences,
    "distances": lambda evidence: evidence.best,
    "attack_distances": lambda evidence: evidence.attacks,
    "robust_accuracy": robust_accuracy_table,
    "best_curves": best_curves,
    "attack_curves": attack_curves,
    "certified_curves": certified_curves,
    "ratios": exact.ratios,
    "exact": exact.table,
    "agreement": agree.agreement,
    "library_pairs": agree.pairs,
    "changes": changes,
    "attack_changes": attack_changes,
    "cost": cost.quality_cost,
    "query_curves": query_curves,
    "attack_order": profiles.attack_order,
    "profiles": profiles.profiles,
    "exact_profiles": lambda evidence: profiles.profiles(evidence, exact=True),
    "contributions": profiles.contributions,
    "duels": profiles.duels,
    "attack_scores": ranking.attack_scores,
    "class_medians": classes.class_medians,
    "class_changes": classes.class_changes,
}
"""Every metric of a run by its name; each documents its columns. One more is one more entry, wherever it is from."""

BUILT_IN = frozenset(METRICS)
"""The metrics of the bench itself; the report shows what was added in a section of its own."""


def summary(records: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The table of a run, one line per (network, attack): see :func:`bench.metrics.tables.summary`."""
    return tables.summary(evidence(records, manifest))


__all__ = [
    "BUILT_IN",
    "METRICS",
    "SIGNIFICANT",
    "Evidence",
    "Invariant",
    "Leader",
    "LibraryChoice",
    "LibraryInfo",
    "Manifest",
    "Noninferiority",
    "Paired",
    "Recommendation",
    "attack_scores",
    "attacked_less",
    "curve",
    "evidence",
    "found_rate",
    "front",
    "global_optimality",
    "holm",
    "invariants",
    "leaders",
    "library_choice",
    "mean_found",
    "median",
    "median_interval",
    "noninferiority",
    "optimality",
    "paired",
    "quantile",
    "ratio_interval",
    "recommended",
    "robust_accuracy",
    "robust_accuracy_interval",
    "summary",
    "violations",
    "wilson",
]
