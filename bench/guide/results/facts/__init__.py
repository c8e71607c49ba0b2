"""What the chapters say, counted from the reference runs: plain values that templates of any language write out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.guide.results.facts import bounds, comparisons, library, methods, nearest, networks, weakness
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored, with_exact
from bench.specs import Kind


def everything(runs: Mapping[str, Stored], paths: Mapping[str, Any] | None) -> Facts:
    """All that the chapters say.

    Args:
        runs: from :func:`bench.guide.results.stored.load`.
        paths: what ``bench.guide.paths`` wrote; None where it is not stored.
    """
    main = runs["minimal_norm"]
    joined = with_exact(main, runs.get("exact"))
    return {
        "run": networks.about(main),
        "abouts": {name: networks.about(run) for name, run in runs.items()},
        "training": networks.training(main),
        "methods": methods.methods(main, paths),
        "failed": {name: comparisons.failed_checks(run) for name, run in runs.items()},
        "norms": [comparisons.norm_facts(main, norm) for norm in main.evidence.norms],
        "dropout": {name: comparisons.dropout(run) for name, run in runs.items() if comparisons.has_pairs(run)},
        "correlations": comparisons.correlations(main),
        "best": nearest.best_attacks(main),
        "attacks": {norm.value: nearest.attacks(joined, norm) for norm in main.evidence.norms},
        "exact": nearest.exact(joined) or None,
        "solved": nearest.solved(joined),
        "lower": bounds.bounds(main, Kind.LOWER),
        "searches": {name: lines for name, run in runs.items() if (lines := bounds.bounds(run, Kind.EXACT))},
        "agreement": library.agreement(main),
        "library": library.library(main),
        "defects": library.defects(main),
        "usual": {name: lines for name, run in runs.items() if (lines := weakness.usual(run))},
        "classes": weakness.classes(runs.get("whole_test", main)),
        "medians": {name: comparisons.medians(run) for name, run in runs.items()},
        "confirmed": comparisons.confirmed(runs),
        "defended": comparisons.defended(runs["defended"]) if "defended" in runs else None,
    }


__all__ = ["Facts", "everything"]
