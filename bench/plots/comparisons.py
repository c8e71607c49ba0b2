"""Comparisons: bounds against attacks, attacks against the truth, library against library, quality against cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from bench.metrics.curves import BEST, CERTIFIED
from bench.norms import Norm
from bench.plots.bands import Bands, height
from bench.plots.distributions import BEYOND, distance_label
from bench.plots.style import INK, MUTED, PAPER, of_libraries, of_networks, tagged

SCATTER = 600
"""At most so many points of a network in one panel, every k-th image."""

NAME_SIZE = 7.5
"""Of the names of attacks beside their points, in printer's points."""

CLASSES = 20
"""At most so many classes have a cell; of more, those with the most images."""

UPRIGHT = 3
"""Names below a panel with more characters than this stand upright."""

CELL_SIZE = 8.0
"""Of the numbers in cells, in printer's points."""

RATIO_LIMIT = 4.0
"""Ratios above this are drawn at the edge of the axis."""


def bracket(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What is proved and what is found: certified robust accuracy, that under the best attacks, and the gap between.

    Args:
        frame: curves of one norm and network; attack ``certified`` is the lower, ``best of all`` the upper curve.
        axes: to draw on.
    """
    for network, group in frame.groupby("network", observed=True):
        style = of_networks(frame)[str(network)]
        curves = {str(name): part for name, part in group.groupby("attack", observed=True, sort=False)}
        eps = np.union1d(group["eps"].to_numpy(), [BEYOND * float(group["eps"].max())])
        values = {name: _at(part, eps) for name, part in curves.items()}
        with tagged(axes, network=str(network)):
            axes.fill_between(
                eps,
                values[CERTIFIED],
                values[BEST],
                step="post",
                color=style.colour,
                alpha=0.22,
                linewidth=0,
            )
            axes.plot(
                eps,
                values[BEST],
                drawstyle="steps-post",
                color=style.colour,
                linewidth=2.2,
                label="best attack",
            )
            axes.plot(
                eps,
                values[CERTIFIED],
                drawstyle="steps-post",
                color=style.colour,
                linewidth=1.6,
                linestyle=(0, (4, 2)),
                label="certified",
            )
    axes.set(ylim=(0, 1.02), xlim=(0, None), ylabel="robust accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(distance_label(frame, short=True))
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
    looks = of_networks(frame)
    bands = Bands(frame, [name for name in looks if (frame["network"] == name).any()])
    markers = of_libraries(frame)
    half = 0.45 / height(len(bands.networks))
    for (attack, network), group in frame.groupby(["attack", "network"], observed=True, sort=False):
        values = np.sort(group["ratio"].to_numpy(dtype=np.float64))
        place = bands.place(str(attack), str(network))
        shown = np.minimum(_thinned(values, 150), RATIO_LIMIT)
        library = str(group["library"].iloc[0])
        with tagged(axes, network=str(network), attack=str(attack), library=library):
            axes.plot(
                shown,
                np.full(len(shown), place),
                linestyle="none",
                marker=markers[library].marker,
                markersize=4,
                alpha=0.6,
                markeredgewidth=0,
                color=looks[str(network)].colour,
            )
            middle = min(float(values[len(values) // 2]), RATIO_LIMIT)
            axes.plot([middle, middle], [place - half, place + half], color=INK, linewidth=2)
    axes.axvline(1, color=MUTED, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.97, RATIO_LIMIT * 1.04)
    ticks = [1, 1.1, 1.25, 1.5, 2, 3, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks[:-1]] + [f"≥ {RATIO_LIMIT:g}"])
    axes.set_xticks([], minor=True)
    bands.draw(axes)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{Norm(frame['norm'].iloc[0]).label} distance found / exact distance (logarithmic)")
    return axes


def library_scatter(frame: pd.DataFrame, axes: Axes) -> Axes:
    """One method in two libraries: a point per image and network, the diagonal where both agree.

    Args:
        frame: lines of ``bench.metrics`` ``library_pairs`` of one norm and method.
        axes: to draw on.
    """
    looks = of_networks(frame)
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
    style, markers = of_networks(frame)[str(frame["network"].iloc[0])], of_libraries(frame)
    known = frame[np.isfinite(frame["ratio"]) & (frame["seconds"] > 0)].sort_values(
        ["front", "ratio"], ascending=[False, True]
    )
    top = float(np.minimum(known["ratio"], RATIO_LIMIT).max()) if len(known) else 1.0
    best = known[known["front"]].sort_values("seconds")
    axes.plot(best["seconds"], best["ratio"], color=style.colour, linewidth=1, drawstyle="steps-post", alpha=0.7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [tick for tick in (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 4) if tick <= top * 1.1]
    spread = ticks[:: 2 if len(ticks) > 5 else 1] if top < 1.5 else [t for t in ticks if t in (1, 1.2, 1.5, 2, 3, 4)]
    axes.set_yticks(spread, [f"{tick:g}" if tick < RATIO_LIMIT else f"≥ {tick:g}" for tick in spread])
    axes.set_yticks([], minor=True)
    room = max(top, 1.08) ** 0.09
    axes.set_ylim(1 / room, max(top, 1.08) * room**1.5)
    if len(known):
        wide = max(float(known["seconds"].max() / known["seconds"].min()), 10.0) ** 0.12
        axes.set_xlim(known["seconds"].min() / wide, known["seconds"].max() * wide**2.5)
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("seconds per image")
    axes.set_ylabel("ratio to best known (median)")
    points = np.column_stack([known["seconds"], np.minimum(known["ratio"], RATIO_LIMIT)])
    places = _room_for_names(axes, points, [str(title) for title in known["title"]])
    for line, place in zip(known.to_dict("records"), places, strict=True):
        library, point = str(line["library"]), (line["seconds"], min(line["ratio"], RATIO_LIMIT))
        with tagged(axes, network=str(line["network"]), attack=str(line["attack"]), library=library):
            axes.plot(
                *([value] for value in point),
                linestyle="none",
                marker=markers[library].marker,
                markersize=7,
                color=style.colour,
                markerfacecolor=style.colour if line["front"] else "none",
            )
            if place is not None:
                axes.annotate(
                    str(line["title"]), point, xytext=place, textcoords="offset points", fontsize=NAME_SIZE, color=INK
                )
    return axes


def _room_for_names(
    axes: Axes, points: np.ndarray[tuple[int, int], np.dtype[np.float64]], names: Sequence[str]
) -> list[tuple[float, float] | None]:
    """Where each name stands beside its point, in printer's points, so that it covers no other name and no marker.

    Args:
        axes: with its final limits.
        points: (n, 2) in data coordinates; the first are served first.
        names: one for each point.

    Returns:
        The offset of each name, None where there is no room.
    """
    if not len(points):
        return []
    scale = 72 / axes.figure.dpi
    centres = axes.transData.transform(points) * scale
    frame = np.asarray(axes.get_window_extent().extents) * scale
    high, marker = NAME_SIZE * 1.15, 4.5
    taken = [(x - marker, y - marker, x + marker, y + marker) for x, y in centres]
    places: list[tuple[float, float] | None] = []
    for (x, y), name in zip(centres, names, strict=True):
        wide = 0.56 * NAME_SIZE * len(name)
        offsets = [
            (6.0, 3.0),
            (6.0, -high),
            (-wide - 6, 3.0),
            (-wide - 6, -high),
            (-wide / 2, 6.0),
            (-wide / 2, -high - 4),
        ]
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + high) for dx, dy in offsets]
        for offset, box in zip(offsets, boxes, strict=True):
            inside = box[0] > frame[0] and box[1] > frame[1] and box[2] < frame[2] + 8 and box[3] < frame[3]
            own = (x - marker, y - marker, x + marker, y + marker)
            if inside and not any(_overlap(box, other) for other in taken if other != own):
                places.append(offset)
                taken.append(box)
                break
        else:
            places.append(None)
    return places


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def class_heat(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Median distance of each class on each network, darker for larger.

    Args:
        frame: lines of ``bench.metrics`` ``class_medians`` of one norm; names of classes, if any, in ``class``.
        axes: to draw on.
    """
    labels = _classes(frame, "label")
    table = frame.pivot_table(index="network", columns="label", values="median", observed=True, aggfunc="first")
    table = table.reindex(columns=list(labels)).replace(np.inf, np.nan)
    _heat(table.rename(columns=labels), axes, 2)
    axes.set_xlabel("true class")
    axes.set_ylabel("")
    return axes


def change_heat(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What each class is taken for on one network: fraction of its images, true class down, adversarial class across.

    Args:
        frame: lines of ``bench.metrics`` ``class_changes`` of one norm and network; names of classes, if any, in
            ``class`` and ``taken_for``.
        axes: to draw on.
    """
    down, across = _classes(frame, "label"), _classes(frame, "adversarial_class")
    if len(down | across) <= CLASSES:
        down = across = dict(sorted((down | across).items()))
    table = frame.pivot_table(index="label", columns="adversarial_class", values="fraction", aggfunc="sum")
    table = table.reindex(index=list(down), columns=list(across)).fillna(0.0)
    _heat((100 * table).round().rename(index=down, columns=across), axes, 3, low=0.0, high=100.0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    return axes


def _classes(frame: pd.DataFrame, column: str) -> dict[int, str]:
    """The classes of a column by number, with what they are called; of many, those with the most images."""
    name = {"label": "class", "adversarial_class": "taken_for"}[column]
    names = dict(zip(frame[column], frame[name] if name in frame else frame[column].astype(str), strict=True))
    if len(names) > CLASSES:
        most = frame.groupby(column)["images"].sum().sort_values(ascending=False, kind="stable")
        names = {number: names[number] for number in most.index[:CLASSES]}
    elif "classes" in frame and frame["classes"].iloc[0] <= CLASSES:
        # A class without images has a place of its own, so that nobody looks for it in vain.
        names = {number: str(number) for number in range(int(frame["classes"].iloc[0]))} | names
    return {int(number): str(names[number]) for number in sorted(names)}


def _heat(table: pd.DataFrame, axes: Axes, digits: int, low: float | None = None, high: float | None = None) -> None:
    known = bool(table.notna().to_numpy().any())
    hidden = table.isna() | (table == 0) if low == 0 else table.isna()
    with sns.axes_style(rc={"axes.grid": False}):
        sns.heatmap(
            table,
            ax=axes,
            annot=table.map(lambda value: _cell(value, digits)) if table.size <= CLASSES**2 else False,
            fmt="",
            cmap="Blues",
            mask=hidden,
            vmin=low if known else 0.0,
            vmax=high if known else 1.0,
            cbar=False,
            linewidths=0.5,
            linecolor=PAPER,
            annot_kws={"fontsize": CELL_SIZE},
        )
    for number in axes.texts:
        number.set_in_layout(False)
    axes.grid(visible=False)
    axes.tick_params(rotation=0, length=0)
    # Numbers have room beside one another, names do not.
    if max((len(str(name)) for name in table.columns), default=0) > UPRIGHT:
        axes.tick_params(axis="x", rotation=90)


def _cell(value: float, digits: int) -> str:
    """A number with so many significant digits where it is below 100, as a whole number above; empty for none."""
    if not np.isfinite(value):
        return ""
    return f"{value:.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _thinned(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], most: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).round().astype(np.int64)]
