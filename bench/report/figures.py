"""Figures of the page: each plot, norm by norm, as inline SVG with its data as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench import plots
from bench.metrics import METRICS, Evidence
from bench.norms import Norm
from bench.report.exports import csv_text
from bench.specs import LIBRARY_LABELS

CSV_LINES = 8000
"""A figure with more lines of data than this does not embed them; ``records.csv`` has them all."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: where it stands, what it shows, how it looks, what it is made of."""

    id: str
    norm: str
    title: str
    caption: str
    svg: str
    csv: str


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of figure in every norm that has data for it, under one caption; ``layout`` is a class of the page."""

    title: str
    caption: str
    layout: str
    figures: Sequence[Figure]


class Frames:
    """The metric frames of one report, each computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._made: dict[str, pd.DataFrame] = {}
        self._own: dict[str, Callable[[], pd.DataFrame]] = {
            "security_curves": self._security,
            "bracket_curves": self._bracket,
            "exact_ratios": self._exact,
            "library_pairs": self._pairs,
        }

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The frame of an entry of METRICS, its networks as ordered categories."""
        if name not in self._made:
            frame = self._own[name]() if name in self._own else METRICS[name](self.evidence)
            if "network" in frame:
                order = pd.CategoricalDtype(list(self.evidence.networks), ordered=True)
                frame = frame.assign(network=frame["network"].astype(order))
            self._made[name] = frame
        return self._made[name]

    def _security(self) -> pd.DataFrame:
        """All attacks together first, then each attack that was run on as many images as any, so that they compare."""
        summary = self["summary"]
        most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
        whole = summary.loc[summary["images"] == most, ["network", "norm", "attack"]]
        single = self["attack_curves"].astype({"network": object}).merge(whole.astype({"network": object}))
        both = pd.concat([self["best_curves"].astype({"network": object}), single], ignore_index=True)
        libraries = self.evidence.rows.set_index("attack")["library"]
        return both.assign(library=both["attack"].map(libraries).fillna(""))

    def _bracket(self) -> pd.DataFrame:
        """Certified and best curves of the networks and norms that have both."""
        certified = self["certified_curves"].astype({"network": object})
        best = self["best_curves"].astype({"network": object})
        known = certified[["network", "norm"]].drop_duplicates()
        return pd.concat([best.merge(known), certified], ignore_index=True)

    def _exact(self) -> pd.DataFrame:
        """Ratios on solved images, with the attacks' labels."""
        content = METRICS["ratios"](self.evidence)
        labels = self.evidence.rows.set_index("attack")["label"]
        return content[content["exact"]].assign(label=content["attack"].map(labels))

    def _pairs(self) -> pd.DataFrame:
        """Pairs with what their panels and axes are called."""
        content = METRICS["library_pairs"](self.evidence)
        names = {
            name: content[name].map(lambda key: LIBRARY_LABELS.get(key, key)) for name in ("library_a", "library_b")
        }
        return content.assign(label_a=names["library_a"], label_b=names["library_b"], pair=content["title"])

    def limit(self, norm: Norm, stretch: float = 1.0) -> float | None:
        """Where axes of distances end in a norm: at the 99th percentile of the best known distances, stretched."""
        best = self["distances"]
        chosen = best[best["norm"] == norm.value]
        tops = [
            float(np.quantile(finite, 0.99))
            for _, group in chosen.groupby("network", observed=True)
            if len(finite := group["distance"].to_numpy()[np.isfinite(group["distance"].to_numpy())])
        ]
        return max(tops) * stretch or None if tops else None


STRETCH = {"cumulative": 1.05, "per_attack": 1.3, "security": 1.3, "bracket": 1.05}
"""How far beyond the best known distances a plot's axis goes: attacks by themselves find larger ones."""


def figures(name: str, frames: Frames) -> list[Group]:
    """A plot in every norm that has data for it: one group, or none.

    Args:
        name: of an entry of ``bench.plots.PLOTS``.
        frames: of the run.
    """
    plot = plots.PLOTS[name]
    content = frames[plot.metric]
    made = []
    for norm in frames.evidence.norms:
        part = content[content["norm"] == norm.value]
        if len(part):
            made.append(_figure(name, plot, part, norm, frames))
    title = plot.title.removeprefix("{norm}: ")
    layout = "stack" if plot.panel else "halves" if plot.height_per_line else "grid"
    return [Group(title[:1].upper() + title[1:], plot.caption, layout, made)] if made else []


def _figure(name: str, plot: plots.Plot, part: pd.DataFrame, norm: Norm, frames: Frames) -> Figure:
    id_ = f"{name.replace('_', '-')}-{norm.value}"
    title = plot.title.format(norm=norm.label)
    titles = dict(zip(frames.evidence.rows["attack"], frames.evidence.rows["label"], strict=True))
    limit = frames.limit(norm, STRETCH[name]) if name in STRETCH else None
    with plots.drawing():
        drawn = plots.figure(plot, part, titles=titles, limit=limit)
        svg = plots.inline(drawn, prefix=id_, label=f"{title}. {plot.caption}")
    csv = csv_text(part[list(plot.columns)]) if len(part) <= CSV_LINES else ""
    return Figure(id_, norm.value, title, plot.caption, svg, csv)
