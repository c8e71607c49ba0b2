"""The first screen in words: which network, and which attack and library; ``cautions`` has the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench import metrics
from bench.metrics import Leader, LibraryChoice, Recommendation
from bench.norms import Norm
from bench.report.frames import Frames
from bench.report.tables import figure, percentage


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of an answer: what it is about, the answer, and what it rests on."""

    norm: str
    subject: str
    text: str
    support: str = ""
    brief: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def leaders(frames: Frames) -> tuple[Leader, ...]:
    """The most robust network in each norm, of those that compare: :func:`bench.metrics.leaders`."""
    return metrics.leaders(
        frames.evidence, frames.distrusted, table=frames.plain("networks"), pairs=frames.plain("differences")
    )


def left_out(frames: Frames) -> list[str]:
    """The networks whose distances do not compare with those of others: failing checks, or fewer attacks."""
    less = metrics.attacked_less(frames.evidence)
    return [name for name in frames.evidence.networks if name in less or name in frames.distrusted]


def attacks_had(frames: Frames) -> dict[str, str]:
    """Networks that fewer attacks were run on than on others: network -> ``7 of 33 attacks``."""
    return {name: f"{had} of {every} attacks" for name, (had, every) in metrics.attacked_less(frames.evidence).items()}


def most_robust(frames: Frames) -> list[Answer]:
    """For each norm the network with the largest median minimal norm, by how much, and how sure that is."""
    answers = []
    for leader in leaders(frames):
        if not leader.network:
            text = "not decided"
        elif not leader.other or leader.significant:
            text = leader.network
        else:
            text = f"{leader.network} or {leader.other}: not settled"
        answers.append(Answer(leader.norm.value, leader.norm.label, text, _support(leader), brief=_brief(leader)))
    return answers


def _support(leader: Leader) -> str:
    """What a leader rests on, in a sentence."""
    if not leader.network:
        return f"no adversarial example is known for half of the images of {listed(leader.unknown)}"
    name, other = leader.network, leader.other
    text = f"median {figure(leader.median)} (95% CI {figure(leader.low)} to {figure(leader.high)})"
    if not other:
        return text
    if leader.tied:
        text += f", the same as {other}"
    elif leader.other_median > 0:
        text += f", {figure(leader.median / leader.other_median)} times that of {other}"
    else:
        text += f"; {other} has {figure(leader.other_median)}"
    if not leader.images:
        return f"{text}; the two have no image in common"
    text += f"; on {percentage(leader.wins, 0)} of {leader.images:,} images {name} needs the larger change, "
    text += f"on {percentage(leader.losses, 0)} the smaller ({p_value(leader.p)})"
    if (leader.median_common, leader.other_common) != (leader.median, leader.other_median):
        text += f"; over these images the medians are {figure(leader.median_common)} and {figure(leader.other_common)}"
    return text + _proof(leader)


def _proof(leader: Leader) -> str:
    """Whether the order is more than what attacks found."""
    if leader.proved is None:
        return "; no certified bound shows whether the order of the true distances is the same"
    bounds = (
        f"{leader.network}'s median is certified to be at least {figure(leader.certified)}, "
        f"{leader.other}'s is at most {figure(leader.other_median)}"
    )
    return f"; the order of the true medians is {'proved' if leader.proved else 'not proved'}: {bounds}"


def _brief(leader: Leader) -> str:
    if not leader.other or not leader.images:
        return ""
    return (
        f"median {figure(leader.median)} against {figure(leader.other_median)} of {leader.other}, {p_value(leader.p)}"
    )


