"""Network against network: distributions, pairs, dropout, and whether other images say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from bench import metrics, verdict
from bench.findings import Level
from bench.guide.results.facts.base import DROPOUT, Facts
from bench.guide.results.stored import Stored
from bench.guide.results.words import outcome
from bench.metrics import Evidence, tables
from bench.norms import Norm
from bench.report import data


def norm_facts(run: Stored, norm: Norm) -> Facts:
    """The networks of a run in one norm: their medians, the pairs, who leads."""
    frames = run.frames
    table, pairs = frames.plain("networks"), frames.plain("differences")
    lines = table[table["norm"] == norm.value].to_dict("records")
    for line in lines:
        line["left_out"] = line["network"] in frames.distrusted
    own = pairs[pairs["norm"] == norm.value].to_dict("records")
    for pair in own:
        pair["verdict"] = outcome(pair["p_holm"], pair["effect"])
        pair["ratio"] = ratio(run.evidence, norm, pair["network_a"], pair["network_b"])
    led = [
        leader
        for leader in metrics.leaders(run.evidence, frames.distrusted, table=table, pairs=pairs)
        if leader.norm is norm
    ]
    return {
        "norm": norm.value,
        "label": norm.label,
        "unit": data.unit(run.evidence.domain, norm),
        "networks": lines,
        "pairs": own,
        "settled": sum(pair["verdict"] in ("more", "less") for pair in own),
        "leader": led[0] if led else None,
    }


def ratio(known: Evidence, norm: Norm, first: str, second: str) -> float:
    """The typical ratio of two networks' best known distances on the same images: :func:`bench.metrics.noninferiority`."""
    wide = tables.wide(known, norm, [first, second])
    if not len(wide) or len(wide.columns) < 2:
        return math.nan
    return metrics.noninferiority(wide[first].to_numpy(), wide[second].to_numpy(), 0.0).ratio


def dropout(run: Stored) -> Facts:
    """Whether dropout makes a network more robust: each pair in each norm, by the paired test over all of them."""
    pairs = run.frames.plain("differences")
    lines = []
    for plain, drop in DROPOUT:
        for norm in run.evidence.norms:
            both = pairs[
                (pairs["norm"] == norm.value)
                & pairs["network_a"].isin([plain, drop])
                & pairs["network_b"].isin([plain, drop])
            ]
            if not len(both):
                continue
            pair = both.iloc[0]
            ahead = pair["network_a"] == drop
            effect = float(pair["effect"]) * (1 if ahead else -1)
            lines.append(
                {
                    "plain": plain,
                    "drop": drop,
                    "norm": norm.value,
                    "label": norm.label,
                    "images": int(pair["images"]),
                    "median_plain": pair["median_b" if ahead else "median_a"],
                    "median_drop": pair["median_a" if ahead else "median_b"],
                    "larger": pair["wins" if ahead else "losses"],
                    "smaller": pair["losses" if ahead else "wins"],
                    "p": float(pair["p_holm"]),
                    "effect": effect,
                    "ratio": ratio(run.evidence, norm, drop, plain),
                    "verdict": outcome(float(pair["p_holm"]), effect),
                }
            )
    sorted_out = {word: [line for line in lines if line["verdict"] == word] for word in ("more", "less", "open")}
    return {"lines": lines, **sorted_out, "l2": [line for line in lines if line["norm"] == Norm.L2.value]}


def correlations(run: Stored) -> list[Facts]:
    """Whether an image that is near a border in one norm is near one in another: Spearman's rank correlation, by network."""
    lines = []
    best = run.evidence.best
    for network in run.evidence.networks:
        own = best[(best["network"] == network) & ~best["misclassified"] & np.isfinite(best["distance"])]
        wide = own.pivot_table(index="image", columns="norm", values="distance", aggfunc="first").dropna()
        norms = [norm for norm in run.evidence.norms if norm.value in wide.columns]
        for place, one in enumerate(norms):
            for two in norms[place + 1 :]:
                if len(wide) > 2:
                    value = stats.spearmanr(wide[one.value], wide[two.value]).statistic
                    lines.append(
                        {
                            "network": network,
                            "one": one.label,
                            "two": two.label,
                            "rho": float(value),
                            "images": len(wide),
                        }
                    )
    return lines


def medians(run: Stored) -> list[Facts]:
    """The lines of networks and norms of a run, as :func:`norm_facts` has them."""
    lines: list[Facts] = [
        {str(key): value for key, value in line.items()} for line in run.frames.plain("networks").to_dict("records")
    ]
    for line in lines:
        line["label"] = Norm(str(line["norm"])).label
    return lines


def confirmed(runs: Mapping[str, Stored]) -> list[Facts]:
    """Whether other images say what those of the main run said of each pair of networks: all test images, and ``val``."""
    main = _verdicts(runs["minimal_norm"])
    made = []
    for name in ("whole_test", "val"):
        if name not in runs:
            continue
        other = _verdicts(runs[name])
        common = [key for key in main if key in other]
        sure = [key for key in common if main[key][0] != "open"]
        made.append(
            {
                "run": name,
                "pairs": len(common),
                "sure": len(sure),
                "same": sum(main[key] == other[key] for key in sure),
                "against": [key for key in sure if other[key][0] != "open" and other[key] != main[key]],
                "lost": [key for key in sure if other[key][0] == "open"],
                "new": [key for key in common if main[key][0] == "open" and other[key][0] != "open"],
            }
        )
    return made


def _verdicts(run: Stored) -> dict[tuple[str, str, str], tuple[str, str]]:
    """For each norm and pair of networks, sorted: whether the test rejects, and the network with the larger distances."""
    found = {}
    for line in run.frames.plain("differences").to_dict("records"):
        word = outcome(line["p_holm"], line["effect"])
        if word == "none":
            continue
        larger = {"more": line["network_a"], "less": line["network_b"], "open": ""}[word]
        one, two = sorted((line["network_a"], line["network_b"]))
        found[Norm(line["norm"]).label, one, two] = ("open" if word == "open" else "sure", larger)
    return found


def defended(run: Stored) -> list[Facts]:
    """Each trained network against the plain one, in each norm."""
    plain = run.evidence.networks[0]
    lines = []
    for line in run.frames.plain("differences").to_dict("records"):
        if plain not in (line["network_a"], line["network_b"]):
            continue
        ahead = line["network_b"] == plain
        other = line["network_a"] if ahead else line["network_b"]
        effect = line["effect"] * (1 if ahead else -1)
        norm = Norm(line["norm"])
        lines.append(
            {
                "network": other,
                "plain": plain,
                "norm": norm.value,
                "label": norm.label,
                "images": line["images"],
                "median": line["median_a" if ahead else "median_b"],
                "plain_median": line["median_b" if ahead else "median_a"],
                "ratio": ratio(run.evidence, norm, other, plain),
                "p": line["p_holm"],
                "verdict": outcome(line["p_holm"], effect),
            }
        )
    return sorted(lines, key=lambda line: list(Norm).index(Norm(line["norm"])))


def has_pairs(run: Stored) -> bool:
    """Whether a run has a network with and without dropout."""
    names = set(run.evidence.networks)
    return any({plain, drop} <= names for plain, drop in DROPOUT)


def failed_checks(run: Stored) -> list[Facts]:
    """Why networks of a run are left out of comparisons: each check that fails, with its reason."""
    found = verdict.findings(run.evidence, dict(run.manifest))
    return [
        {"network": one.network, "check": one.check.title, "reason": one.message}
        for one in found
        if one.level in (Level.FAIL, Level.STOP)
    ]
