"""Curves: robust accuracy over the size of change, falling throughout, and how near attacks come to the best known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from bench.metrics.curves import BEST, CERTIFIED
from bench.plots.labels import LEAST, MOST, Floats, Room, distance_axis, distance_label, eps_text, excess, excess_axis
from bench.plots.style import INK, MUTED, PAPER, network_styles, of_libraries, of_networks, tagged

BEYOND = 10.0
"""Step curves go on so many times beyond their last step, so that they cross the whole of any axis."""

BANDS = 6
"""With more networks than this in a panel intervals are left out: they would cover one another."""

BEST_FEW = 6
"""So many attacks have a colour of their own; the others are thin and grey."""

PROVED = (0, (4, 2))
"""The dash of what is certified."""


def accuracy(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Robust accuracy of all networks: under all attacks together with its 95 % band, and certified (dashed).

    Args:
        frame: curves of one norm, as ``bench.metrics`` ``best_curves`` and ``certified_curves`` give them; ``usual_eps``,
            where it has that column, is marked.
        axes: to draw on.
    """
    looks = of_networks(frame)
    shown = [name for name in looks if (frame["network"] == name).any()]
    for name in shown:
        for attack, part in frame[frame["network"] == name].groupby("attack", observed=True, sort=False):
            proved = attack == CERTIFIED
            with tagged(axes, network=name):
                if not proved and len(shown) <= BANDS:
                    # Where nothing is left to fall the band would only say how many images there are.
                    ended = part["robust_accuracy"].iloc[-1] == 0
                    eps, low, high = (end[: len(part) if ended else None] for end in _steps(part, "low", "high"))
                    axes.fill_between(eps, low, high, step="post", color=looks[name].colour, alpha=0.13, linewidth=0)
                eps, height = _steps(part, "robust_accuracy")
                axes.plot(
                    eps,
                    height,
                    drawstyle="steps-post",
                    color=looks[name].colour,
                    linewidth=1.1 if proved else 1.8,
                    linestyle=PROVED if proved else "solid",
                    label=f"{name}, certified" if proved else name,
                )
                if len(shown) > 1:
                    _quarters(axes, part, looks[name].colour, looks[name].marker, filled=not proved)
    return _robust_axes(frame, axes)


