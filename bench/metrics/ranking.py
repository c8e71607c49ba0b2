"""Who comes first: the most robust network in each norm, and the attack to trust, each with what it rests on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics.frames import Evidence
from bench.metrics.resample import SIGNIFICANT
from bench.metrics.tables import attacked_less, compared, differences, networks, summary
from bench.norms import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The network with the largest median minimal norm, beside the one that comes next.

    Attributes:
        norm: in which.
        network: its name; empty where its median is infinite, so that no order can be given.
        unknown: the networks whose median is infinite: no adversarial example is known for half of their images.
        median, low, high: of its best known distances, with the 95 % bootstrap interval.
        first: fraction of bootstrap resamples in which its median is the largest of all networks that compare.
        other: the next network; empty where there is none.
        other_median: of that one.
        images: that both have; wins, losses: fractions of them on which the leader's distance is larger, smaller.
        median_common, other_common: medians over these images.
        p: of the paired test (Wilcoxon's signed ranks), after Holm; NaN where the two have no image in common.
        significant: p is below 0.05, and the distances that it compares are larger for the leader.
        certified: the leader's median certified lower bound; NaN where it has none.
        proved: whether the order is certain: the certified median is above the largest median of the others, which
            bounds theirs from above. None where the leader has no certified bounds or there is no other.
    """

    norm: Norm
    network: str
    unknown: tuple[str, ...] = ()
    median: float = np.nan
    low: float = np.nan
    high: float = np.nan
    first: float = np.nan
    other: str = ""
    other_median: float = np.nan
    images: int = 0
    wins: float = np.nan
    losses: float = np.nan
    median_common: float = np.nan
    other_common: float = np.nan
    p: float = np.nan
    significant: bool = False
    certified: float = np.nan
    proved: bool | None = None

    @property
    def tied(self) -> bool:
        """Whether both medians are equal."""
        return self.median == self.other_median


def leaders(
    evidence: Evidence,
    distrusted: Collection[str] = (),
    *,
    table: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
) -> tuple[Leader, ...]:
    """For each norm the most robust network among those whose distances compare.

    Left out are the distrusted, those that had fewer attacks, those that are right on no image of the run, and in each norm
    those on some of whose images nothing was run that minimises it.

    Args:
        evidence: of the run.
        distrusted: networks whose checks fail (:func:`bench.verdict.failing`): their distances are probably too large.
        table: of :func:`bench.metrics.tables.networks` of the same, to save its time.
        pairs: of :func:`bench.metrics.tables.differences` of the same.

    Returns:
        A leader for each norm in which a network is left, in the order of ``Norm``.
    """
    table = networks(evidence, distrusted) if table is None else table
    pairs = differences(evidence, distrusted) if pairs is None else pairs
    ranked = table[table["network"].isin(compared(evidence, distrusted)) & (table["misclassified"] < table["images"])]
    ranked = ranked.assign(network=ranked["network"].astype(str))
    by_product = evidence.best[~evidence.best["searched"].astype(bool)]
    pairs_left_out = set(zip(by_product["network"].astype(str), by_product["norm"].astype(str), strict=True))
    searched = [pair not in pairs_left_out for pair in zip(ranked["network"], ranked["norm"].astype(str), strict=True)]
    ranked = ranked[np.array(searched, dtype=bool)]
    groups = [(norm, ranked[ranked["norm"] == norm.value]) for norm in evidence.norms]
    return tuple(_leader(norm, lines, pairs[pairs["norm"] == norm.value]) for norm, lines in groups if len(lines))


def _leader(norm: Norm, lines: pd.DataFrame, pairs: pd.DataFrame) -> Leader:
    # Where medians are equal, the network that comes first in its pairs is larger on more images.
    wins = lines["network"].map(pairs["network_a"].value_counts()).fillna(0)
    ordered = lines.assign(wins=wins).sort_values(["median", "wins"], ascending=False, kind="stable")
    best = ordered.iloc[0]
    unknown = tuple(lines.loc[~np.isfinite(lines["median"]), "network"])
    if unknown:
        return Leader(norm=norm, network="", unknown=unknown)
    leader = Leader(
        norm=norm,
        network=best["network"],
        median=float(best["median"]),
        low=float(best["median_low"]),
        high=float(best["median_high"]),
        first=float(best["first"]),
        certified=float(best["certified"]),
    )
    if len(ordered) == 1:
        return leader
    second = ordered.iloc[1]
    proved = None if np.isnan(leader.certified) else bool(leader.certified > second["median"])
    return _beside(leader, str(second["network"]), float(second["median"]), pairs, proved=proved)


