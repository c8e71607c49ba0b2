"""Comparisons: bounds against attacks, attacks against the truth, library against library, quality against cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from bench.norms import Norm
from bench.plots.distributions import BEYOND, distance_label, styles
from bench.plots.style import INK, MUTED, library_marker, tagged

SCATTER = 600
"""At most so many points of a network in one panel, every k-th image."""

RATIO_LIMIT = 4.0
"""Ratios above this are drawn at the edge of the axis."""


def bracket(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What is proved and what is found: certified robust accuracy, that under the best attacks, and the gap between.

    Args:
        frame: curves of one norm and network; attack ``certified`` is the lower, ``best of all`` the upper curve.
        axes: to draw on.
    """
    for network, group in frame.groupby("network", observed=True):
        style = styles(frame)[str(network)]
        curves = {str(name): part for name, part in group.groupby("attack", observed=True, sort=False)}
        eps = np.union1d(group["eps"].to_numpy(), [BEYOND * float(group["eps"].max())])
        values = {name: _at(part, eps) for name, part in curves.items()}
        with tagged(axes, network=str(network)):
            axes.fill_between(
                eps,
                values["certified"],
                values["best of all"],
                step="post",
                color=style.colour,
                alpha=0.22,
                linewidth=0,
            )
            axes.plot(
                eps,
                values["best of all"],
                drawstyle="steps-post",
                color=style.colour,
                linewidth=2.2,
                label="best attack",
            )
            axes.plot(
                eps,
                values["certified"],
                drawstyle="steps-post",
                color=style.colour,
                linewidth=1.6,
                linestyle=(0, (4, 2)),
                label="certified",
            )
    axes.set(ylim=(0, 1.02), xlim=(0, None), ylabel="robust accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="upper right", handlelength=2)
    axes.set_xlabel(distance_label(frame["norm"].iloc[0], short=True))
    return axes


def _at(
    part: pd.DataFrame, eps: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A right-continuous step curve at other places."""
    place = np.searchsorted(part["eps"].to_numpy(), eps, side="right") - 1
    return np.asarray(part["robust_accuracy"].to_numpy()[np.maximum(place, 0)], dtype=np.float64)


def ratios(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Each attack's ratio to the exact distance: points for solved images, the median as a bar.

    Args:
        frame: lines of ``bench.metrics`` ``ratios`` of one norm with ``exact`` True, and ``label``.
        axes: to draw on.
    """
    looks = styles(frame)
    names = [name for name in looks if (frame["network"] == name).any()]
    attacks = list(dict.fromkeys(frame["attack"].astype(str)))
    for (attack, network), group in frame.groupby(["attack", "network"], observed=True, sort=False):
        values = np.sort(group["ratio"].to_numpy(dtype=np.float64))
        offset = (names.index(str(network)) - (len(names) - 1) / 2) * 0.8 / max(len(names), 1)
        place = attacks.index(str(attack)) + offset
        shown = np.minimum(_thinned(values, 150), RATIO_LIMIT)
        library = str(group["library"].iloc[0])
        with tagged(axes, network=str(network), attack=str(attack), library=library):
            axes.plot(
                shown,
                np.full(len(shown), place),
                linestyle="none",
                marker=library_marker(library),
                markersize=3,
                alpha=0.45,
                markeredgewidth=0,
                color=looks[str(network)].colour,
            )
            middle = min(float(values[len(values) // 2]), RATIO_LIMIT)
            axes.plot([middle, middle], [place - 0.09, place + 0.09], color=INK, linewidth=2)
    axes.axvline(1, color=MUTED, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.97, RATIO_LIMIT * 1.04)
    ticks = [1, 1.1, 1.25, 1.5, 2, 3, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks[:-1]] + [f"≥ {RATIO_LIMIT:g}"])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(attacks)), [str(frame.loc[frame["attack"] == a, "label"].iloc[0]) for a in attacks])
    axes.set_ylim(len(attacks) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{Norm(frame['norm'].iloc[0]).label} distance found / exact distance")
    return axes


def libraries(frame: pd.DataFrame, axes: Axes) -> Axes:
    """One method in two libraries: a point per image and network, the diagonal where both agree.

    Args:
        frame: lines of ``bench.metrics`` ``library_pairs`` of one norm and method.
        axes: to draw on.
    """
    looks = styles(frame)
    values = frame[["distance_a", "distance_b"]].to_numpy(dtype=np.float64)
    finite = values[np.isfinite(values) & (values > 0)]
    low, high = (finite.min() * 0.8, finite.max() * 1.25) if len(finite) else (0.1, 1.0)
    edge = high * 1.15
    for network, group in frame.groupby("network", observed=True):
        part = group.iloc[:: max(1, -(-len(group) // SCATTER))]
        x, y = (np.minimum(part[name].to_numpy(dtype=np.float64), edge) for name in ("distance_a", "distance_b"))
        with tagged(axes, network=str(network)):
            axes.plot(
                x,
                y,
                linestyle="none",
                marker="o",
                markersize=3.4,
                alpha=0.55,
                markeredgewidth=0,
                color=looks[str(network)].colour,
            )
    axes.plot([low, edge], [low, edge], color=MUTED, linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, edge * 1.06)
    axes.set_ylim(low, edge * 1.06)
    _plain_log(axes.xaxis)
    _plain_log(axes.yaxis)
    axes.set_xlabel(f"{frame['label_a'].iloc[0]} distance")
    axes.set_ylabel(f"{frame['label_b'].iloc[0]} distance")
    axes.set_aspect("equal")
    return axes


def costs(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Quality against cost on one network: median ratio to the best known over seconds per image, and the front.

    Args:
        frame: lines of ``bench.metrics`` ``cost`` of one norm and network.
        axes: to draw on.
    """
    style = styles(frame)[str(frame["network"].iloc[0])]
    known = frame[np.isfinite(frame["ratio"]) & (frame["seconds"] > 0)].sort_values("seconds")
    named = _room_for_names(known)
    for line in known.to_dict("records"):
        library = str(line["library"])
        with tagged(axes, network=str(line["network"]), attack=str(line["attack"]), library=library):
            axes.plot(
                [line["seconds"]],
                [min(line["ratio"], RATIO_LIMIT)],
                linestyle="none",
                marker=library_marker(library),
                markersize=7,
                color=style.colour,
                markerfacecolor=style.colour if line["front"] else "none",
            )
            if line["attack"] not in named:
                continue
            axes.annotate(
                str(line["title"]),
                (line["seconds"], min(line["ratio"], RATIO_LIMIT)),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=7.5,
                color=INK,
            )
    best = known[known["front"]]
    axes.plot(best["seconds"], best["ratio"], color=style.colour, linewidth=1, drawstyle="steps-post", alpha=0.7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    top = float(np.minimum(known["ratio"], RATIO_LIMIT).max()) if len(known) else 1.0
    ticks = [tick for tick in (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 4) if tick <= top * 1.1]
    spread = ticks if len(ticks) < 6 else [tick for tick in ticks if tick not in (1.02, 1.05)]
    axes.set_yticks(spread, [f"{tick:g}" for tick in spread])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.98, max(top * 1.12, 1.1))
    if len(known):
        axes.set_xlim(known["seconds"].min() / 1.8, known["seconds"].max() * 8)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("seconds per image")
    axes.set_ylabel("ratio to best known (median)")
    return axes


def _room_for_names(known: pd.DataFrame) -> set[str]:
    """The attacks whose names fit beside their points: the front first, then those that have room."""
    named: list[tuple[str, float, float]] = []
    if not len(known):
        return set()
    x = np.log(known["seconds"].to_numpy(dtype=np.float64))
    y = np.log(np.minimum(known["ratio"].to_numpy(dtype=np.float64), RATIO_LIMIT))
    wide, high = np.ptp(x) + np.log(14.4), max(float(y.max()), 0.1) + 0.1
    for place in np.argsort(~known["front"].to_numpy(dtype=bool), kind="stable"):
        if all(abs(x[place] - a) > 0.34 * wide or abs(y[place] - b) > 0.07 * high for _, a, b in named):
            named.append((str(known["attack"].iloc[place]), float(x[place]), float(y[place])))
    return {name for name, _, _ in named}


def _plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def class_heat(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Median distance of each class on each network, darker for larger.

    Args:
        frame: lines of ``bench.metrics`` ``class_medians`` of one norm.
        axes: to draw on.
    """
    table = frame.pivot_table(index="network", columns="label", values="median", observed=True, aggfunc="first")
    _heat(table.replace(np.inf, np.nan), axes, ".2g" if frame["norm"].iloc[0] != "linf" else ".2f")
    axes.set_xlabel("true class")
    axes.set_ylabel("")
    return axes


def change_heat(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What each class is taken for on one network: share of its images, true class down, adversarial class across.

    Args:
        frame: lines of ``bench.metrics`` ``class_changes`` of one norm and network.
        axes: to draw on.
    """
    classes = sorted(set(frame["label"]) | set(frame["adversarial_class"]))
    table = frame.pivot_table(index="label", columns="adversarial_class", values="share", aggfunc="sum")
    table = table.reindex(index=sorted(set(frame["label"])), columns=classes).fillna(0.0)
    _heat(100 * table, axes, ".0f", low=0.0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    return axes


def _heat(table: pd.DataFrame, axes: Axes, form: str, low: float | None = None) -> None:
    small = table.size <= 400
    known = bool(table.notna().to_numpy().any())
    hidden = table.isna() | (table == 0) if low == 0 else table.isna()
    with sns.axes_style(rc={"axes.grid": False}):
        sns.heatmap(
            table,
            ax=axes,
            annot=small,
            fmt=form,
            cmap="Blues",
            mask=hidden,
            vmin=low if known else 0.0,
            vmax=None if known else 1.0,
            cbar=False,
            linewidths=0.5,
            linecolor="#ffffff",
            annot_kws={"fontsize": 7.5},
        )
    for number in axes.texts:
        number.set_in_layout(False)
    axes.grid(visible=False)
    axes.tick_params(rotation=0, length=0)


def _thinned(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], most: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]
