"""Distributions of minimal norms, network against network and attack by attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bench.metrics.curves import BEST
from bench.norms import Norm
from bench.plots.bands import Bands
from bench.plots.style import INK, MUTED, PAPER, NetworkStyle, of_libraries, of_networks, tagged

POINTS = 200
"""At most so many images are drawn as points, every k-th in order of distance."""


BEYOND = 10.0
"""Step curves go on so many times beyond their last step, so that they cross the whole of any axis."""


def distance_label(frame: pd.DataFrame, *, short: bool = False) -> str:
    """The label of an axis of distances: their norm, and in brackets the frame's ``unit``, else what the norm sums up."""
    member = Norm(str(frame["norm"].iloc[0]))
    unit = str(frame["unit"].iloc[0]) if "unit" in frame else member.unit
    return f"{member.label} distance" if short or not unit else f"{member.label} distance ({unit})"


def cumulative_lines(frame: pd.DataFrame, axes: Axes) -> Axes:
    """As :func:`cumulative`, without bands: for panels too small for them.

    Args:
        frame: curves of one attack; where it has a column ``fewer`` above 0, that is the number of images to name.
        axes: to draw on.
    """
    cumulative(frame, axes, bands=False)
    fewer = int(frame["fewer"].max()) if "fewer" in frame and len(frame) else 0
    if fewer:
        axes.text(
            0.97,
            0.06,
            f"{fewer} images",
            transform=axes.transAxes,
            ha="right",
            fontsize=8,
            color=MUTED,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    return axes


def cumulative(frame: pd.DataFrame, axes: Axes, *, bands: bool = True) -> Axes:
    """Fraction of images made wrong by a change of at most eps: one step line per network with its 95 % band.

    Args:
        frame: curves of one norm, as ``bench.metrics.best_curves`` or ``attack_curves`` gives them.
        axes: to draw on.
        bands: whether to draw the intervals.
    """
    limit = _limit(frame)
    for network, group in frame.groupby("network", observed=True):
        style = of_networks(frame)[str(network)]
        eps = np.append(group["eps"].to_numpy(), BEYOND * max(limit, group["eps"].max()))
        with tagged(axes, network=str(network)):
            if bands:
                ends = (1 - group[name].to_numpy() for name in ("high", "low"))
                low, high = (np.append(end, end[-1]) for end in ends)
                axes.fill_between(eps, low, high, step="post", color=style.colour, alpha=0.14, linewidth=0)
            wrong = 1 - group["robust_accuracy"].to_numpy()
            axes.plot(
                eps,
                np.append(wrong, wrong[-1]),
                drawstyle="steps-post",
                color=style.colour,
                linestyle=style.dash,
                label=str(network),
            )
    axes.set(xlim=(0, limit), ylim=(0, 1.02), ylabel="images made wrong")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(frame):
        axes.set_xlabel(distance_label(frame, short=not bands))
    return axes


def violins(frame: pd.DataFrame, axes: Axes) -> Axes:
    """A violin of the finite distances of each network, with its median, quartiles and the images as points.

    Args:
        frame: columns network, norm, distance; one norm.
        axes: to draw on.
    """
    looks = of_networks(frame)
    names = [name for name in looks if (frame["network"] == name).any()]
    for place, name in enumerate(names):
        values = np.sort(frame.loc[frame["network"] == name, "distance"].to_numpy(dtype=np.float64))
        finite = values[np.isfinite(values)]
        with tagged(axes, network=name):
            _violin(axes, place, finite, looks[name])
            missing = len(values) - len(finite)
            if missing:
                axes.annotate(
                    f"{missing} not found",
                    (place, 1),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    va="bottom",
                    fontsize=8,
                    color=MUTED,
                )
    shown = [name.replace(" (", "\n(") for name in names]
    axes.set_xticks(range(len(names)), shown)
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_ylim(bottom=0)
    if len(frame):
        axes.set_ylabel(distance_label(frame, short=True))
    return axes


def _violin(axes: Axes, place: int, values: np.ndarray[tuple[int], np.dtype[np.float64]], look: NetworkStyle) -> None:
    if len(np.unique(values)) > 2:
        sns.violinplot(
            x=np.full(len(values), place),
            y=values,
            ax=axes,
            native_scale=True,
            color=look.colour,
            inner=None,
            cut=0,
            width=0.8,
            linewidth=1,
            alpha=0.25,
        )
    if not len(values):
        return
    shown = values if len(values) <= POINTS else values[np.linspace(0, len(values) - 1, POINTS).round().astype(int)]
    # A fixed spread over the width keeps the drawing reproducible and neighbours apart.
    spread = ((np.arange(len(shown)) * 0.618034) % 1 - 0.5) * 0.3
    axes.plot(place + spread, shown, linestyle="none", marker="o", markersize=2.6, alpha=0.55, color=look.colour)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.plot([place, place], [low, high], color=INK, linewidth=4, solid_capstyle="butt")
    axes.plot([place - 0.2, place + 0.2], [middle, middle], color=INK, linewidth=2)


def intervals(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Quartiles and median of each attack on each network: a line from q1 to q3 with the library's marker at the median.

    A median beyond the axis is a filled arrow at its edge, an infinite one an open arrow.

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
        place, colour = bands.place(attack, name), looks[name].colour
        known, shown = bool(np.isfinite(line["median"])), bool(line["median"] <= top)
        with tagged(axes, network=name, attack=attack, library=library):
            if line["q1"] < edge:
                axes.plot([line["q1"], min(line["q3"], edge)], [place, place], color=colour, linewidth=2.2, alpha=0.6)
            axes.plot(
                [line["median"] if shown else edge],
                [place],
                marker=markers[library].marker if shown else ">",
                markersize=5,
                color=colour,
                markerfacecolor=colour if known else "none",
                linestyle="none",
            )
    bands.draw(axes)
    axes.set_xlim(0, top * 1.07)
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


def security(frame: pd.DataFrame, axes: Axes) -> Axes:
    """The security evaluation curves of one network: robust accuracy over eps, each attack thin, all together bold.

    Args:
        frame: curves of one norm and network; attack ``best of all`` is the envelope; each library has its dash.
        axes: to draw on.
    """
    limit, dashes = _limit(frame), of_libraries(frame)
    for (network, attack), group in frame.groupby(["network", "attack"], observed=True, sort=False):
        style = of_networks(frame)[str(network)]
        together = attack == BEST
        library = "" if together else str(group["library"].iloc[0])
        eps = np.append(group["eps"].to_numpy(), BEYOND * max(limit, group["eps"].max()))
        accuracy = np.append(group["robust_accuracy"].to_numpy(), group["robust_accuracy"].to_numpy()[-1])
        with tagged(axes, network=str(network), **({} if together else {"attack": str(attack), "library": library})):
            axes.plot(
                eps,
                accuracy,
                drawstyle="steps-post",
                color=style.colour if together else MUTED,
                linewidth=2.6 if together else 1.0,
                linestyle="solid" if together else dashes[library].dash,
                alpha=1.0 if together else 0.8,
                zorder=3 if together else 2,
                label=str(attack) if together else "_",
            )
    axes.set(xlim=(0, limit), ylim=(0, 1.02), ylabel="robust accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(frame):
        axes.set_xlabel(distance_label(frame, short=True))
    return axes


def _limit(frame: pd.DataFrame) -> float:
    """Where an axis of eps ends: a little beyond the point at which the slowest best curve has come down to 2 %."""
    if not len(frame):
        return 1.0
    reached = frame[frame["robust_accuracy"] >= 0.02]
    top = float((reached if len(reached) else frame)["eps"].max())
    return top * 1.05 or 1.0