def _beside(leader: Leader, other: str, median: float, pairs: pd.DataFrame, *, proved: bool | None) -> Leader:
    """The leader with what its pair with the next network says."""
    both = [leader.network, other]
    pair = pairs[pairs["network_a"].isin(both) & pairs["network_b"].isin(both)]
    known = {
        name: getattr(leader, name) for name in ("norm", "network", "median", "low", "high", "first", "certified")
    } | {"other": other, "other_median": median, "proved": proved}
    if not len(pair):
        return Leader(**known)
    line = pair.iloc[0]
    ahead = line["network_a"] == leader.network
    wins, losses = ("wins", "losses") if ahead else ("losses", "wins")
    medians = ("median_a", "median_b") if ahead else ("median_b", "median_a")
    p = float(line["p_holm"])
    # The paired test decides; an order of medians that the pairs contradict is no order.
    larger = line["effect"] * (1 if ahead else -1) > 0
    return Leader(
        **known,
        images=int(line["images"]),
        wins=float(line[wins]),
        losses=float(line[losses]),
        median_common=float(line[medians[0]]),
        other_common=float(line[medians[1]]),
        p=p,
        significant=bool(p < SIGNIFICANT and larger),
    )


def attack_scores(evidence: Evidence, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each attack over all networks that had every attack and are right on some image that it was run on.

    Args:
        evidence: of the run.
        table: of :func:`bench.metrics.tables.summary` of the same, to save its time.

    Returns:
        Columns attack, norm, label, native; ``ratio``: the largest of its median ratios to the best known, over
        networks; NaN where one is not defined; ``found_rate``, ``seconds``: means; ``images``: the fewest;
        ``complete``: whether it was run on every image that any attack of the norm was run on, on every network.
    """
    table = summary(evidence) if table is None else table
    columns = ["attack", "norm", "label", "native", "ratio", "found_rate", "seconds", "images", "complete"]
    table = table.assign(network=table["network"].astype(str))
    table = table[table["network"].isin(table.loc[table["misclassified"] < table["images"], "network"])]
    if not len(table):
        types: dict[str, Any] = dict.fromkeys(columns[:3], object) | dict.fromkeys(columns[4:7], float)
        return pd.DataFrame(columns=columns).astype(types | {"native": bool, "complete": bool, "images": int})
    whole = table[~table["network"].isin(list(attacked_less(evidence)))]
    # Where runs of other attacks stand side by side, those networks judge that had them all.
    table = whole if len(whole) else table
    most = table.groupby(["network", "norm"])["images"].transform("max")
    table = table.assign(whole=table["images"] == most)
    count = table["network"].nunique()
    scores = table.groupby("attack", observed=True, sort=False).agg(
        norm=("norm", "first"),
        label=("label", "first"),
        native=("native", "first"),
        ratio=("ratio", lambda values: values.max(skipna=False)),
        found_rate=("found_rate", "mean"),
        seconds=("seconds", "mean"),
        images=("images", "min"),
        networks=("network", "nunique"),
        whole=("whole", "all"),
    )
    scores["complete"] = scores.pop("whole") & (scores["networks"] == count)
    return scores.reset_index()[columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The attack to trust in a norm: the smallest median ratio to the best known distance on its worst network.

    Attributes:
        norm: in which.
        attack: the row's name; empty where no attack found something on half of the images of every network.
        label: how tables print it.
        ratio: that ratio.
        found_rate, seconds: its means over networks, of and per attacked image.
        native: whether it is a library's own code, unchanged.
        among: how many attacks were run on every image, and so compared.
        faster: another attack that is nearly as good and costs less than a third of the time; None for none.
        own: the best of those that are a library's own code, where the attack itself is not; None for none.
    """

    norm: Norm
    attack: str
    label: str = ""
    ratio: float = np.nan
    found_rate: float = np.nan
    seconds: float = np.nan
    native: bool = False
    among: int = 0
    faster: Recommendation | None = None
    own: Recommendation | None = None


def recommended(evidence: Evidence, scores: pd.DataFrame | None = None) -> tuple[Recommendation, ...]:
    """For each norm the attack to trust, of those that were run on every image of every network.

    Args:
        evidence: of the run.
        scores: of :func:`attack_scores` of the same, to save its time.
    """
    scores = attack_scores(evidence) if scores is None else scores
    made = []
    for norm in evidence.norms:
        lines = scores[(scores["norm"] == norm.value) & scores["complete"]]
        usable = lines[np.isfinite(lines["ratio"])].sort_values(["ratio", "seconds"], kind="stable")
        if not len(usable):
            if len(lines):
                made.append(Recommendation(norm=norm, attack="", among=len(lines)))
            continue
        best = usable.iloc[0]
        near = usable[(usable["ratio"] <= max(1.05, best["ratio"] * 1.02)) & (usable["seconds"] < best["seconds"] / 3)]
        own = usable[usable["native"].astype(bool)]
        made.append(
            _recommendation(
                norm,
                best,
                len(lines),
                faster=_recommendation(norm, near.sort_values("seconds").iloc[0], len(lines)) if len(near) else None,
                own=_recommendation(norm, own.iloc[0], len(lines)) if len(own) and not best["native"] else None,
            )
        )
    return tuple(made)


def _recommendation(
    norm: Norm,
    line: pd.Series,
    among: int,
    faster: Recommendation | None = None,
    own: Recommendation | None = None,
) -> Recommendation:
    return Recommendation(
        norm=norm,
        attack=str(line["attack"]),
        label=str(line["label"]),
        ratio=float(line["ratio"]),
        found_rate=float(line["found_rate"]),
        seconds=float(line["seconds"]),
        native=bool(line["native"]),
        among=among,
        faster=faster,
        own=own,
    )
