"""Tables of one run: each row of the plan summed up, the networks compared, the best known per network and norm."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from bench.metrics import distribution as dist
from bench.metrics.frames import FAILURES, Evidence
from bench.metrics.optimality import optimality
from bench.metrics.resample import holm, median_interval, paired, ratio_interval, resampled_medians
from bench.norms import Norm
from bench.records import Status

LEAST_GAIN = 1.001
"""How many times nearer an attack has to be than cheaper ones to add something."""


def summary(evidence: Evidence) -> pd.DataFrame:
    """One line per (network, attack) with records: its distances, found rate, cost and quality.

    Returns:
        Columns network, attack, label, title, library, norm, family, access, origin, native; ``images``, ``misclassified``,
        ``found``, ``not_found``, ``failed`` (invalid, error, timeout): counts; ``found_rate``: of the images that were
        attacked, NaN for none; ``q1``, ``median``, ``q3`` over all images, misclassified ones as 0 and what was not
        found as +inf; ``median_low``, ``median_high``: 95 % bootstrap interval; ``mean_found``: mean of the finite
        distances; ``ratio``: median ratio to the best known distance, over images with one above 0, ``ratio_low``,
        ``ratio_high``: its interval; ``optimality``: local optimality, NaN where it is not defined; ``seen_nearer``: of
        the images on which the attack was watched, the fraction on which an adversarial point nearer than the candidate
        by more than 1 % passed through the network, NaN for none; ``seconds``, ``forwards``, ``backwards``: means per
        attacked image; ``adds``: of the attacked images, the fraction on which the attack is nearer by more than 0.1 % than
        every attack of its norm that takes less time on the network, NaN for no image.
    """
    attacks = with_best(evidence)
    lines = []
    for (network, attack), group in attacks.groupby(["network", "attack"], observed=True):
        distance = group["distance"].to_numpy()
        best = group["best"].to_numpy()
        status = group["status"]
        misclassified = (status == Status.MISCLASSIFIED.value).to_numpy()
        attacked = int((~misclassified).sum())
        found = int((status == Status.FOUND.value).sum())
        ratios = ratio(distance, best)
        quarter = dist.quantiles(np.sort(distance), np.array([0.25, 0.5, 0.75]))
        low, high = median_interval(distance)
        ratio_low, ratio_high = ratio_interval(ratios)
        lines.append(
            {
                "network": network,
                "attack": attack,
                "images": len(group),
                "misclassified": int(misclassified.sum()),
                "found": found,
                "not_found": int((status == Status.NOT_FOUND.value).sum()),
                "failed": int(status.isin([failure.value for failure in FAILURES]).sum()),
                "found_rate": found / attacked if attacked else np.nan,
                "q1": quarter[0],
                "median": quarter[1],
                "q3": quarter[2],
                "median_low": low,
                "median_high": high,
                "mean_found": dist.mean_found(distance),
                "ratio": median_ratio(ratios),
                "ratio_low": ratio_low,
                "ratio_high": ratio_high,
                "optimality": optimality(distance, best),
                "seen_nearer": _seen_nearer(distance, group["best_seen"].to_numpy(dtype=np.float64)),
                **{
                    cost: float(group[cost].to_numpy()[~misclassified].mean()) if attacked else np.nan
                    for cost in ("seconds", "forwards", "backwards")
                },
            }
        )
    names = ["network", "attack", "images", "misclassified", "found", "not_found", "failed", "found_rate", "q1"]
    names += ["median", "q3", "median_low", "median_high", "mean_found", "ratio", "ratio_low", "ratio_high"]
    names += ["optimality", "seen_nearer", "seconds", "forwards", "backwards"]
    table = pd.DataFrame(lines, columns=names)
    table = table.merge(_adds(attacks, table), on=["network", "attack"], how="left")
    described = evidence.rows[["attack", "label", "title", "library", "norm", "family", "access", "origin", "native"]]
    return table.merge(described, on="attack", how="left")


def _adds(attacks: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Columns network, attack, ``adds``, for every line of a summary."""
    attacked = attacks[attacks["status"] != Status.MISCLASSIFIED.value]
    lines = []
    for (network, _), group in attacked.groupby(["network", "norm"], observed=True):
        distances = group.pivot_table(index="image", columns="attack", values="distance", observed=True, sort=False)
        seconds = table[table["network"] == network].set_index("attack")["seconds"]
        cost = seconds.reindex(distances.columns).to_numpy()
        values = distances.to_numpy()
        for place, attack in enumerate(distances.columns):
            had = ~np.isnan(values[:, place])
            cheaper = np.where(np.isnan(values), np.inf, values)[np.ix_(had, cost < cost[place])]
            nearer = values[had, place] < cheaper.min(axis=1, initial=np.inf) / LEAST_GAIN
            lines.append({"network": network, "attack": attack, "adds": float(nearer.mean())})
    return pd.DataFrame(lines, columns=["network", "attack", "adds"])


