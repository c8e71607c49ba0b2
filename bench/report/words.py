"""The first screen in words: which network, and which attack and library; ``cautions`` has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench import verdict
from bench.metrics import Evidence
from bench.norms import Norm
from bench.report.frames import Frames
from bench.report.tables import figure, share
from bench.specs import LIBRARY_LABELS
from bench.verdict import Finding, Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of an answer: what it is about, the answer, and what it rests on."""

    norm: str
    subject: str
    text: str
    support: str = ""
    brief: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leader:
    """The network with the largest median distance in a norm, and whether the next one is behind beyond chance.

    ``name`` is empty where no median is known; ``other`` where there is no other network. ``tied``: both medians are
    equal.
    """

    norm: Norm
    name: str
    other: str
    sure: bool
    support: str
    brief: str = ""
    tied: bool = False


def attacked_less(evidence: Evidence) -> dict[str, str]:
    """Networks that fewer attacks were run on than on others: their distances are too large to compare.

    Returns:
        Network -> "7 of 33 attacks". It is empty where every network with records had every attack.
    """
    had = evidence.attacks.groupby("network", observed=True)["attack"].nunique()
    every = evidence.attacks["attack"].nunique()
    return {str(name): f"{number} of {every} attacks" for name, number in had.items() if number < every}


def unranked(evidence: Evidence, found: Sequence[Finding]) -> list[str]:
    """The networks whose distances do not compare with those of others: failing checks, or fewer attacks."""
    less = attacked_less(evidence)
    fail = failing(found, evidence.networks)
    return [name for name in evidence.networks if name in less or name in fail]


def failing(found: Sequence[Finding], networks: Sequence[str]) -> list[str]:
    """The networks whose verdict is a failure: their distances are probably too large."""
    return [name for name in networks if verdict.overall(found, name) is Outcome.FAIL]


def leaders(frames: Frames, distrusted: Sequence[str] = ()) -> list[Leader]:
    """For each norm the network with the largest median minimal norm among those whose distances compare."""
    made = []
    table = frames["networks"]
    for norm in frames.evidence.norms:
        lines = table[table["norm"] == norm.value]
        trusted = lines[~lines["network"].isin(list(distrusted))]
        if len(trusted):
            made.append(_leader(norm, trusted, frames["differences"], whole=len(trusted) == len(lines)))
    return made


def _leader(norm: Norm, lines: pd.DataFrame, pairs: pd.DataFrame, *, whole: bool) -> Leader:
    # Where medians are equal, whoever comes first in its pair is larger on more images.
    first = pairs.loc[pairs["norm"] == norm.value, "network_a"].value_counts()
    wins = lines["network"].astype(str).map(first).fillna(0)
    best = lines.loc[lines.assign(wins=wins).sort_values(["median", "wins"], ascending=False, kind="stable").index[0]]
    name, median = str(best["network"]), float(best["median"])
    if not np.isfinite(median):
        unknown = [str(n) for n in lines.loc[~np.isfinite(lines["median"]), "network"]]
        support = f"no adversarial example is known for half of the images of {', '.join(unknown)}"
        return Leader(norm, "", "", sure=False, support=support)
    support = f"median {figure(median)} (95% interval {figure(best['median_low'])} to {figure(best['median_high'])})"
    if len(lines) == 1:
        return Leader(norm, name, "", sure=False, support=support)
    second = lines[lines["network"] != best["network"]].sort_values("median", ascending=False).iloc[0]
    other, behind = str(second["network"]), float(second["median"])
    if behind == median:
        support += f", as {other}'s"
    else:
        support += f", {figure(median / behind)} times {other}'s" if behind > 0 else f"; {other} has {figure(behind)}"
    both = [name, other]
    pair = pairs[(pairs["norm"] == norm.value) & pairs["network_a"].isin(both) & pairs["network_b"].isin(both)]
    if not len(pair):
        return Leader(norm, name, other, sure=False, support=f"{support}; no image in common")
    line = pair.iloc[0]
    ahead = str(line["network_a"]) == name
    wins, losses, effect = line["wins"], line["losses"], line["effect"]
    if not ahead:
        wins, losses, effect = losses, wins, -effect
    p = float(line["p_holm"])
    images = f"{int(line['images']):,} images"
    support += f"; larger on {share(float(wins), 0)}, smaller on {share(float(losses), 0)} of {images}, {p_value(p)}"
    if whole:
        support += f", first in {share(float(best['first']), 0)} of resamples"
    # The paired test decides; an order of medians that the pairs contradict is no order.
    brief = f"median {figure(median)} against {other}'s {figure(behind)}, {p_value(p)}"
    sure = p < 0.05 and effect > 0
    return Leader(norm, name, other, sure=sure, support=support, brief=brief, tied=median == behind)


