"""Distributions of minimal norms, network against network and attack by attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from scipy import stats

from bench.norms import Norm
from bench.plots.bands import NAME_SIZE, Bands
from bench.plots.labels import Floats, distance_axis, distance_label
from bench.plots.style import BOUND, INK, PAPER, RULE, NetworkStyle, dots, of_libraries, of_networks, tagged

POINTS = 200
"""At most so many images are drawn as points, every k-th in order of distance."""

BINS = 40
"""Whole numbers that span more than this are counted in bins of several."""

ROW = 0.72
"""The height of a network's row of a distribution, in inches."""

BASE, HIGH = 0.12, 0.36
"""Where the density of a row stands below its middle, and how high it is, in rows."""


def rows(frame: pd.DataFrame, axes: Axes) -> Axes:
    """The distances of each network in a row: density above, images below, with median and quartiles.

    Whole numbers are counted instead. Misclassified images, at 0, take no part in the density.

    Args:
        frame: columns network, norm, distance and, where known, misclassified; one norm.
        axes: to draw on.
    """
    looks = of_networks(frame)
    names = [name for name in looks if (frame["network"] == name).any()]
    counts = len(frame) > 0 and Norm(str(frame["norm"].iloc[0])).counts
    finite = frame.loc[np.isfinite(frame["distance"]), "distance"]
    top = float(finite.max() * 1.04) if len(finite) and finite.max() > 0 else 1.0
    # A bar is as wide as a whole number.
    axes.set_xlim(-0.02 * top, max(top, top / 1.04 + 0.6) if counts else top)
    distance_axis(frame, axes.xaxis)
    for place, name in enumerate(names):
        values = np.sort(frame.loc[frame["network"] == name, "distance"].to_numpy(dtype=np.float64))
        found = values[np.isfinite(values)]
        with tagged(axes, network=name):
            _row(axes, place, found, looks[name], counts=counts)
            axes.text(
                0.008,
                place - 0.47,
                _told(name, values),
                transform=axes.get_yaxis_transform(),
                va="top",
                fontsize=NAME_SIZE,
                color=INK,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
            )
    axes.hlines(np.arange(1, len(names)) - 0.5, 0, 1, transform=axes.get_yaxis_transform(), color=RULE, linewidth=0.7)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if len(frame):
        axes.set_xlabel(distance_label(frame))
    return axes


def _told(name: str, values: Floats) -> str:
    """A network's name, and how many of its images have no place in a distribution."""
    parts = [(int((values == 0).sum()), "at 0 (misclassified)"), (int(np.isinf(values).sum()), "not found")]
    return f"{name}: {', '.join(f'{n} {what}' for n, what in parts if n)}" if any(n for n, _ in parts) else name


def _row(axes: Axes, place: int, values: Floats, look: NetworkStyle, *, counts: bool) -> None:
    positive = values[values > 0]
    if counts and len(positive):
        _bars(axes, place + BASE, positive, look)
    elif len(np.unique(positive)) > 2:
        x = np.linspace(positive[0], positive[-1], 60)
        density = stats.gaussian_kde(positive)(x)
        _area(axes, place + BASE, x, HIGH * density / density.max(), look)
    shown = values if len(values) <= POINTS else values[np.linspace(0, len(values) - 1, POINTS).round().astype(int)]
    if not len(shown):
        return
    if not counts:
        # A fixed spread over the height keeps the drawing reproducible and neighbours apart.
        spread = BASE + 0.13 + ((np.arange(len(shown)) * 0.618034) % 1) * 0.2
        dots(axes, shown, place + np.where(shown > 0, spread, BASE + 0.23), look.colour, size=3.2, alpha=0.7)
    elif (values == 0).any():
        dots(axes, [0.0], [place + BASE + 0.23], look.colour, size=5, alpha=1)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([low, high], [place + BASE + 0.04] * 2, color=INK, linewidth=3.2, solid_capstyle="butt")
    axes.plot([middle, middle], [place + BASE - 0.08, place + BASE + 0.16], color=INK, linewidth=2)