def bracket(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What is proved and what is found on one network: certified robust accuracy, that under all attacks, and the gap.

    Args:
        frame: curves of one norm and network; attack ``certified`` is the lower, ``best of all`` the upper curve.
        axes: to draw on.
    """
    for network, group in frame.groupby("network", observed=True):
        colour = of_networks(frame)[str(network)].colour
        curves = {str(name): part for name, part in group.groupby("attack", observed=True, sort=False)}
        eps = np.union1d(group["eps"].to_numpy(), [BEYOND * float(group["eps"].max())])
        values = {name: _at(part, eps) for name, part in curves.items()}
        with tagged(axes, network=str(network)):
            axes.fill_between(eps, values[CERTIFIED], values[BEST], step="post", color=colour, alpha=0.22, linewidth=0)
            for name, width, dash in ((BEST, 2.2, "solid"), (CERTIFIED, 1.6, PROVED)):
                axes.plot(
                    eps, values[name], drawstyle="steps-post", color=colour, linewidth=width, linestyle=dash, label=name
                )
    return _robust_axes(frame, axes)


def by_attack(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Robust accuracy of all networks under one attack.

    Args:
        frame: curves of one norm and attack; where it has a column ``fewer`` above 0, that is the number of images to name.
        axes: to draw on.
    """
    limit = _limit(frame)
    for network, part in frame.groupby("network", observed=True):
        style = of_networks(frame)[str(network)]
        eps, height = _steps(part, "robust_accuracy")
        with tagged(axes, network=str(network)):
            axes.plot(
                eps,
                height,
                drawstyle="steps-post",
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.5,
                label=network,
            )
    notes = []
    fewer = int(frame["fewer"].max()) if "fewer" in frame and len(frame) else 0
    if fewer:
        notes.append(f"{fewer} images")
    if (frame.loc[frame["robust_accuracy"] < 1, "eps"] > limit).all():
        notes.append("beyond this axis")
    if notes:
        axes.text(
            0.97,
            0.93,
            "\n".join(notes),
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8.5,
            color=MUTED,
            bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
    return _robust_axes(frame, axes, usual=False)


def security(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Robust accuracy of one network: each attack thin, with its library's colour and dash, all together bold.

    Args:
        frame: curves of one norm and network; attack ``best of all`` is the envelope. ``number`` of an attack, where it has
            that column, stands beside its line where there is room.
        axes: to draw on.
    """
    libraries, looks = of_libraries(frame), of_networks(frame)
    single = []
    for (network, attack), part in frame.groupby(["network", "attack"], observed=True, sort=False):
        together = attack == BEST
        library = "" if together else str(part["library"].iloc[0])
        eps, height = _steps(part, "robust_accuracy")
        with tagged(axes, network=str(network), **({} if together else {"attack": str(attack), "library": library})):
            axes.plot(
                eps,
                height,
                drawstyle="steps-post",
                color=looks[str(network)].colour if together else libraries[library].colour,
                linewidth=2.6 if together else 1.0,
                linestyle="solid" if together else libraries[library].dash,
                alpha=1.0 if together else 0.85,
                zorder=3 if together else 2,
                label=str(attack) if together else "_",
            )
        if not together:
            single.append((part, library))
    _robust_axes(frame, axes)
    if "number" in frame:
        room = Room(axes, marker=1.0)
        best = frame[frame["attack"] == BEST]
        # The worst have a number first: the best are where the bold line is.
        for part, library in single[::-1]:
            names = {name: str(part[name].iloc[0]) for name in ("network", "attack")}
            with tagged(axes, **names, library=library):
                _number(axes, room, part, libraries[library].colour, apart=best if len(best) else None)
    return axes


def profile(frame: pd.DataFrame, axes: Axes) -> Axes:
    """How near attacks come, over all networks: fraction of images over the excess above the best known (or exact) distance.

    Args:
        frame: lines of ``bench.metrics`` ``profiles`` of one norm, with each attack's ``number``; the first few have colours.
        axes: to draw on.
    """
    colours, libraries = best_few(frame), of_libraries(frame)
    top = _top(frame)
    axes.set(xscale="log", xlim=(LEAST * 0.85, top * 1.15), ylim=(0, 1.02))
    excess_axis(axes.xaxis, top)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("images, of all networks")
    room = Room(axes, marker=1.0)
    for name, part in frame.groupby("attack", observed=True, sort=False):
        attack = str(name)
        library = str(part["library"].iloc[0])
        own = colours.get(attack)
        x = np.append(excess(part["ratio"]), BEYOND * MOST)
        y = np.append(part["fraction"].to_numpy(dtype=np.float64), part["fraction"].iloc[-1])
        # What lies within the ends of the scale is one step.
        last = np.append(x[1:] != x[:-1], True)
        x, y = x[last], y[last]
        with tagged(axes, attack=attack, library=library):
            axes.plot(
                x,
                y,
                drawstyle="steps-post",
                color=own or MUTED,
                linewidth=1.8 if own else 0.9,
                linestyle=libraries[library].dash,
                alpha=1 if own else 0.75,
                zorder=3 if own else 2,
            )
            if not own and "number" in frame:
                _number(axes, room, part.assign(x=excess(part["ratio"]), y=part["fraction"]), MUTED)
    return axes


def best_few(frame: pd.DataFrame) -> dict[str, str]:
    """The attacks whose profiles are the highest, best first, and their colours; those on fewer images take no part."""
    grid = np.geomspace(LEAST, MOST, 50)
    heights = {}
    for attack, part in frame[frame["pairs"] == frame["pairs"].max()].groupby("attack", observed=True, sort=False):
        place = np.searchsorted(part["ratio"].to_numpy(dtype=np.float64), 1 + grid, side="right") - 1
        reached = np.where(place < 0, 0.0, part["fraction"].to_numpy(dtype=np.float64)[place])
        heights[str(attack)] = float(reached.mean())
    best = sorted(heights, key=lambda name: -heights[name])
    return {name: style.colour for name, style in network_styles(best[:BEST_FEW]).items()}


def _top(frame: pd.DataFrame) -> float:
    """Where an axis of excesses ends: where nine tenths of what any attack comes to have come."""
    reached = frame["fraction"] <= 0.9 * frame.groupby("attack", observed=True)["fraction"].transform("max")
    finite = frame.loc[reached & np.isfinite(frame["ratio"]), "ratio"]
    return float(np.clip(finite.max() - 1 if len(finite) else 0.1, 0.1, MOST))


def _number(axes: Axes, room: Room, part: pd.DataFrame, colour: str, apart: pd.DataFrame | None = None) -> None:
    """An attack's number beside its curve, at the first of some heights where there is room.

    Args:
        axes: with its final limits.
        room: of the same.
        part: the curve: ``eps`` and ``robust_accuracy``, or ``x`` and ``y``.
        colour: of the number.
        apart: a curve that the number's place has to be away from, where both would stand in one place.
    """
    number = int(part["number"].iloc[0])
    left, right = axes.get_xlim()
    levels = (0.5, 0.7, 0.3, 0.85, 0.15, 0.6, 0.4)
    for place in range(len(levels)):
        level = levels[(place + number) % len(levels)]
        x, other = _crossing(part, level), np.nan if apart is None else _crossing(apart, level)
        if not left < x < right or abs(x - other) < NEAR * (right - left):
            continue
        if room.write((x, level), str(number), colour=colour, near=True):
            return


NEAR = 0.02
"""Curves that are less than this fraction of an axis apart are as good as one."""


def _crossing(part: pd.DataFrame, level: float) -> float:
    """Where a step curve, falling or rising, comes to a height; NaN where it does not."""
    names = ("x", "y") if "x" in part else ("eps", "robust_accuracy")
    x, y = (part[name].to_numpy(dtype=np.float64) for name in names)
    beyond = np.flatnonzero(y >= level if "x" in part else y <= level)
    return float(x[beyond[0]]) if len(beyond) else float("nan")


def _steps(part: pd.DataFrame, *columns: str) -> list[Floats]:
    """The eps of a step curve and its values there, with one more step far away."""
    eps = part["eps"].to_numpy(dtype=np.float64)
    values = [part[name].to_numpy(dtype=np.float64) for name in columns]
    far = BEYOND * max(_limit(part), float(eps[-1]))
    return [np.append(eps, far), *(np.append(value, value[-1]) for value in values)]


def _at(part: pd.DataFrame, eps: Floats) -> Floats:
    """A right-continuous step curve at other places."""
    place = np.searchsorted(part["eps"].to_numpy(), eps, side="right") - 1
    return np.asarray(part["robust_accuracy"].to_numpy()[np.maximum(place, 0)], dtype=np.float64)


def _quarters(axes: Axes, part: pd.DataFrame, colour: str, marker: str, *, filled: bool) -> None:
    """A network's marker where its curve falls through three, two and one quarters: for readers without colours."""
    eps, height = part["eps"].to_numpy(), part["robust_accuracy"].to_numpy()
    places = [(eps[height <= level][0], level) for level in (0.75, 0.5, 0.25) if (height <= level).any()]
    places = [(x, y) for x, y in places if x > 0]
    if places:
        face = colour if filled else PAPER
        x, y = np.array(places).T
        axes.plot(x, y, linestyle="none", marker=marker, markersize=4.5, color=colour, markerfacecolor=face, zorder=3)


def _robust_axes(frame: pd.DataFrame, axes: Axes, *, usual: bool = True) -> Axes:
    limit = _limit(frame)
    axes.set(xlim=(0, limit), ylim=(0, 1.02), ylabel="robust accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    distance_axis(frame, axes.xaxis)
    if len(frame):
        axes.set_xlabel(distance_label(frame))
    for eps in usual_eps(frame) if usual else ():
        axes.axvline(eps, color=INK, linewidth=0.9, linestyle=(0, (1, 1.6)))
    return axes


def usual_eps(frame: pd.DataFrame, *, beyond: bool = False) -> list[float]:
    """The field's usual eps that a frame names, ascending: those that its axis reaches, or those beyond it."""
    known = frame["usual_eps"].iloc[0] if "usual_eps" in frame and len(frame) else ()
    return sorted(eps for eps in known if (eps > _limit(frame)) == beyond)


def usual_text(frame: pd.DataFrame) -> str:
    """The field's usual eps in words; empty where there is none."""
    shown, beyond = (" and ".join(map(eps_text, usual_eps(frame, beyond=where))) for where in (False, True))
    beyond = f"{beyond} (beyond the axis)" if beyond else ""
    return f"usual eps: {', '.join(filter(None, (shown, beyond)))}" if shown or beyond else ""


def _limit(frame: pd.DataFrame) -> float:
    """Where an axis of eps ends: the frame's ``limit``, else a little beyond where the slowest curve has come down to 2 %."""
    if "limit" in frame and len(frame):
        return float(frame["limit"].iloc[0])
    if not len(frame):
        return 1.0
    reached = frame[frame["robust_accuracy"] >= 0.02]
    top = float((reached if len(reached) else frame)["eps"].max())
    return top * 1.05 or 1.0
