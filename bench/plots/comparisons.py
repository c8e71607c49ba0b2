"""Comparisons: network against network, library against library, who contributes, quality against cost."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullLocator, PercentFormatter

from bench.metrics.agreement import relative
from bench.metrics.resample import ratio_interval
from bench.metrics.tables import median_ratio
from bench.norms import Norm
from bench.plots.bands import Bands, height, tags
from bench.plots.labels import LEAST, SIZE, Floats, Room, excess, excess_axis, plain_log, trimmed
from bench.plots.style import INK, MUTED, PAPER, dots, of_libraries, of_networks, tagged

SCATTER = 600
"""At most so many points in one panel, every k-th image."""

ROW = 0.3
"""The height of an attack's row among those that contribute, in inches."""

RATIO_LIMITS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 4.0)
"""Where an axis of ratios of two libraries may end; what is beyond stands at the edge."""


def duels(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Two networks, image by image: a point per image, the diagonal where both need a change of the same size.

    Images at 0 and those without an adversarial example stand in the margins. Where several coincide the point is larger.

    Args:
        frame: lines of ``bench.metrics`` ``duels`` of one norm and pair; ``smallest`` and ``largest``, where it has them,
            are the ends of the axes.
        axes: to draw on.
    """
    a, b = str(frame["network_a"].iloc[0]), str(frame["network_b"].iloc[0])
    looks = _styles(frame)
    values = frame[["distance_a", "distance_b"]].to_numpy(dtype=np.float64)
    least, most = _ends(frame, values)
    wide = max(most / least, 1.5)
    zero, none = least / wide**0.14, most * wide**0.14
    low, high = zero / wide**0.07, none * wide**0.07
    shown = np.where(values == 0, zero, np.where(np.isinf(values), none, values))[:: max(1, -(-len(values) // SCATTER))]
    larger = np.sign(shown[:, 0] - shown[:, 1])
    with tagged(axes, network=(a, b)):
        axes.plot([low, high], [low, high], color=MUTED, linewidth=1, zorder=1)
        for place in ((zero * least) ** 0.5, (none * most) ** 0.5):
            axes.axvline(place, color=MUTED, linewidth=0.5, linestyle=(0, (3, 3)))
            axes.axhline(place, color=MUTED, linewidth=0.5, linestyle=(0, (3, 3)))
        for side, colour in ((1, looks[a]), (-1, looks[b]), (0, MUTED)):
            points, count = np.unique(shown[larger == side], axis=0, return_counts=True)
            for size in np.unique(np.minimum(count, 16)):
                own = points[np.minimum(count, 16) == size]
                dots(axes, own[:, 0], own[:, 1], colour, size=3.2 * np.sqrt(size), alpha=0.65)
        shares = [
            f"{trimmed(name, 11)} larger: {_percent((side * larger > 0).mean())}" for name, side in ((a, 1), (b, -1))
        ]
        corner: dict[str, Any] = {"transform": axes.transAxes, "fontsize": SIZE, "bbox": _PAPER, "zorder": 4}
        axes.text(0.98, 0.03, shares[0], ha="right", va="bottom", color=looks[a], **corner)
        axes.text(0.02, 0.97, shares[1], ha="left", va="top", color=looks[b], **corner)
    for axis, scale, limit in (
        (axes.xaxis, axes.set_xscale, axes.set_xlim),
        (axes.yaxis, axes.set_yscale, axes.set_ylim),
    ):
        scale("log")
        limit(low, high)
        _margins(axis, least, most, zero, none)
    axes.set_aspect("equal")
    return axes


_PAPER = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.5}


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def _styles(frame: pd.DataFrame) -> dict[str, str]:
    """The colours of the networks of pairs."""
    column = "network_a" if isinstance(frame["network_a"].dtype, pd.CategoricalDtype) else ""
    named = frame["network_a"] if column else pd.concat([frame["network_a"], frame["network_b"]])
    return {name: style.colour for name, style in of_networks(pd.DataFrame({"network": named})).items()}


def _ends(frame: pd.DataFrame, values: Floats) -> tuple[float, float]:
    if "smallest" in frame and np.isfinite(frame["smallest"].iloc[0]):
        return float(frame["smallest"].iloc[0]), float(frame["largest"].iloc[0])
    usual = values[np.isfinite(values) & (values > 0)]
    return (float(usual.min()), float(usual.max())) if len(usual) else (0.5, 2.0)


def _margins(axis: Axis, least: float, most: float, zero: float, none: float) -> None:
    """Ticks at 1, 2, 5 times powers of ten between the ends, and what the margins mean."""
    steps = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    inside = [step for step in steps if least * 0.999 <= step <= most * 1.001]
    inside = inside[:: max(1, -(-len(inside) // 4))]
    axis.set_ticks([zero, *inside, none], ["0", *(f"{step:g}" for step in inside), "none"])
    axis.set_minor_locator(NullLocator())


def library_ratios(frame: pd.DataFrame, axes: Axes) -> Axes:
    """One method in two libraries: the ratio of their distances, image by image, with its median and 95 % interval.

    Args:
        frame: lines of ``bench.metrics`` ``library_pairs`` of one norm, with ``pair`` and ``label`` of each pair of rows.
        axes: to draw on.
    """
    looks = of_networks(frame)
    bands = Bands(frame, [name for name in looks if (frame["network"] == name).any()], by="pair")
    half = 0.45 / height(len(bands.networks))
    a, b = (frame[name].to_numpy(dtype=np.float64) for name in ("distance_a", "distance_b"))
    content = frame.assign(ratio=relative(a, b))
    away = np.exp(np.abs(np.log(np.clip(content["ratio"], 1e-9, 1e9))))
    limit = next((end for end in RATIO_LIMITS if (away <= end).mean() >= 0.95), RATIO_LIMITS[-1])
    ticks, names = _ratio_ticks(limit)
    least, most = ticks[0], ticks[-1]
    for (pair, network), group in content.groupby(["pair", "network"], observed=True, sort=False):
        values = np.sort(group["ratio"].to_numpy(dtype=np.float64))
        place, look = bands.place(str(pair), str(network)), looks[str(network)]
        low, high = ratio_interval(values)
        shown = values[:: max(1, -(-len(values) // 150))]
        with tagged(axes, network=str(network), **tags(group.iloc[0].to_dict())):
            spread = ((np.arange(len(shown)) * 0.618034) % 1 - 0.5) * half
            dots(axes, np.clip(shown, least, most), place + spread, look.colour, size=2.6, alpha=0.5)
            middle, *ends = np.clip([median_ratio(values), low, high], least, most)
            axes.plot(ends, [place, place], color=INK, linewidth=1.4)
            axes.plot([middle, middle], [place - half, place + half], color=INK, linewidth=2)
    axes.axvline(1, color=MUTED, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(least / (most / least) ** 0.03, most * (most / least) ** 0.03)
    axes.set_xticks(ticks, names)
    axes.xaxis.set_minor_locator(NullLocator())
    bands.draw(axes)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{Norm(frame['norm'].iloc[0]).label} distance: first library / second library")
    return axes


def _ratio_ticks(limit: float) -> tuple[list[float], list[str]]:
    """Ticks from the reciprocal of a ratio to the ratio: near 1 as differences in percent."""
    if limit >= 2:
        root = limit**0.5
        return [1 / limit, 1 / root, 1, root, limit], [
            f"≤ 1/{limit:g}",
            f"1/{root:.2g}",
            "1",
            f"{root:.2g}",
            f"≥ {limit:g}",
        ]
    away = limit - 1
    steps = [-away, -away / 2, 0.0, away / 2, away]
    shown = [f"{100 * step:+g}%" if step else "same" for step in (round(step, 6) for step in steps)]
    return [1 + step for step in steps], [f"≤ {shown[0]}", *shown[1:-1], f"≥ {shown[-1]}"]


def contributions(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Which attacks reach the best known distances: alone, at all, and together with those above.

    Args:
        frame: lines of ``bench.metrics`` ``contributions`` of one norm.
        axes: to draw on.
    """
    bands = Bands(frame, [""])
    libraries, thick = of_libraries(frame), 0.8 / height(1)
    places = [bands.place(str(attack), "") for attack in frame["attack"]]
    axes.plot(frame["together"], places, color=MUTED, linewidth=1, zorder=1.5)
    for line, place in zip(frame.to_dict("records"), places, strict=True):
        library = str(line["library"])
        colour = libraries[library].colour
        with tagged(axes, attack=str(line["attack"]), library=library):
            axes.barh(place, line["reaches"], height=thick, color=colour, alpha=0.3)
            if line["alone"] > 0:
                axes.barh(place, line["alone"], height=thick, color=colour)
            axes.plot(
                [line["together"]],
                [place],
                marker=libraries[library].marker,
                markersize=5,
                color=INK,
                markerfacecolor=PAPER,
                linestyle="none",
            )
    bands.draw(axes)
    axes.set_xlim(0, 1.03)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(visible=False, axis="y")
    pairs = int(frame["pairs"].max()) if len(frame) else 0
    axes.set_xlabel(f"images, of all networks ({pairs:,})")
    return axes


def costs(frame: pd.DataFrame, axes: Axes, *, cost: str = "seconds", front: str = "front") -> Axes:
    """Quality against cost on one network: median excess above the best known over cost per image, and the front.

    Args:
        frame: lines of ``bench.metrics`` ``cost`` of one norm and network, with each attack's ``number``.
        axes: to draw on.
        cost: the column of what it costs.
        front: the column of who is on the front.
    """
    libraries = of_libraries(frame)
    known = frame[np.isfinite(frame["ratio"]) & (frame[cost] > 0)]
    axes.set(xscale="log", yscale="log")
    top = float(max(excess(known["ratio"]).max(initial=0.1), 0.1))
    axes.set_ylim(LEAST / 1.7, top * 1.8)
    excess_axis(axes.yaxis, top)
    axes.set_ylabel("distance above the best known")
    if not len(known):
        axes.set_xlim(0.01, 10.0)
        return axes
    wide = max(float(known[cost].max() / known[cost].min()), 10.0) ** 0.08
    axes.set_xlim(known[cost].min() / wide, known[cost].max() * wide)
    best = known[known[front]].sort_values(cost)
    axes.plot(best[cost], excess(best["ratio"]), color=MUTED, linewidth=1, drawstyle="steps-post", alpha=0.8)
    for line, height_ in zip(known.to_dict("records"), excess(known["ratio"]), strict=True):
        library = str(line["library"])
        colour = libraries[library].colour
        with tagged(axes, network=str(line["network"]), attack=str(line["attack"]), library=library):
            axes.plot(
                [line[cost]],
                [height_],
                linestyle="none",
                marker=libraries[library].marker,
                markersize=6,
                color=colour,
                markerfacecolor=colour if line[front] else PAPER,
            )
    return axes


def numbered(frame: pd.DataFrame, axes: Axes, *, cost: str = "seconds", front: str = "front") -> None:
    """Each attack's number beside its marker, once the panel has its final limits; those on the front are served first."""
    known = frame[np.isfinite(frame["ratio"]) & (frame[cost] > 0)]
    known = known.sort_values([front, "number"], ascending=[False, True])
    points = np.column_stack([known[cost], excess(known["ratio"])]) if len(known) else np.empty((0, 2))
    excess_axis(axes.yaxis, axes.get_ylim()[1])
    plain_log(axes.xaxis)
    room = Room(axes, points, marker=3.6)
    for line, point in zip(known.to_dict("records"), points, strict=True):
        with tagged(axes, network=str(line["network"]), attack=str(line["attack"]), library=str(line["library"])):
            room.write((float(point[0]), float(point[1])), str(int(line["number"])), always=True)


costs_passes = partial(costs, cost="passes", front="front_passes")
numbered_passes = partial(numbered, cost="passes", front="front_passes")
