"""How near certified bounds come to the best known distance, and how often they meet it."""

from __future__ import annotations

import numpy as np

from bench import metrics
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored
from bench.metrics.frames import meets
from bench.norms import FloatArray, Norm
from bench.records import Status
from bench.specs import Kind


def bounds(run: Stored, kind: Kind) -> list[Facts]:
    """Every row of verifiers of a kind on every network, over the attacked images.

    Args:
        run: with attacks beside the verifiers.
        kind: fixed work (``lower``), or a search with a time limit (``exact``).

    Returns:
        A line for each network and norm: ``limit`` (CPU seconds an image), ``images``, ``exact`` (how many distances are exact),
        ``seconds`` and ``slowest`` (median and 90th percentile, of searches those that end exact), ``bound`` (the median),
        ``ratio`` (minimum, median and maximum of bound over best known distance), ``left`` (the same, of images that
        are not exact; NaN where all are).
    """
    best = run.evidence.best.set_index(["network", "norm", "image"])["distance"]
    lines = []
    for row in run.manifest["rows"]:
        if row["kind"] != kind.value:
            continue
        for network in run.evidence.networks:
            records = run.records
            own = records[(records["attack"] == row["name"]) & (records["network"] == network)]
            own = own[~own["status"].isin([Status.MISCLASSIFIED.value, Status.UNSUPPORTED.value])]
            if not len(own):
                continue
            keys = [(network, row["norm"], image) for image in own["image"]]
            distance, lower = best.loc[keys].to_numpy(), own["lower"].fillna(0.0).to_numpy()
            closed, seconds = meets(lower, distance), own["seconds"].to_numpy()
            timed = seconds[closed] if kind is Kind.EXACT else seconds
            lines.append(
                {
                    "network": network,
                    "norm": row["norm"],
                    "label": Norm(row["norm"]).label,
                    "limit": row["seconds"],
                    "images": len(own),
                    "exact": int(closed.sum()),
                    "seconds": metrics.median(timed) if len(timed) else np.nan,
                    "slowest": float(np.quantile(timed, 0.9)) if len(timed) else np.nan,
                    "bound": metrics.median(lower),
                    "ratio": _ends(lower / distance),
                    "left": _ends((lower / distance)[~closed]),
                }
            )
    order = list(run.evidence.networks)
    return sorted(lines, key=lambda line: order.index(line["network"]))


def _ends(ratios: FloatArray) -> tuple[float, float, float]:
    """The smallest, the median and the largest."""
    if not len(ratios):
        return np.nan, np.nan, np.nan
    return float(ratios.min()), metrics.median(ratios), float(ratios.max())