def _bars(axes: Axes, place: float, values: Floats, look: NetworkStyle) -> None:
    """How often each whole number occurs, in bins of several where they span many."""
    wide = max(1, int(np.ceil((values[-1] - values[0] + 1) / BINS)))
    bins = np.floor((values - values[0]) / wide)
    number, count = np.unique(bins, return_counts=True)
    left = values[0] + number * wide - 0.5
    high = HIGH * count / count.max()
    gap = 0.1 * wide
    corners = [
        [(x + gap, place), (x + gap, place - h), (x + wide - gap, place - h), (x + wide - gap, place)]
        for x, h in zip(left, high, strict=True)
    ]
    axes.add_collection(PolyCollection(corners, facecolors=look.colour, alpha=0.55, linewidths=0), autolim=False)


def _area(axes: Axes, place: float, x: Floats, height: Floats, look: NetworkStyle) -> None:
    axes.fill_between(x, place, place - height, color=look.colour, alpha=0.25, linewidth=0)
    axes.plot(x, place - height, color=look.colour, linewidth=1)


def intervals(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Quartiles and median of each attack on each network: a line from q1 to q3 with the library's marker at the median.

    A median beyond the axis is a filled arrow at its edge, an infinite one an open arrow. A line of no attack (``attack``
    empty) is that of all attacks together: its medians go on as upright lines, and ``certified``, where it is known, is a tick.

    Args:
        frame: lines of ``bench.metrics.tables.summary`` of one norm; networks are stacked within an attack.
        axes: to draw on.
    """
    looks = of_networks(frame)
    bands = Bands(frame, [name for name in looks if (frame["network"] == name).any()])
    markers = of_libraries(frame)
    top = _reach(frame)
    edge = top * 1.04
    for line in frame.to_dict("records"):
        name, attack, library = (str(line[key]) for key in ("network", "attack", "library"))
        place, look = bands.place(attack, name), looks[name]
        known, shown = bool(np.isfinite(line["median"])), bool(line["median"] <= top)
        with tagged(axes, network=name, attack=attack, library=library):
            if line["q1"] < edge:
                q3 = min(line["q3"], edge)
                axes.plot([line["q1"], q3], [place, place], color=look.colour, linewidth=2.2, alpha=0.6)
            marker = (markers[library].marker if attack else "|") if shown else ">"
            axes.plot(
                [line["median"] if shown else edge],
                [place],
                marker=marker,
                markersize=5 if attack else 7,
                markeredgewidth=1 if attack else 2,
                color=look.colour,
                markerfacecolor=look.colour if known else "none",
                linestyle="none",
            )
            if not attack and shown:
                axes.axvline(line["median"], color=look.colour, linestyle=look.dash, linewidth=0.8, alpha=0.6, zorder=1)
            if not attack and np.isfinite(line.get("certified", np.nan)):
                axes.plot([line["certified"]], [place], marker=BOUND, markersize=9, color=look.colour, linestyle="none")
    bands.draw(axes)
    axes.set_xlim(0, top * 1.07)
    distance_axis(frame, axes.xaxis)
    axes.grid(visible=False, axis="y")
    if len(frame):
        axes.set_xlabel(distance_label(frame))
    return axes


def _reach(frame: pd.DataFrame) -> float:
    """How far an axis of quartiles goes: as far as they do, but a weak attack does not squeeze the good ones.

    It ends at three times the third quartile of the best attack on the most robust network.
    """
    third = frame["q3"].to_numpy(dtype=np.float64)
    finite = frame[np.isfinite(third)]
    if not len(finite):
        return 1.0
    good = float(finite.groupby("network", observed=True)["q3"].min().max())
    return min(float(finite["q3"].max()), 3 * good) or 1.0
