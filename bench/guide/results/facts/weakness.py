"""The weakness of a network: robust accuracy at usual sizes of change, and its weak classes."""

from __future__ import annotations

import math

from bench import metrics
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored


def usual(run: Stored) -> list[Facts]:
    """Robust accuracy, and the certified one, at the sizes of change at which papers state it."""
    lines = []
    for norm, sizes in run.evidence.usual.items():
        best = run.evidence.best[run.evidence.best["norm"] == norm.value]
        for eps in sorted(sizes):
            for network in run.evidence.networks:
                own = best[best["network"] == network]
                if not len(own):
                    continue
                robust = int((own["distance"] > eps).sum())
                low, high = (float(end) for end in metrics.wilson(robust, len(own)))
                bounded = (network, norm.value) in run.evidence.bounded
                lines.append(
                    {
                        "network": network,
                        "norm": norm.value,
                        "label": norm.label,
                        "eps": eps,
                        "images": len(own),
                        "accuracy": robust / len(own),
                        "low": low,
                        "high": high,
                        "certified": float(((own["lower"] > eps) & ~own["misclassified"]).mean())
                        if bounded
                        else math.nan,
                    }
                )
    return lines


def classes(run: Stored) -> list[Facts]:
    """The weakest and the strongest class of each network and norm, and what the weakest is taken for."""
    best, made = run.evidence.best, []
    changes = metrics.METRICS["class_changes"](run.evidence)
    for network in run.evidence.networks:
        for norm in run.evidence.norms:
            own = best[(best["network"] == network) & (best["norm"] == norm.value)]
            lines = []
            for label, group in own.groupby("label"):
                low, high = metrics.median_interval(group["distance"].to_numpy())
                value = metrics.median(group["distance"].to_numpy())
                lines.append(
                    {"label": int(str(label)), "median": value, "low": low, "high": high, "images": len(group)}
                )
            if len(lines) < 2:
                continue
            weak, strong = min(lines, key=lambda line: line["median"]), max(lines, key=lambda line: line["median"])
            taken = changes[
                (changes["network"] == network) & (changes["norm"] == norm.value) & (changes["label"] == weak["label"])
            ]
            first = taken.sort_values("fraction", ascending=False).iloc[0] if len(taken) else None
            made.append(
                {
                    "network": network,
                    "norm": norm.value,
                    "norm_label": norm.label,
                    "weak": weak,
                    "strong": strong,
                    "apart": weak["high"] < strong["low"],
                    "taken": None
                    if first is None
                    else {"label": int(first["adversarial_class"]), "fraction": first["fraction"]},
                }
            )
    return made
