"""Quality against cost: what a better distance is paid with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.metrics import tables
from bench.metrics.frames import Evidence


def front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """The Pareto front: points that no other point beats.

    Args:
        cost, quality: (n,) each, smaller is better; NaN is never on the front.

    Returns:
        (n,) True where no other point is at most as large in both and smaller in one.
    """
    price, value = np.asarray(cost, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    known = ~(np.isnan(price) | np.isnan(value))
    no_worse = (price[:, None] <= price) & (value[:, None] <= value)
    better = (price[:, None] < price) | (value[:, None] < value)
    beaten = (no_worse & better & known[:, None]).any(axis=0)
    return np.asarray(known & ~beaten)


def quality_cost(evidence: Evidence) -> pd.DataFrame:
    """Each attack's median ratio to the best known distance beside its cost, network by network.

    Returns:
        Columns network, norm, attack, label, title, library, ratio, found_rate, seconds, forwards, backwards,
        images, and ``front``: on the Pareto front of (seconds, ratio) of its network and norm.
    """
    table = tables.summary(evidence)
    columns = ["network", "norm", "attack", "label", "title", "library", "ratio", "found_rate", "seconds"]
    result = table[[*columns, "forwards", "backwards", "images"]].copy()
    result["front"] = False
    for _, group in result.groupby(["network", "norm"], observed=True):
        usable = np.isfinite(group["ratio"])
        result.loc[group.index, "front"] = front(group["seconds"], group["ratio"].where(usable))
    return result