def deploy(frames: Frames, manifest: Mapping[str, Any]) -> Answer:
    """Which network to deploy, over all norms: in a few words, with what it rests on."""
    names = frames.evidence.networks
    distrusted, less = list(frames.distrusted), list(metrics.attacked_less(frames.evidence))
    ranked = [leader for leader in leaders(frames) if leader.network]
    if not ranked:
        if distrusted:
            return Answer("", "", "No network", f"the checks of {listed(distrusted)} fail")
        if less:
            return Answer("", "", "Not decided", "no network had all the attacks, so their distances do not compare")
        return Answer("", "", "Not decided", _undecided(frames))
    if len(names) == 1:
        return Answer("", "", f"{names[0]}: the only network here", _accuracies(names[0], manifest))
    aside = _left_aside(distrusted, less)
    if not any(leader.other for leader in ranked) and len({leader.network for leader in ranked}) == 1:
        only = ranked[0].network
        return Answer(
            "", "", f"{only}: the only network that compares", "; ".join([_accuracies(only, manifest), *aside])
        )
    sure = [leader for leader in ranked if leader.significant]
    # Where nothing is significant, a network whose median another one has as well does not even lead.
    ahead = sure or ([] if any(one.tied for one in ranked) else ranked)
    names_ahead = list(dict.fromkeys(one.network for one in ahead))
    parts = [
        # A single network stands in front already.
        ("" if len(names_ahead) == 1 else f"{name} is the ")
        + f"most robust in {listed([one.norm.label for one in sure if one.network == name])}, significantly"
        for name in dict.fromkeys(leader.network for leader in sure)
    ]
    unsure = [one for one in ranked if not one.significant and one.other]
    for name, other, tied in dict.fromkeys((one.network, one.other, one.tied) for one in unsure):
        same = [one.norm.label for one in unsure if (one.network, one.other, one.tied) == (name, other, tied)]
        parts.append(
            f"{name} and {other} cannot be told apart in {listed(same)}"
            if tied
            else f"{name} leads {other} in {listed(same)}, but not significantly"
        )
    if len(names_ahead) != 1:
        text = "It depends on the norm" if sure else "Not settled"
    else:
        text = names_ahead[0] if sure else f"{names_ahead[0]} leads, but that is not settled"
        parts.append(_accuracies(names_ahead[0], manifest))
    return Answer("", "", text, "; ".join([*parts, *aside]))


def _undecided(frames: Frames) -> str:
    """Why no norm has a leader, where networks compare."""
    best = frames.evidence.best
    if len(best) and best["misclassified"].all():
        return "no network is right on any image of the run"
    if len(best) and not best.groupby("norm")["searched"].all().any():
        return "in no norm was an attack that minimises it run on every image"
    return "no median distance is known"


def _left_aside(distrusted: Sequence[str], less: Sequence[str]) -> list[str]:
    """Which networks are left out, and why."""
    lines = [f"{listed(distrusted)} left out, because checks fail"] if distrusted else []
    if less:
        lines.append(f"{listed(less)} left out, because fewer attacks were run on {'them' if len(less) > 1 else 'it'}")
    return lines


def _accuracies(name: str, manifest: Mapping[str, Any]) -> str:
    known = {str(n["name"]): float(n["accuracy"]) for n in manifest["networks"] if n.get("accuracy") is not None}
    if name not in known:
        return "clean accuracy unknown"
    others = sorted(value for other, value in known.items() if other != name)
    rest = ""
    if others:
        least, most = percentage(others[0], 2), percentage(others[-1], 2)
        range_ = least if least == most else f"{least} to {most}"
        rest = f" (the other{'s' if len(others) > 1 else ''}: {range_})"
    return f"clean accuracy {percentage(known[name], 2)}{rest}"


def listed(names: Sequence[str], word: str = "and") -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def sentence(text: str, names: Sequence[str]) -> str:
    """A text that begins with a capital letter, unless it begins with one of these names."""
    return text if text.startswith(tuple(names)) else text[:1].upper() + text[1:]


