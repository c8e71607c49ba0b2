"""Attacks measured against the truth: their ratio to the exact distance, or to the interval that holds it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.distribution import quantiles
from bench.metrics.frames import Evidence
from bench.metrics.tables import with_best

_COLUMNS = ["network", "norm", "attack", "library", "image", "distance", "ratio", "most", "exact"]


def ratios(evidence: Evidence) -> pd.DataFrame:
    """Each attack's distance over the true one, image by image, where a certified bound is known.

    The true distance lies in [lower bound, best known]. So the ratio lies in [distance / best, distance / lower];
    where the bounds meet (``exact``) both are the ratio to the exact distance.

    Returns:
        Columns network, norm, attack, library, image, distance, ``ratio`` (to the best known: the least it can be),
        ``most`` (to the lower bound: the most it can be), ``exact``. Misclassified images are left out.
    """
    content = with_best(evidence)
    usable = (content["lower_best"] > 0) & (content["best"] > 0) & np.isfinite(content["best"])
    content = content[usable]
    ratio = content["distance"] / content["best"]
    most = np.where(content["exact"], ratio, content["distance"] / content["lower_best"])
    return pd.DataFrame(content.assign(ratio=ratio, most=most)[_COLUMNS].reset_index(drop=True))


def table(evidence: Evidence) -> pd.DataFrame:
    """The ratios summed up by network and attack.

    Returns:
        Columns network, norm, attack, label, library; over solved images (exact distance known): ``solved``,
        ``median``, ``p90``, ``largest`` ratio, ``within``: fraction with a ratio of at most 1.01; over the others:
        ``open``, and ``open_least``, ``open_most``: medians of the ends of the interval. NaN for no images.
    """
    lines = []
    content = ratios(evidence)
    for (network, norm, attack), group in content.groupby(["network", "norm", "attack"], observed=True):
        solved = np.sort(group.loc[group["exact"], "ratio"].to_numpy())
        rest = group[~group["exact"]]
        marks = quantiles(solved, np.array([0.5, 0.9, 1.0])) if len(solved) else np.full(3, np.nan)
        ends = [
            float(quantiles(np.sort(rest[name].to_numpy()), np.array([0.5]))[0]) if len(rest) else np.nan
            for name in ("ratio", "most")
        ]
        lines.append(
            {
                "network": network,
                "norm": norm,
                "attack": attack,
                "solved": len(solved),
                "median": marks[0],
                "p90": marks[1],
                "largest": marks[2],
                "within": float((solved <= 1.01).mean()) if len(solved) else np.nan,
                "open": len(rest),
                "open_least": ends[0],
                "open_most": ends[1],
            }
        )
    columns = ["network", "norm", "attack", "solved", "median", "p90", "largest", "within", "open", "open_least"]
    result = pd.DataFrame(lines, columns=[*columns, "open_most"])
    return result.merge(evidence.rows[["attack", "label", "library"]], on="attack", how="left")