def _seen_nearer(distance: dist.FloatArray, seen: dist.FloatArray) -> float:
    watched = ~np.isnan(seen)
    return float((seen[watched] < 0.99 * distance[watched]).mean()) if watched.any() else np.nan


def with_best(evidence: Evidence) -> pd.DataFrame:
    """The attacks' records with ``best``, ``lower_best`` and ``exact`` of the same network, norm and image."""
    best = evidence.best.rename(columns={"distance": "best", "lower": "lower_best"})
    parts = []
    for norm in evidence.norms:
        records = evidence.attacks[evidence.attacks["norm"] == norm.value]
        there = best[best["norm"] == norm.value][["network", "image", "best", "lower_best", "exact"]]
        parts.append(records.merge(there, on=["network", "image"], how="left"))
    return pd.concat(parts, ignore_index=True) if parts else evidence.attacks.assign(best=1.0, lower_best=0.0)


def ratio(distances: dist.FloatArray, best: dist.FloatArray) -> dist.FloatArray:
    """Distance over best known distance, image by image; NaN where the best is 0 or unknown (infinite)."""
    usable = (best > 0) & np.isfinite(best)
    ratios: dist.FloatArray = np.divide(distances, best, out=np.full(len(best), np.nan), where=usable)
    return ratios


def median_ratio(ratios: dist.FloatArray) -> float:
    """The median of ratios without NaN; NaN for none."""
    values = np.sort(ratios[~np.isnan(ratios)])
    return float(dist.quantiles(values, np.array([0.5]))[0]) if len(values) else float("nan")


def networks(evidence: Evidence, left_out: Collection[str] = ()) -> pd.DataFrame:
    """One line per (network, norm): what is known of it from all attacks and bounds together.

    Args:
        evidence: of the run.
        left_out: networks whose distances do not compare, besides those that had fewer attacks (:func:`compared`).

    Returns:
        Columns network, norm, ``images``, ``misclassified``, ``found`` (images with a known adversarial example, or
        misclassified), ``q1``, ``median``, ``q3``, ``median_low``, ``median_high`` of the best known distances;
        ``certified``: the median certified lower bound, NaN when the run has none; ``exact``: images whose distance
        is known; ``bounded``: images with a certified bound above 0; ``pixels``: median number of pixels that the best
        known candidates change, where the norm counts values and there is more than one channel, else NaN; ``first``:
        fraction of bootstrap resamples (of the images common to all networks that compare) in which the network's
        median is the largest, ties divided; NaN for a network that is left out.
    """
    lines = []
    bounded, channels = evidence.bounded, evidence.domain.pixels < evidence.domain.size
    for (network, norm), group in evidence.best.groupby(["network", "norm"], observed=True):
        distance = np.sort(group["distance"].to_numpy())
        quarter = dist.quantiles(distance, np.array([0.25, 0.5, 0.75]))
        low, high = median_interval(distance)
        lower = group["lower"].to_numpy()
        certified = (str(network), str(norm)) in bounded and bool(
            ((lower > 0) | group["misclassified"].to_numpy()).any()
        )
        lines.append(
            {
                "network": network,
                "norm": norm,
                "images": len(group),
                "misclassified": int(group["misclassified"].sum()),
                "found": int(np.isfinite(distance).sum()),
                "q1": quarter[0],
                "median": quarter[1],
                "q3": quarter[2],
                "median_low": low,
                "median_high": high,
                "certified": dist.median(lower) if certified else np.nan,
                "exact": int((group["exact"] & ~group["misclassified"]).sum()),
                "bounded": int((lower > 0).sum()),
                "pixels": dist.median(group["pixels"].to_numpy()) if channels and Norm(str(norm)).counts else np.nan,
            }
        )
    columns = ["network", "norm", "images", "misclassified", "found", "q1", "median", "q3", "median_low"]
    columns += ["median_high", "certified", "exact", "bounded", "pixels"]
    table = pd.DataFrame(lines, columns=columns).astype({"network": object, "norm": object})
    first = pd.concat([_first(evidence, norm, left_out) for norm in evidence.norms]) if evidence.norms else None
    if first is None:
        return table.assign(first=np.nan)
    return in_order(table.merge(first, on=["network", "norm"], how="left"), evidence)


