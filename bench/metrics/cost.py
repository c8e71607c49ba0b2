"""Quality against cost: what a better distance is paid with."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bench.metrics import inputs, tables
from bench.metrics.frames import Evidence


def front(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.bool_]:
    """The Pareto front: points that no other point beats.

    Args:
        cost, quality: (n,) each, smaller is better; NaN is never on the front.

    Returns:
        (n,) True where no other point is at most as large in both and smaller in one.

    Raises:
        ValueError: the lengths differ, they are no numbers, or both are columns of tables that share labels in another
            order.
    """
    inputs.check_pairs(cost, quality, "cost and quality")
    price, value = (inputs.vector(*one).astype(np.float64) for one in ((cost, "cost"), (quality, "quality")))
    if len(price) != len(value):
        raise ValueError(f"{len(price)} costs and {len(value)} qualities: one of each per point is needed")
    known = np.flatnonzero(~(np.isnan(price) | np.isnan(value)))
    prices, place = np.unique(price[known], return_inverse=True)
    # The best quality at each price, and at any lower one.
    least = np.full(len(prices), np.inf)
    np.minimum.at(least, place, value[known])
    before = np.minimum.accumulate(np.concatenate([[np.inf], least]))[place]
    on = np.zeros(len(price), dtype=bool)
    on[known] = (value[known] == least[place]) & ((value[known] < before) | (place == 0))
    return on


def quality_cost(evidence: Evidence) -> pd.DataFrame:
    """Each attack's median ratio to the best known distance beside its cost, network by network.

    Returns:
        Columns network, norm, attack, label, title, library, ratio, found_rate, seconds, forwards, backwards,
        images; ``passes``: forwards + backwards; ``front``, ``front_passes``: on the Pareto front of (seconds, ratio), of
        (passes, ratio), of its network and norm.
    """
    table = tables.summary(evidence)
    columns = ["network", "norm", "attack", "label", "title", "library", "ratio", "found_rate", "seconds"]
    result = table[[*columns, "forwards", "backwards", "images"]].copy()
    result["passes"] = result["forwards"] + result["backwards"]
    for name, cost in (("front", "seconds"), ("front_passes", "passes")):
        result[name] = False
        for _, group in result.groupby(["network", "norm"], observed=True):
            usable = np.isfinite(group["ratio"])
            result.loc[group.index, name] = front(group[cost], group["ratio"].where(usable))
    return result
