"""Attacks beside one another over all networks: their order, how near they come, and who is needed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics import distribution as dist
from bench.metrics import tables
from bench.metrics.frames import Evidence
from bench.metrics.tables import LEAST_GAIN, with_best

_DESCRIBED = ["attack", "label", "title", "library"]
POINTS = 60
"""At most so many steps of a profile."""


def attack_order(evidence: Evidence, summary: pd.DataFrame | None = None) -> pd.DataFrame:
    """The attacks of each norm, best first, the libraries' versions of one method beside each other.

    Args:
        evidence: of the run.
        summary: of :func:`bench.metrics.tables.summary` of the same, to save its time.

    Returns:
        Columns norm, attack, score, complete, number. ``score`` is the median over networks of the attack's median ratio to
        the best known distance, +inf where it is not defined; ``complete``: on each network that it was run on it was run
        on as many images as any attack of the norm. What was not compares with nothing, and comes after what was. A method stands where its best version does.
        ``number`` counts from 1 in each norm.
    """
    summary = tables.summary(evidence) if summary is None else summary
    scores = summary.assign(score=summary["ratio"].fillna(np.inf)).groupby("attack", observed=True)["score"]
    table = evidence.rows[["norm", "attack", "slug"]].drop_duplicates("attack")
    table = table[table["attack"].isin(summary["attack"])]
    most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
    whole = (summary["images"] == most).groupby(summary["attack"], observed=True).all()
    table = table.assign(
        score=table["attack"].map(scores.agg(dist.median)).astype(np.float64),
        complete=table["attack"].map(whole).astype(bool),
    )
    table["partial"] = ~table["complete"]
    # A method as a whole: whether any version is complete, the best score of these, the first of the plan where equal.
    methods = table.groupby(["norm", "slug"], sort=False)
    table["late"] = methods["partial"].transform("min")
    usable = table["score"].where(table["partial"] == table["late"], np.inf)
    table["best"] = usable.groupby([table["norm"], table["slug"]]).transform("min")
    table["first"] = methods.ngroup()
    ordered = table.sort_values(["late", "best", "first", "partial", "score"], kind="stable")
    norms = [ordered[ordered["norm"] == norm.value] for norm in evidence.norms]
    ordered = pd.concat(norms, ignore_index=True) if norms else ordered
    return ordered.assign(number=ordered.groupby("norm").cumcount() + 1)[
        ["norm", "attack", "score", "complete", "number"]
    ]


def profiles(evidence: Evidence, *, exact: bool = False) -> pd.DataFrame:
    """How near each attack comes, over all networks: the distribution of its ratio to the best known distance.

    Args:
        evidence: of the run.
        exact: only images whose exact distance is known, so that the ratio is that to the truth.

    Returns:
        Columns norm, attack, label, title, library; ``pairs``: of a network and an image whose best known distance is
        finite and above 0, that the attack was run on; ``ratio`` ascending, beginning with 1, and ``fraction`` of the pairs
        with at most that ratio: a step curve (a performance profile, Dolan and Moré 2002). A ratio within a solver's
        tolerance below 1 counts as 1; what was not found has none, so that a curve may end below 1.
    """
    content = with_best(evidence)
    usable = (content["best"] > 0) & np.isfinite(content["best"])
    content = content[usable & content["exact"].fillna(value=False).astype(bool)] if exact else content[usable]
    parts = []
    for (norm, attack), group in content.groupby(["norm", "attack"], observed=True):
        ratios = np.maximum(group["distance"].to_numpy() / group["best"].to_numpy(), 1.0)
        steps, above = dist.curve(ratios, POINTS)
        steps[0] = 1.0
        lines = pd.DataFrame({"ratio": steps, "fraction": 1 - above}).drop_duplicates("ratio", keep="last")
        parts.append(lines.assign(norm=norm, attack=attack, pairs=len(group)))
    columns = ["norm", "attack", "pairs", "ratio", "fraction"]
    table = pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
    described = evidence.rows[_DESCRIBED]
    return table.astype({"norm": object, "attack": object}).merge(described, on="attack", how="left")


def contributions(evidence: Evidence, order: pd.DataFrame | None = None) -> pd.DataFrame:
    """Who contributes to the best known distances, and how few attacks reach them.

    A pair of a network and an image counts where its best known distance is finite and above 0. An attack *reaches* it at
    no more than 1.001 times that distance. The attacks stand in a greedy order: each is the one that reaches most of what
    those before it miss; of several the one that reaches more, then the first of :func:`attack_order`.

    Args:
        evidence: of the run.
        order: of :func:`attack_order` of the same, to save its time.

    Returns:
        Columns norm, attack, label, title, library; ``pairs``: all that count; ``reaches``: the fraction of them that the
        attack reaches; ``alone``: that it reaches, and on which it is nearer by more than 0.1 % than every other attack of
        the norm; ``together``: that it or one of those before it reaches.
    """
    content = with_best(evidence)
    content = content[(content["best"] > 0) & np.isfinite(content["best"])]
    order = attack_order(evidence) if order is None else order
    lines = []
    for norm in evidence.norms:
        own = content[content["norm"] == norm.value]
        attacks = [name for name in order.loc[order["norm"] == norm.value, "attack"] if (own["attack"] == name).any()]
        if not attacks:
            continue
        keys = ["network", "image"]
        wide = own.assign(network=own["network"].astype(str), attack=own["attack"].astype(str))
        wide = wide.pivot_table(index=keys, columns="attack", values="distance", aggfunc="first")[attacks]
        best = own.assign(network=own["network"].astype(str)).groupby(keys)["best"].first()[wide.index].to_numpy()
        distance = np.where(wide.isna(), np.inf, wide.to_numpy(dtype=np.float64))
        lines += _greedy(norm.value, attacks, distance, best)
    columns = ["norm", "attack", "pairs", "reaches", "alone", "together"]
    return pd.DataFrame(lines, columns=columns).merge(evidence.rows[_DESCRIBED], on="attack", how="left")


def _greedy(norm: str, attacks: list[str], distance: dist.FloatArray, best: dist.FloatArray) -> list[dict[str, object]]:
    """Lines of :func:`contributions` of one norm; distance is (pairs, attacks), best (pairs,)."""
    reaches = distance <= best[:, None] * LEAST_GAIN
    ordered = np.sort(distance, axis=1)
    second = ordered[:, 1] if len(attacks) > 1 else np.full(len(best), np.inf)
    alone = reaches & (distance == ordered[:, :1]) & (ordered[:, :1] * LEAST_GAIN < second[:, None])
    covered, left, lines = np.zeros(len(best), dtype=bool), list(range(len(attacks))), []
    while left:
        place = max(left, key=lambda i: ((reaches[:, i] & ~covered).sum(), reaches[:, i].sum(), -i))
        left.remove(place)
        covered |= reaches[:, place]
        fractions = {"reaches": reaches[:, place].mean(), "alone": alone[:, place].mean(), "together": covered.mean()}
        lines.append(
            {"norm": norm, "attack": attacks[place], "pairs": len(best)}
            | {name: float(value) for name, value in fractions.items()}
        )
    return lines


DUELS = 6
"""Of more networks than this, those with the largest medians are set against each other."""


def duels(evidence: Evidence) -> pd.DataFrame:
    """Best known distances of two networks, image by image, for every pair of networks.

    Returns:
        Columns norm, network_a, network_b (a has the larger median over the images of both), image, distance_a,
        distance_b, on the images on which something that minimises the norm was run on both. Of more than six networks the
        six with the largest medians.
    """
    parts = []
    for norm in evidence.norms:
        own = evidence.best[(evidence.best["norm"] == norm.value) & evidence.best["searched"].astype(bool)]
        wide = own.assign(network=own["network"].astype(str))
        wide = wide.pivot_table(index="image", columns="network", values="distance", aggfunc="first", observed=True)
        medians = {name: dist.median(wide[name].dropna()) for name in evidence.networks if name in wide}
        names = sorted(medians, key=lambda name: -medians[name])[:DUELS]
        for place, one in enumerate(names):
            for two in names[place + 1 :]:
                both = wide[[one, two]].dropna()
                larger, smaller = one, two
                if dist.median(both[two]) > dist.median(both[one]):
                    larger, smaller = two, one
                lines = both[[larger, smaller]].set_axis(["distance_a", "distance_b"], axis=1).reset_index()
                parts.append(lines.assign(norm=norm.value, network_a=larger, network_b=smaller))
    columns = ["norm", "network_a", "network_b", "image", "distance_a", "distance_b"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