def p_value(p: float) -> str:
    """A p value as people read it, on one line."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def best_attacks(frames: Frames) -> list[Answer]:
    """For each norm the attack to trust, and a cheap one: :func:`bench.metrics.recommended` in words."""
    answers = []
    for one in metrics.recommended(frames.evidence, frames.plain("attack_scores")):
        norm = one.norm
        if not one.attack:
            answers.append(Answer(norm.value, norm.label, "none", "no attack found something on half of the images"))
            continue
        alone = f"the only one run on every image in {norm.label}, so that nothing compares with it"
        rank = f"best of {one.among} in {norm.label}" if one.among > 1 else alone
        support = f"{_quality(one)}{_exactness(frames, one.attack)}; {rank}"
        fast = one.faster
        times = f"{figure(one.seconds / fast.seconds, 2)} times faster" if fast and fast.seconds > 0 else "much faster"
        if one.own is not None:
            support += f". Of the libraries' own code, unchanged, the best is {one.own.label}: {_near(one.own)}"
            support += f", {times}" if one.own == fast else ""
        if fast is not None and fast != one.own:
            support += f". Nearly as good, {times}: {fast.label}, {_near(fast)}"
        answers.append(Answer(norm.value, norm.label, one.label, support, tags={"attack": one.attack}))
    return answers


def _quality(one: Recommendation) -> str:
    often = "" if one.found_rate == 1 else f", found on {percentage(one.found_rate)} of the images"
    return f"{_near(one)}{often}, {figure(one.seconds, 2)} s per image"


def _near(one: Recommendation) -> str:
    best = one.ratio < 1.0005
    return "median at the best known distance" if best else f"median {figure(one.ratio, 4)} times the best known"


def _exactness(frames: Frames, attack: str) -> str:
    """How an attack compares with the exact distances of the run, and on which networks these are known."""
    exact = frames["exact"]
    own = exact[exact["attack"].astype(str) == attack]
    solved = own[own["solved"] > 0]
    if not len(solved):
        return ""
    total = int(solved["solved"].sum())
    within = float((solved["within"] * solved["solved"]).sum() / total)
    text = f"; within 1% of the exact distance on {percentage(within, 0)} of {total} solved images"
    if len(own) > 1:
        text += f" ({', '.join(f'{line.network} {line.solved}' for line in own.itertuples())})"
    return text


def library(frames: Frames) -> Answer:
    """The library to use, and what that rests on; both empty where no method has two implementations."""
    choice = metrics.library_choice(frames.evidence, frames.plain("agreement"))
    if not choice.methods:
        return Answer("", "Library", "")
    names = frames.labels
    methods = f"{choice.methods} method{'s' if choice.methods != 1 else ''}"
    of = f"of {methods} that {'both' if len(choice.compared) == 2 else 'two or more'} implement themselves"
    if not choice.settled:
        least = f"the smallest p that they could have given is {figure(choice.reachable, 2)}"
        return Answer("", "Library", "Not settled", f"too few images for the tests {of}: {least}")
    unequal = (
        f"; in {choice.unequal} the version with the larger distances had fewer queries, so that nothing follows"
        if choice.unequal
        else ""
    )
    if not any(choice.worse.values()):
        support = f"{of}, none finds distances that are larger by more than 1%, significantly, with as many queries"
        return Answer("", "Library", "Either" if len(choice.compared) == 2 else "Any", support + unequal)
    text = listed([names[name] for name in choice.best], "or")
    return Answer("", "Library", text, f"{of}, {_worse_counts(choice, names)}{unequal}")


def _worse_counts(choice: LibraryChoice, names: Mapping[str, str]) -> str:
    counts = [
        f"{names[name]}'s version {'finds significantly larger (worse) distances ' if not place else ''}in "
        f"{number or 'none'}" + (f" of {choice.compared[name]}" if len(choice.compared) > 2 else "")
        for place, (name, number) in enumerate(choice.worse.items())
    ]
    return ", ".join(counts)


def to_avoid(frames: Frames) -> list[str]:
    """Implementations that find significantly larger distances than another library's of the same method."""
    table = frames.plain("agreement")
    lines = []
    worse = table[table["worse"] != ""]
    for keys, group in worse.groupby(["norm", "title", "library_a", "library_b", "worse"], sort=False):
        norm, title, a, b, name = map(str, keys)
        ratios = np.where(name == a, group["ratio"], 1 / group["ratio"])
        size = _larger(float(ratios.min()), float(ratios.max()))
        on = listed([str(network) for network in group["network"]])
        labels = frames.labels[name], frames.labels[b if name == a else a]
        sides = ("queries_a", "queries_b") if name == a else ("queries_b", "queries_a")
        queries = listed([f"{group[side].mean():,.0f}" for side in sides], "against")
        lines.append(
            f"{title} {Norm(norm).label} of {labels[0]}: {size} than {labels[1]}'s, on {on} ({queries} queries per image)"
        )
    return lines


def _larger(low: float, high: float) -> str:
    if low >= 2:
        one, two = figure(low, 2), figure(high, 2)
        return f"distances {one} times as large" if one == two else f"distances {one} to {two} times as large"
    one, two = figure(100 * (low - 1), 2), figure(100 * (high - 1), 2)
    return f"distances {one}% larger" if one == two else f"distances {one} to {two}% larger"