def attacked_less(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Networks that fewer attacks were run on than on others: their distances are too large to compare.

    Returns:
        Network -> (number of its attacks, number of all). Empty where every network with records had every attack.
    """
    had = evidence.attacks.groupby("network", observed=True)["attack"].nunique()
    every = int(evidence.attacks["attack"].nunique())
    return {str(name): (int(number), every) for name, number in had.items() if number < every}


def compared(evidence: Evidence, left_out: Collection[str] = ()) -> list[str]:
    """The networks whose distances compare: those with every attack, that are not left out for another reason."""
    less = attacked_less(evidence)
    return [name for name in evidence.networks if name not in less and name not in left_out]


def wide(evidence: Evidence, norm: Norm, networks: Sequence[str]) -> pd.DataFrame:
    """Best known distances, image by network, of the images that all of these networks with records have.

    An image counts where something that minimises the norm was run on it.
    """
    best = evidence.best[evidence.best["searched"].astype(bool)]
    chosen = best[(best["norm"] == norm.value) & best["network"].isin(list(networks))]
    chosen = chosen.assign(network=chosen["network"].astype(str))
    table = chosen.pivot_table(index="image", columns="network", values="distance", aggfunc="first")
    return table.reindex(columns=[name for name in networks if name in table.columns]).dropna()


def _first(evidence: Evidence, norm: Norm, left_out: Collection[str]) -> pd.DataFrame:
    table = wide(evidence, norm, compared(evidence, left_out))
    if not len(table):
        return pd.DataFrame({"network": [], "norm": [], "first": []}).astype({"network": object, "norm": object})
    medians = resampled_medians(table.to_numpy())
    largest = medians == medians.max(axis=1, keepdims=True)
    fractions = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return pd.DataFrame({"network": table.columns.astype(str), "norm": norm.value, "first": fractions})


def differences(evidence: Evidence, left_out: Collection[str] = ()) -> pd.DataFrame:
    """Every pair of networks in every norm, compared on the images that the two have in common.

    Args:
        evidence: of the run.
        left_out: networks whose distances do not compare, besides those that had fewer attacks (:func:`compared`).

    Returns:
        Columns norm, network_a, network_b (a has the larger median or, where they are equal, is
        larger on more images), the fields of
        :class:`bench.metrics.resample.Paired`, and ``p_holm``: p adjusted for all pairs and norms of the networks that
        compare; NaN for a pair with one that is left out, which counts nowhere.
    """
    counted = compared(evidence, left_out)
    present = [str(name) for name in evidence.networks if (evidence.best["network"] == name).any()]
    lines = []
    for norm in evidence.norms:
        for a, b in combinations(present, 2):
            table = wide(evidence, norm, [a, b])
            if not len(table) or len(table.columns) < 2:
                continue
            one, two = table[a].to_numpy(), table[b].to_numpy()
            # L0 is a whole number, so medians are often equal: then the one that is larger on more images comes first.
            if (dist.median(two), (two > one).sum()) > (dist.median(one), (one > two).sum()):
                a, b, one, two = b, a, two, one  # noqa: PLW2901 - the more robust one comes first
            result = paired(one, two)
            lines.append(
                {"norm": norm.value, "network_a": a, "network_b": b}
                | {name: getattr(result, name) for name in result.__slots__}
            )
    columns = ["norm", "network_a", "network_b", "images", "median_a", "median_b", "difference", "low", "high"]
    made = pd.DataFrame(lines, columns=[*columns, "wins", "losses", "effect", "p"])
    counts = made["network_a"].isin(counted) & made["network_b"].isin(counted)
    return made.assign(p_holm=holm(made["p"].where(counts).to_numpy(dtype=np.float64)))


def in_order(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Lines sorted as the manifest names networks and as ``Norm`` names norms."""
    network = {name: place for place, name in enumerate(evidence.networks)}
    norm = {member.value: place for place, member in enumerate(Norm)}
    keys = pd.DataFrame({"norm": table["norm"].map(norm), "network": table["network"].astype(str).map(network)})
    return table.loc[keys.sort_values(["norm", "network"], kind="stable").index].reset_index(drop=True)
