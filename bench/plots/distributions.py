"""Distributions of minimal norms, network against network and attack by attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bench.norms import Norm
from bench.plots.style import INK, MUTED, NetworkStyle, library_marker, network_styles, tagged

POINTS = 400
"""At most so many images are drawn as points, every k-th in order of distance."""


BEYOND = 10.0
"""Step curves go on so many times beyond their last step, so that they cross the whole of any axis."""


def styles(frame: pd.DataFrame) -> dict[str, NetworkStyle]:
    """The styles of a frame's networks: of all its categories, so that every panel of a report agrees."""
    column = frame["network"]
    names = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column.unique()
    return network_styles([str(name) for name in names])


def distance_label(norm: str, *, short: bool = False) -> str:
    """The label of an axis of distances in a norm."""
    member = Norm(norm)
    return f"{member.label} distance" if short else f"{member.label} distance ({member.unit})"


def cumulative_lines(frame: pd.DataFrame, axes: Axes) -> Axes:
    """As :func:`cumulative`, without bands: for panels too small for them."""
    return cumulative(frame, axes, bands=False)


def cumulative(frame: pd.DataFrame, axes: Axes, *, bands: bool = True) -> Axes:
    """Share of images made wrong by a change of at most eps: one step line per network with its 95 % band.

    Args:
        frame: curves of one norm, as ``bench.metrics.best_curves`` or ``attack_curves`` gives them.
        axes: to draw on.
        bands: whether to draw the intervals.
    """
    limit = _limit(frame)
    for network, group in frame.groupby("network", observed=True):
        style = styles(frame)[str(network)]
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
        axes.set_xlabel(distance_label(frame["norm"].iloc[0], short=not bands))
    return axes


def violins(frame: pd.DataFrame, axes: Axes) -> Axes:
    """A violin of the finite distances of each network, with its median, quartiles and the images as points.

    Args:
        frame: columns network, norm, distance; one norm.
        axes: to draw on.
    """
    looks = styles(frame)
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
        axes.set_ylabel(distance_label(frame["norm"].iloc[0], short=True))
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

    Args:
        frame: lines of ``bench.metrics.tables.summary`` of one norm; networks are stacked within an attack.
        axes: to draw on.
    """
    looks = styles(frame)
    names = [name for name in looks if (frame["network"] == name).any()]
    attacks = list(dict.fromkeys(frame["attack"].astype(str)))
    finite = frame[["q1", "median", "q3"]].to_numpy(dtype=np.float64)
    top = float(finite[np.isfinite(finite)].max(initial=0.0)) or 1.0
    for line in frame.to_dict("records"):
        name = str(line["network"])
        offset = (names.index(name) - (len(names) - 1) / 2) * 0.8 / max(len(names), 1)
        place = attacks.index(str(line["attack"])) + offset
        look = looks[name]
        marker = library_marker(str(line["library"]))
        with tagged(axes, network=name, attack=str(line["attack"]), library=str(line["library"])):
            if np.isfinite(line["q1"]):
                high = line["q3"] if np.isfinite(line["q3"]) else top * 1.12
                axes.plot([line["q1"], high], [place, place], color=look.colour, linewidth=2.2, alpha=0.6)
            known = bool(np.isfinite(line["median"]))
            axes.plot(
                [line["median"] if known else top * 1.12],
                [place],
                marker=marker if known else ">",
                markersize=5.5,
                color=look.colour,
                markerfacecolor=look.colour if known else "none",
                linestyle="none",
            )
    axes.set_yticks(range(len(attacks)), [frame.loc[frame["attack"] == a, "label"].iloc[0] for a in attacks])
    axes.set_ylim(len(attacks) - 0.4, -0.6)
    axes.set_xlim(0, top * 1.18)
    axes.grid(visible=False, axis="y")
    if len(frame):
        axes.set_xlabel(distance_label(frame["norm"].iloc[0]))
    return axes


def security(frame: pd.DataFrame, axes: Axes) -> Axes:
    """The security evaluation curves of one network: robust accuracy over eps, each attack thin, all together bold.

    Args:
        frame: curves of one norm and network; attack ``best of all`` is the envelope; ``library`` tells the dash:
            solid for Foolbox, dashed for any other.
        axes: to draw on.
    """
    limit = _limit(frame)
    for (network, attack), group in frame.groupby(["network", "attack"], observed=True, sort=False):
        style = styles(frame)[str(network)]
        together = attack == "best of all"
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
                linestyle="solid" if together or library == "foolbox" else (0, (4, 2)),
                alpha=1.0 if together else 0.8,
                zorder=3 if together else 2,
                label=str(attack) if together else "_",
            )
    axes.set(xlim=(0, limit), ylim=(0, 1.02), ylabel="robust accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if len(frame):
        axes.set_xlabel(distance_label(frame["norm"].iloc[0], short=True))
    return axes


def _limit(frame: pd.DataFrame) -> float:
    """Where an axis of eps ends: a little beyond the point at which the slowest best curve has come down to 2 %."""
    if not len(frame):
        return 1.0
    reached = frame[frame["robust_accuracy"] >= 0.02]
    top = float((reached if len(reached) else frame)["eps"].max())
    return top * 1.05 or 1.0