def most_robust(frames: Frames, distrusted: Sequence[str] = ()) -> list[Answer]:
    """For each norm the network with the largest median minimal norm, by how much, and how sure that is."""
    answers = []
    for leader in leaders(frames, distrusted):
        if not leader.name:
            text = "not decided"
        elif not leader.other or leader.sure:
            text = leader.name
        else:
            text = f"{leader.name} or {leader.other}: not settled"
        answers.append(Answer(leader.norm.value, leader.norm.label, text, leader.support, brief=leader.brief))
    return answers


def deploy(frames: Frames, manifest: Mapping[str, Any], found: Sequence[Finding]) -> Answer:
    """Which network to deploy, over all norms: in a few words, with what it rests on."""
    names = frames.evidence.networks
    distrusted, less = failing(found, names), attacked_less(frames.evidence)
    ranked = [leader for leader in leaders(frames, unranked(frames.evidence, found)) if leader.name]
    if not ranked:
        if distrusted:
            support = f"the checks of {listed(distrusted)} fail: their distances are probably too large"
            return Answer("", "", "No network", support)
        if less:
            return Answer("", "", "Not decided", "no network had all the attacks, so their distances do not compare")
        return Answer("", "", "Not decided", "no median distance is known")
    if len(names) == 1:
        return Answer("", "", f"{names[0]}: the only network here", _accuracies(names[0], manifest))
    sure = [leader for leader in ranked if leader.sure]
    # Where nothing is sure, a network whose median another one shares does not even lead.
    ahead = sure or ([] if any(one.tied for one in ranked) else ranked)
    names_ahead = list(dict.fromkeys(one.name for one in ahead))
    parts = [
        # A single network stands in front already.
        ("" if len(names_ahead) == 1 else f"{name} is the ")
        + f"most robust in {listed([one.norm.label for one in sure if one.name == name])}, beyond chance"
        for name in dict.fromkeys(leader.name for leader in sure)
    ]
    unsure = [one for one in ranked if not one.sure]
    parts += [
        f"{name} {'as' if tied else 'before'} {other} in "
        f"{listed([one.norm.label for one in unsure if (one.name, one.other, one.tied) == (name, other, tied)])}, "
        "not settled"
        for name, other, tied in dict.fromkeys((one.name, one.other, one.tied) for one in unsure)
    ]
    if len(names_ahead) != 1:
        text = "It depends on the norm" if sure else "Not settled"
    else:
        text = names_ahead[0] if sure else f"{names_ahead[0]} leads, but that is not settled"
        parts.append(_accuracies(names_ahead[0], manifest))
    if distrusted:
        parts.append(f"{listed(distrusted)} left out, because checks fail")
    if less:
        parts.append(
            f"{listed(list(less))} left out, because fewer attacks were run on {'them' if len(less) > 1 else 'it'}"
        )
    return Answer("", "", text, "; ".join(parts))


