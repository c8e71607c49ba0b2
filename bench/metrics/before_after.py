"""Before and after: networks of two runs compared with themselves, over all attacks together and attack by attack."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from bench.metrics.agreement import SAME, relative
from bench.metrics.distribution import median
from bench.metrics.frames import FAILURES, Evidence
from bench.metrics.resample import SIGNIFICANT, holm, paired, ratio_interval, signed_ranks
from bench.metrics.tables import attacked_less, median_ratio
from bench.norms import Norm
from bench.records import Status

LARGER, SMALLER = "larger", "smaller"
"""What became of distances, where the test confirms it."""


def changes(evidence: Evidence, left_out: Collection[str] = ()) -> pd.DataFrame:
    """Smallest distances of each network before and after, image by image, over the attacks that ended on it in both runs.

    Args:
        evidence: of runs side by side.
        left_out: networks whose checks fail: their distances are probably too large.

    Returns:
        Columns norm, name (of the network), before, after (its names in the evidence), images, median_before, median_after, difference
        (of medians, after less before), low, high (its 95 % bootstrap interval), larger_on, smaller_on: fractions of images
        on which the distance is larger, smaller, afterwards; ``p_holm``: Wilcoxon's signed-rank test, adjusted over all
        lines; NaN where one of the two had attacks that the other had not, or is left out: those distances do not compare,
        and the line counts in no adjustment; ``change``: ``larger`` or ``smaller`` where p_holm is below 0.05, else empty.
    """
    apart = {*attacked_less(evidence), *left_out}
    lines = []
    for norm in evidence.norms:
        for network, before, after in evidence.before_after:
            table = _of_both(evidence, norm, before, after)
            if not len(table):
                continue
            result = paired(table["after"].to_numpy(), table["before"].to_numpy())
            lines.append(
                {
                    "norm": norm.value,
                    "name": network,
                    "before": before,
                    "after": after,
                    "images": result.images,
                    "median_before": result.median_b,
                    "median_after": result.median_a,
                    "difference": result.difference,
                    "low": result.low,
                    "high": result.high,
                    "larger_on": result.wins,
                    "smaller_on": result.losses,
                    "effect": result.effect,
                    "p_holm": np.nan if before in apart or after in apart else result.p,
                }
            )
    columns = [
        "norm",
        "name",
        "before",
        "after",
        "images",
        "median_before",
        "median_after",
        "difference",
        "low",
        "high",
    ]
    return decided(pd.DataFrame(lines, columns=[*columns, "larger_on", "smaller_on", "effect", "p_holm"]))


def attack_changes(evidence: Evidence) -> pd.DataFrame:
    """Distances of each attack before and after, on the images that it was run on in both runs.

    Returns:
        Columns norm, name (of the network), attack, label, before, after, images (misclassified ones in either run left out),
        median_before, median_after, ratio (median over images of distance after / before), low, high (its 95 % bootstrap
        interval), larger_on, smaller_on: fractions of images on which the distance differs by more than 1 %; ``p_holm``:
        Wilcoxon's signed-rank test, adjusted over all lines; ``change``: as in :func:`changes`.
    """
    attacked = evidence.attacks[evidence.attacks["status"] != Status.MISCLASSIFIED.value]
    attacked = attacked.astype({"network": object, "attack": object})[
        ["network", "attack", "norm", "image", "distance"]
    ]
    labels = dict(zip(evidence.rows["attack"], evidence.rows["label"], strict=True))
    lines = []
    for network, before, after in evidence.before_after:
        old, new = (attacked[attacked["network"] == name].drop(columns="network") for name in (before, after))
        both = old.merge(new, on=["norm", "attack", "image"], suffixes=("_before", "_after"))
        for (norm, attack), group in both.groupby(["norm", "attack"], sort=False):
            a, b = group["distance_after"].to_numpy(), group["distance_before"].to_numpy()
            ratios = relative(a, b)
            low, high = ratio_interval(ratios)
            effect, p = signed_ranks(a, b)
            lines.append(
                {
                    "norm": norm,
                    "name": network,
                    "attack": attack,
                    "label": labels[attack],
                    "before": before,
                    "after": after,
                    "images": len(group),
                    "median_before": median(b),
                    "median_after": median(a),
                    "ratio": median_ratio(ratios),
                    "low": low,
                    "high": high,
                    "larger_on": float((ratios > 1 + SAME).mean()),
                    "smaller_on": float((ratios < 1 - SAME).mean()),
                    "effect": effect,
                    "p_holm": p,
                }
            )
    columns = [
        "norm",
        "name",
        "attack",
        "label",
        "before",
        "after",
        "images",
        "median_before",
        "median_after",
        "ratio",
    ]
    columns += ["low", "high", "larger_on", "smaller_on", "effect", "p_holm"]
    table = decided(pd.DataFrame(lines, columns=columns))
    rank = {norm.value: place for place, norm in enumerate(Norm)}
    return table.sort_values(["norm"], key=lambda norms: norms.map(rank), kind="stable").reset_index(drop=True)


def _of_both(evidence: Evidence, norm: Norm, before: str, after: str) -> pd.DataFrame:
    """Columns before, after: the smallest distances of the images on which something that minimises the norm ended in both."""
    records = evidence.records[~evidence.records["status"].isin([failure.value for failure in FAILURES])]
    of_norm = records["norm"].astype(str) == norm.value
    ended = records.astype({"network": object, "attack": object}).assign(searches=of_norm)
    old, new = (
        ended.loc[ended["network"] == name, ["attack", "image", "searches", norm.value]] for name in (before, after)
    )
    both = old.merge(new.drop(columns="searches"), on=["attack", "image"], suffixes=("_before", "_after"))
    table = both.groupby("image").agg(
        before=(f"{norm.value}_before", "min"), after=(f"{norm.value}_after", "min"), searches=("searches", "any")
    )
    return table[table["searches"].astype(bool)]


def decided(table: pd.DataFrame) -> pd.DataFrame:
    """A table of paired tests with p adjusted after Holm, and what they confirm.

    Args:
        table: columns ``p_holm``, not adjusted yet and NaN for what is no test, and ``effect``, positive for larger.

    Returns:
        The same with ``p_holm`` adjusted, and ``change``: ``larger``, ``smaller`` or empty.
    """
    adjusted = holm(table["p_holm"].to_numpy(dtype=np.float64))
    sure = adjusted < SIGNIFICANT
    change = np.select([sure & (table["effect"] > 0), sure & (table["effect"] < 0)], [LARGER, SMALLER], "")
    return table.assign(p_holm=adjusted, change=change)
