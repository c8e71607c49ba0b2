"""Figures of the page: each plot, norm by norm, as inline SVG with its data as CSV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench import plots
from bench.metrics import METRICS, Evidence
from bench.norms import Norm
from bench.report.exports import csv_text

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


class Frames:
    """The metric frames of one report, each computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._made: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The frame of an entry of METRICS, its networks as ordered categories."""
        if name not in self._made:
            frame = self._security() if name == "security_curves" else METRICS[name](self.evidence)
            if "network" in frame:
                order = pd.CategoricalDtype(list(self.evidence.networks), ordered=True)
                frame = frame.assign(network=frame["network"].astype(order))
            self._made[name] = frame
        return self._made[name]

    def _security(self) -> pd.DataFrame:
        """All attacks together first, then each attack, so that each network has one panel."""
        both = pd.concat([METRICS["best_curves"](self.evidence), METRICS["attack_curves"](self.evidence)])
        libraries = self.evidence.rows.set_index("attack")["library"]
        return both.assign(library=both["attack"].map(libraries).fillna(""))

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


STRETCH = {"cumulative": 1.05, "per_attack": 1.3, "security": 1.3}
"""How far beyond the best known distances a plot's axis goes: attacks by themselves find larger ones."""


def figures(name: str, frames: Frames) -> list[Figure]:
    """A plot in every norm that has data for it.

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
    return made


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
