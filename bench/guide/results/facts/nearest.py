"""Which attack comes nearest, at what cost, and what exact distances say of it."""

from __future__ import annotations

import math

import numpy as np

from bench import metrics
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored
from bench.norms import Norm


def best_attacks(run: Stored) -> list[Facts]:
    """The attack to trust in each norm, and a cheap one: :func:`bench.metrics.recommended`."""
    labels = {norm: norm.label for norm in Norm}
    made = []
    for one in metrics.recommended(run.evidence, run.frames.plain("attack_scores")):
        fast = one.faster
        made.append(
            {
                "norm": one.norm.value,
                "label": labels[one.norm],
                "attack": one.label if one.attack else "",
                "ratio": one.ratio,
                "seconds": one.seconds,
                "among": one.among,
                "faster": None
                if fast is None
                else {"attack": fast.label, "ratio": fast.ratio, "times": one.seconds / fast.seconds},
                "own": None if one.own is None else {"attack": one.own.label, "ratio": one.own.ratio},
            }
        )
    return made


def attacks(run: Stored, norm: Norm) -> list[Facts]:
    """The attacks of a norm, best first: ratio to the best known, found rate, cost, and how often the exact distance is found."""
    frames = run.frames
    order = frames.plain("attack_order")
    summary = frames.plain("summary")
    near = frames.plain("exact")
    labels = run.evidence.rows.set_index("attack")["label"]
    lines = []
    for attack in order.loc[order["norm"] == norm.value, "attack"]:
        own = summary[summary["attack"] == attack]
        known = near[(near["attack"] == attack) & (near["solved"] > 0)]
        solved_images = int(known["solved"].sum())
        lines.append(
            {
                "attack": str(attack),
                "label": labels[attack],
                "images": int(own["images"].sum()),
                "ratio": metrics.median(own["ratio"].fillna(np.inf)),
                "found": float(own["found_rate"].mean()),
                "optimality": float(own["optimality"].mean()),
                "seconds": float(own["seconds"].mean()),
                "passes": float((own["forwards"] + own["backwards"]).mean()),
                "adds": float(own["adds"].mean()),
                "solved": solved_images,
                "within": float((known["within"] * known["solved"]).sum() / solved_images)
                if solved_images
                else math.nan,
            }
        )
    return lines


def exact(run: Stored) -> list[Facts]:
    """What exact distances say in each norm: the attack that finds them most often, and how far the worst is off."""
    made = []
    for norm in run.evidence.norms:
        lines = [line for line in attacks(run, norm) if line["solved"]]
        if not lines:
            continue
        most = max(line["within"] for line in lines)
        worst = min(lines, key=lambda line: line["within"])
        known = run.frames.plain("exact")
        own = known[(known["norm"] == norm.value) & (known["solved"] > 0)]
        largest = own.sort_values("median").iloc[-1]
        made.append(
            {
                "norm": norm.value,
                "label": norm.label,
                "attacks": len(lines),
                "most": most,
                "solved": max(line["solved"] for line in lines),
                "best": [line["label"] for line in lines if line["within"] == most],
                "worst": worst,
                "all": [line for line in lines if line["within"] == 1],
                "half": [line for line in lines if line["within"] < 0.5],
                "largest": {"label": largest["label"], "network": largest["network"], "median": largest["median"]},
            }
        )
    return made


def solved(run: Stored) -> list[Facts]:
    """On how many of the attacked images the exact distance is known, by network and norm."""
    lines = []
    for line in run.frames.plain("networks").to_dict("records"):
        attacked = line["images"] - line["misclassified"]
        lines.append(
            {
                "network": line["network"],
                "norm": line["norm"],
                "label": Norm(line["norm"]).label,
                "attacked": attacked,
                "exact": line["exact"],
                "certified": line["certified"],
                "median": line["median"],
            }
        )
    return lines
