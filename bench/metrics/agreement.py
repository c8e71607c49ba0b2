"""Agreement between libraries: the same method, implemented by two of them, on the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bench.metrics.distribution import FloatArray
from bench.metrics.frames import Evidence
from bench.metrics.resample import SIGNIFICANT, holm, ratio_interval, signed_ranks, smallest_p
from bench.metrics.tables import median_ratio
from bench.records import Status

SAME = 0.01
"""Distances within 1 % of one another count as equal."""

BUDGET = 0.8
"""The library with the larger distances had this part of the other's queries at least, or no verdict is given."""

_POINTS = ["network", "norm", "title", "slug", "library_a", "library_b", "attack_a", "attack_b", "image"]


def pairs(evidence: Evidence) -> pd.DataFrame:
    """Distances of one method in two libraries, image by image.

    Only what is the libraries' own is compared: no port, no repaired or other variant, nothing of a library of ours.

    Returns:
        Columns network, norm, title and slug of the method, library_a, library_b, attack_a, attack_b, image,
        distance_a, distance_b, queries_a, queries_b: forward and backward passes for the image. Images are those that both rows were run on. Misclassified images are left out: nothing
        was attacked there.
    """
    rows = evidence.rows[evidence.rows["native"].astype(bool)]
    records = evidence.attacks
    attacked = records[records["status"] != Status.MISCLASSIFIED.value]
    attacked = attacked.assign(queries=attacked["forwards"] + attacked["backwards"])
    measured = ["network", "image", "distance", "queries"]
    parts = []
    for (norm, slug), group in rows.groupby(["norm", "slug"], sort=False):
        for one, two in combinations(group.sort_values("library", kind="stable").to_dict("records"), 2):
            if one["library"] == two["library"]:
                continue
            a = attacked.loc[attacked["attack"] == one["attack"], measured]
            b = attacked.loc[attacked["attack"] == two["attack"], measured]
            both = a.merge(b, on=["network", "image"], suffixes=("_a", "_b"))
            parts.append(
                both.assign(
                    norm=norm,
                    title=one["title"],
                    slug=slug,
                    library_a=one["library"],
                    library_b=two["library"],
                    attack_a=one["attack"],
                    attack_b=two["attack"],
                )
            )
    columns = [*_POINTS, "distance_a", "distance_b", "queries_a", "queries_b"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def relative(a: FloatArray, b: FloatArray) -> FloatArray:
    """Ratios a / b of distances above 0 or infinite: 1 where both are infinite, 0 or +inf where one is."""
    ratios: FloatArray = np.divide(a, b, out=np.ones(len(a)), where=~(np.isinf(a) & np.isinf(b)))
    return ratios


def agreement(evidence: Evidence) -> pd.DataFrame:
    """Whether two implementations of one method find the same distances, network by network.

    Returns:
        Columns network, norm, title, slug, library_a, library_b, attack_a, attack_b; ``images``; ``ratio``: median of
        distance_a / distance_b over images, ``low``, ``high``: its 95 % bootstrap interval; ``wins_a``, ``wins_b``:
        fraction of images on which one is smaller by more than 1 %; ``effect``: matched-pairs rank-biserial correlation,
        positive where a finds larger distances; ``p_holm``: Wilcoxon's signed-rank test, adjusted over all lines;
        ``queries_a``, ``queries_b``: mean forward and backward passes for an image; ``larger``: the library that finds
        larger distances, if the median ratio differs from 1 by more than 1 % and p_holm is below 0.05, else empty;
        ``worse``: the same, where it had no smaller budget: at least ``BUDGET`` of the other's queries.
    """
    lines = []
    keys = ["norm", "slug", "attack_a", "attack_b", "network"]
    for _, group in pairs(evidence).groupby(keys, observed=True, sort=False):
        a, b = group["distance_a"].to_numpy(), group["distance_b"].to_numpy()
        ratios = relative(a, b)
        low, high = ratio_interval(ratios)
        effect, p = signed_ranks(a, b)
        first = group.iloc[0]
        lines.append(
            {name: first[name] for name in _POINTS[:-1]}
            | {
                "images": len(group),
                "ratio": median_ratio(ratios),
                "low": low,
                "high": high,
                "wins_a": float((ratios < 1 - SAME).mean()),
                "wins_b": float((ratios > 1 + SAME).mean()),
                "effect": effect,
                "p_holm": p,
                "queries_a": float(group["queries_a"].mean()),
                "queries_b": float(group["queries_b"].mean()),
            }
        )
    columns = [*_POINTS[:-1], "images", "ratio", "low", "high", "wins_a", "wins_b", "effect", "p_holm"]
    columns += ["queries_a", "queries_b"]
    table = pd.DataFrame(lines, columns=columns)
    table["p_holm"] = holm(table["p_holm"].to_numpy(dtype=np.float64))
    differs = ((table["ratio"] - 1).abs() > SAME) & (table["p_holm"] < SIGNIFICANT)
    # A significant test whose direction contradicts the median ratio names no one.
    larger_a = differs & (table["ratio"] > 1) & (table["effect"] > 0)
    larger_b = differs & (table["ratio"] < 1) & (table["effect"] < 0)
    names = [table["library_a"], table["library_b"]]
    table["larger"] = np.select([larger_a, larger_b], names, "")
    fair_a = table["queries_a"] >= BUDGET * table["queries_b"]
    fair_b = table["queries_b"] >= BUDGET * table["queries_a"]
    table["worse"] = np.select([larger_a & fair_a, larger_b & fair_b], names, "")
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryChoice:
    """Which library to use, by the methods that two or more of them implement.

    Attributes:
        methods: how many (method, norm) were compared.
        compared: library -> how many of them it takes part in; empty where no method has two implementations.
        worse: library -> on how many of its methods it finds significantly larger distances than another's, with no
            smaller budget.
        unequal: on how many methods a library finds significantly larger distances with a smaller budget only, so that
            nothing is concluded.
        best: libraries with the smallest fraction of such methods; empty where nothing is settled.
        reachable: the smallest p that Holm's adjustment of these tests could reach with so many images; from 0.05 on no
            difference could be confirmed, so that nothing is settled. NaN where nothing was compared.
    """

    methods: int
    compared: Mapping[str, int]
    worse: Mapping[str, int]
    unequal: int
    best: tuple[str, ...]
    reachable: float

    @property
    def settled(self) -> bool:
        """Whether the test could have found a difference."""
        return self.reachable < SIGNIFICANT


def library_choice(evidence: Evidence, table: pd.DataFrame | None = None) -> LibraryChoice:
    """Which library to use; it rests on :func:`agreement`, whose table may be given.

    Args:
        evidence: of the run.
        table: of :func:`agreement` of the same, to save its time.
    """
    table = agreement(evidence) if table is None else table
    names = [name for name in evidence.libraries if name in {*table["library_a"], *table["library_b"]}]
    compared, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    cells = table.groupby(["norm", "slug"], sort=False)
    unequal = sum(bool(((group["larger"] != "") & (group["worse"] == "")).any()) for _, group in cells)
    for _, group in cells:
        for name in {*group["library_a"], *group["library_b"]}:
            compared[name] += 1
            worse[name] += bool((group["worse"] == name).any())
    smallest = holm(np.array([smallest_p(int(images)) for images in table["images"]], dtype=np.float64))
    reachable = float(smallest.min()) if len(smallest) else float("nan")
    fractions = {name: worse[name] / compared[name] for name in names}
    fewest = min(fractions.values(), default=0.0)
    best = tuple(name for name in names if fractions[name] == fewest) if reachable < SIGNIFICANT else ()
    return LibraryChoice(
        methods=len(cells), compared=compared, worse=worse, unequal=unequal, best=best, reachable=reachable
    )