def _accuracies(name: str, manifest: Mapping[str, Any]) -> str:
    known = {str(n["name"]): float(n["accuracy"]) for n in manifest["networks"] if n.get("accuracy") is not None}
    if name not in known:
        return "clean accuracy unknown"
    others = sorted(value for other, value in known.items() if other != name)
    rest = f", the other{'s' if len(others) > 1 else ''} on {share(others[0], 2)}" if others else ""
    rest += f" to {share(others[-1], 2)}" if others and others[-1] != others[0] else ""
    return f"right on {share(known[name], 2)} of all clean images{rest}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def p_value(p: float) -> str:
    """A p value as people read it, on one line."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def best_attacks(frames: Frames) -> list[Answer]:
    """For each norm the attack to trust: the smallest median ratio to the best known, found everywhere; and a cheap one.

    Only attacks that were run on every image that any attack of the norm was run on are compared.
    """
    answers = []
    scores = attack_scores(frames)
    for norm in frames.evidence.norms:
        lines = scores[(scores["norm"] == norm.value) & scores["complete"]]
        usable = lines[np.isfinite(lines["ratio"])]
        if not len(usable):
            if len(lines):
                answers.append(
                    Answer(norm.value, norm.label, "none", "no attack found something on half of the images")
                )
            continue
        ranked = usable.sort_values(["ratio", "seconds"])
        best = ranked.iloc[0]
        alone = f"the only one run on every image in {norm.label}, so that nothing compares with it"
        rank = f"best of {len(lines)} in {norm.label}" if len(lines) > 1 else alone
        support = f"{_quality(best)}{_exactness(frames, str(best['attack']))}; {rank}"
        cheap = ranked[(ranked["ratio"] <= max(1.05, best["ratio"] * 1.02)) & (ranked["seconds"] < best["seconds"] / 3)]
        if len(cheap):
            fast = cheap.sort_values("seconds").iloc[0]
            times = float(best["seconds"] / fast["seconds"]) if fast["seconds"] > 0 else float("inf")
            support += f". Nearly as good, {figure(times, 2)} times faster: {fast['label']}, {_near(fast)}"
        tags = {"attack": str(best["attack"])}
        answers.append(Answer(norm.value, norm.label, str(best["label"]), support, tags=tags))
    return answers


def _quality(line: pd.Series) -> str:
    found = float(line["found_rate"])
    often = "" if found == 1 else f", found on {share(found)} of the images"
    return f"{_near(line)}{often}, {figure(float(line['seconds']), 2)} s per image"


def _near(line: pd.Series) -> str:
    ratio = float(line["ratio"])
    return "median at the best known distance" if ratio < 1.0005 else f"median {figure(ratio, 4)} times the best known"


def _exactness(frames: Frames, attack: str) -> str:
    """How an attack compares with the exact distances of the run, over all networks."""
    exact = frames["exact"]
    own = exact[(exact["attack"].astype(str) == attack) & (exact["solved"] > 0)]
    if not len(own):
        return ""
    within = float((own["within"] * own["solved"]).sum() / own["solved"].sum())
    return f"; within 1% of the exact distance on {share(within, 0)} of {int(own['solved'].sum())} solved images"


def library(frames: Frames) -> Answer:
    """The library to use, and what that rests on; both empty where no method has two implementations."""
    table = frames["agreement"]
    if not len(table):
        return Answer("", "Library", "")
    cells = table.groupby(["norm", "slug"], sort=False)
    worse = dict.fromkeys([*table["library_a"], *table["library_b"]], 0)
    for _, group in cells:
        for name in worse:
            worse[name] += bool((group["worse"] == name).any())
    names = {name: LIBRARY_LABELS.get(str(name), str(name)) for name in worse}
    fewest = min(worse.values())
    least = [name for name, number in worse.items() if number == fewest]
    counts = ", ".join(f"{names[name]}'s version in {number or 'none'}" for name, number in worse.items())
    methods = f"{len(cells)} method{'s' if len(cells) != 1 else ''}"
    if not any(worse.values()):
        support = f"of {methods} that both have, none differs by more than 1% and beyond chance"
        return Answer("", "Library", "Either", support)
    answer = names[least[0]] if len(least) == 1 else "Either"
    support = (
        f"of {methods} that both have, the distances found are larger, which is worse, beyond chance with {counts}"
    )
    return Answer("", "Library", answer, support)


def to_avoid(frames: Frames) -> list[str]:
    """Implementations that find larger distances than another library's of the same method, beyond chance."""
    table = frames["agreement"]
    lines = []
    worse = table[table["worse"] != ""]
    for (norm, title, name), group in worse.groupby(["norm", "title", "worse"], sort=False):
        ratios = np.where(group["library_a"] == name, group["ratio"], 1 / group["ratio"])
        other = group["library_b"].iloc[0] if group["library_a"].iloc[0] == name else group["library_a"].iloc[0]
        size = _larger(float(ratios.min()), float(ratios.max()))
        on = listed([str(network) for network in group["network"]])
        labels = [LIBRARY_LABELS.get(str(key), str(key)) for key in (name, other)]
        lines.append(f"{title} {Norm(str(norm)).label} of {labels[0]}: {size} than {labels[1]}'s, on {on}")
    return lines


def _larger(low: float, high: float) -> str:
    if low >= 2:
        one, two = figure(low, 2), figure(high, 2)
        return f"distances {one} times as large" if one == two else f"distances {one} to {two} times as large"
    one, two = figure(100 * (low - 1), 2), figure(100 * (high - 1), 2)
    return f"distances {one}% larger" if one == two else f"distances {one} to {two}% larger"


def attack_scores(frames: Frames) -> pd.DataFrame:
    """Each attack over all networks: worst median ratio, mean found rate and seconds, and whether it ran everywhere."""
    table = frames["summary"]
    if not len(table):
        columns = {"attack": object, "norm": object, "label": object, "ratio": float, "found_rate": float}
        return pd.DataFrame(columns=[*columns, "seconds", "images", "complete"]).astype(
            columns | {"seconds": float, "images": int, "complete": bool}
        )
    table = table.assign(network=table["network"].astype(str))
    less = attacked_less(frames.evidence)
    whole = table[~table["network"].isin(list(less))]
    # Where runs of other attacks stand side by side, those networks judge that had them all.
    table = whole if len(whole) else table
    most = table.groupby(["network", "norm"])["images"].transform("max")
    table = table.assign(whole=table["images"] == most)
    networks = table["network"].nunique()
    scores = table.groupby("attack", observed=True, sort=False).agg(
        norm=("norm", "first"),
        label=("label", "first"),
        ratio=("ratio", lambda values: values.max(skipna=False)),
        found_rate=("found_rate", "mean"),
        seconds=("seconds", "mean"),
        images=("images", "min"),
        networks=("network", "nunique"),
        whole=("whole", "all"),
    )
    scores["complete"] = scores.pop("whole") & (scores["networks"] == networks)
    return scores.reset_index()
