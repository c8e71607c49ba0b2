"""Queries against distance: a line for each decision-based attack, a panel for each network."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bench.plots.labels import distance_label, plain_log
from bench.plots.style import INK, MUTED, PAPER, looks, network_styles, of_libraries, tagged


def curves(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Median distance over queries per image, both logarithmic; the best known distance as a level line.

    Args:
        frame: lines of ``bench.metrics`` ``query_curves`` of one norm and network.
        axes: to draw on.
    """
    network, best = str(frame["network"].iloc[0]), float(frame["best"].iloc[0])
    axes.set(xscale="log", yscale="log")
    markers, colours = of_libraries(frame), _colours(frame)
    if np.isfinite(best) and best > 0:
        with tagged(axes, network=network):
            axes.axhline(best, color=INK, linewidth=0.9)
    for attack, group in frame.groupby("attack", observed=True, sort=False):
        library, colour = str(group["library"].iloc[0]), colours[str(group["title"].iloc[0])]
        style = markers[library]
        # No logarithm has a place for 0 and infinity.
        shown = group[np.isfinite(group["median"]) & (group["median"] > 0)]
        end = shown[shown["returned"]]
        with tagged(axes, network=network, attack=str(attack), library=library):
            axes.plot(
                shown["queries"],
                shown["median"],
                color=colour,
                linestyle=style.dash,
                linewidth=1.4,
                marker=style.marker,
                markersize=2.6,
            )
            axes.plot(
                end["queries"],
                end["median"],
                color=colour,
                linestyle="none",
                marker=style.marker,
                markersize=6.5,
                markeredgecolor=PAPER,
                markeredgewidth=0.8,
            )
    _ticks(axes)
    axes.set_ylabel(f"median {distance_label(frame, short=True)}")
    axes.text(
        0.97,
        0.95,
        f"{int(frame['images'].iloc[0]):,} images",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=MUTED,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
    return axes


def legend(frame: pd.DataFrame) -> list[Line2D]:
    """A line for each attack, and one for the best known distance where a panel has it."""
    markers, colours = of_libraries(frame), _colours(frame)
    handles = []
    for _, line in frame.drop_duplicates("attack").iterrows():
        style = markers[str(line["library"])]
        colour = colours[str(line["title"])]
        name = str(line["label"])
        name = f" {name}" if name.startswith("_") else name
        handles.append(
            Line2D([], [], color=colour, linestyle=style.dash, linewidth=1.4, marker=style.marker, label=name)
        )
        handles[-1].set_markersize(4)
    if (np.isfinite(frame["best"]) & (frame["best"] > 0)).any():
        handles.append(Line2D([], [], color=INK, linewidth=0.9, label="best known distance, all attacks together"))
    return handles


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    """A colour for each method, by its place among the decision-based ones; those of networks come last."""
    networks, titles = looks(frame, "network"), looks(frame, "title")
    styles = network_styles([*(f"network {name}" for name in networks), *(f"method {title}" for title in titles)])
    return {title: styles[f"method {title}"].colour for title in titles}


def _ticks(axes: Axes) -> None:
    plain_log(axes.xaxis)
    plain_log(axes.yaxis)
