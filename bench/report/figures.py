"""Figures of the page: each plot, norm by norm, as inline SVG with its data as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from bench import plots
from bench.norms import Norm
from bench.plots import PLOTS
from bench.report import data
from bench.report.exports import csv_text
from bench.report.frames import Frames

CSV_LINES = 8000
"""A figure with more lines of data than this does not embed them; ``records.csv`` has them all."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: where it stands, what it shows, how it looks and how many inches wide, what it is made of."""

    id: str
    norm: str
    unit: str
    title: str
    caption: str
    svg: str
    csv: str
    width: float


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """One kind of figure in every norm that has data for it, under one caption; ``layout`` is a class of the page."""

    title: str
    caption: str
    layout: str
    figures: Sequence[Figure]


STRETCH = {"accuracy": 1.05, "per_attack": 1.6, "security": 1.3, "bracket": 1.05}
"""How far beyond the best known distances a plot's axis goes: attacks by themselves find larger ones."""


def figures(name: str, frames: Frames) -> list[FigureGroup]:
    """A plot in every norm that has data for it: one group, or none.

    Args:
        name: of an entry of ``bench.plots.PLOTS``.
        frames: of the run.
    """
    plot = PLOTS[name]
    content = frames[plot.metric]
    made = []
    for norm in frames.evidence.norms:
        part = content[content["norm"] == norm.value]
        if len(part):
            made.append(_figure(name, plot, part, norm, frames))
    title = plot.title.removeprefix("{norm}: ")
    layout = "grid" if all(one.width <= plots.BESIDE for one in made) else "stack"
    return [FigureGroup(title[:1].upper() + title[1:], plot.caption, layout, made)] if made else []


def drawn(name: str, frames: Frames, norm: Norm) -> MatplotlibFigure:
    """A plot in one norm, as a figure of Matplotlib.

    Args:
        name: of an entry of ``bench.plots.PLOTS``.
        frames: of the run.
        norm: one that the plot has data for.
    """
    plot = PLOTS[name]
    content = frames[plot.metric]
    titles = dict(zip(frames.evidence.rows["attack"], frames.evidence.rows["label"], strict=True))
    limit = frames.limit(norm, STRETCH[name]) if name in STRETCH else None
    return plots.figure(plot, content[content["norm"] == norm.value], titles=titles, limit=limit)


def _figure(name: str, plot: plots.Plot, part: pd.DataFrame, norm: Norm, frames: Frames) -> Figure:
    id_ = f"{name.replace('_', '-')}-{norm.value}"
    title = plot.title.format(norm=norm.label)
    with plots.drawing():
        made = drawn(name, frames, norm)
        svg = plots.inline(made, prefix=id_, label=f"{title}. {plot.caption}")
    columns = [name for name in plot.columns if name in part]
    csv = csv_text(part[columns]) if columns and len(part) <= CSV_LINES else ""
    return Figure(
        id_,
        norm.value,
        data.explained(frames.evidence.domain, norm) if plot.unit else "",
        title,
        plot.caption,
        svg,
        csv,
        float(made.get_size_inches()[0]),
    )
