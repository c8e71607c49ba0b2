"""Words in drawings: names of axes, numbers beside lines and markers that cover nothing, and the scale of small excesses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from bench.norms import Norm
from bench.plots.style import INK, MUTED

Floats = NDArray[np.float64]

SIZE = 8.5
"""Of small text in a figure, in printer's points: what a phone still shows in a readable size."""

LEAST, MOST = 1e-3, 9.0
"""The ends of a scale of excesses: what is less than 0.1 % too large counts as the same, more than 10 times as 10 times."""


def distance_label(frame: pd.DataFrame, *, short: bool = False) -> str:
    """The label of an axis of distances: their norm, and in brackets the frame's ``unit``, else what the norm sums up."""
    member = Norm(str(frame["norm"].iloc[0]))
    unit = str(frame["unit"].iloc[0]) if "unit" in frame else member.unit
    return f"{member.label} distance" if short or not unit else f"{member.label} distance ({unit})"


def distance_axis(frame: pd.DataFrame, axis: Axis) -> None:
    """Round ticks of an axis of distances that begins at 0; whole numbers have whole ticks."""
    whole = len(frame) > 0 and Norm(str(frame["norm"].iloc[0])).counts
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10], integer=whole))


def trimmed(name: str, most: int) -> str:
    """A name with at most so many characters: of a longer one the middle is left out, as names often differ at their ends."""
    last = max(1, (most - 1) // 2)
    return name if len(name) <= most else f"{name[: most - 1 - last]}…{name[-last:]}"


def eps_text(eps: float) -> str:
    """An eps as papers write it: ``0.3``, ``8/255``."""
    steps = eps * 255
    return f"{steps:.0f}/255" if 0 < steps < 64 and abs(steps - round(steps)) < 1e-6 else f"{eps:g}"


def excess(ratios: Iterable[float]) -> Floats:
    """By how much ratios are above 1, cut off at the ends of the scale."""
    return np.clip(np.asarray(ratios, dtype=np.float64) - 1, LEAST, MOST)


def excess_axis(axis: Axis, top: float) -> None:
    """Ticks of a logarithmic axis of excesses that ends at ``top``: the same, 1 %, 10 %, twice, 10 times."""
    names = {LEAST: "≤0.1%", 0.01: "1%", 0.1: "10%", 1.0: "100%", MOST: "≥900%"}
    shown = {place: name for place, name in names.items() if place <= top * 1.01}
    axis.set_ticks(list(shown), list(shown.values()))
    axis.set_minor_locator(NullLocator())


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at powers of ten, or at 1, 2 and 5 times these where it is short, as plain numbers."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > DECADES else (1.0, 2.0, 5.0), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1000 else f"{value:g}"))
    axis.set_minor_locator(NullLocator())


DECADES = 300.0
"""A logarithmic axis whose ends differ by a larger factor has ticks at powers of ten alone."""


class Room:
    """What is taken of a panel, in printer's points, so that names find a free place.

    Args:
        axes: with its final limits.
        points: (n, 2) in data coordinates: markers that no name may cover.
        marker: half the width of a marker.
    """

    def __init__(self, axes: Axes, points: Floats | None = None, marker: float = 4.0) -> None:
        self._axes = axes
        self._scale = 72 / axes.figure.dpi
        self._frame = np.asarray(axes.get_window_extent().extents) * self._scale
        self._taken: list[tuple[float, float, float, float]] = []
        self._marker = marker
        for x, y in self._centres(np.empty((0, 2)) if points is None else points):
            self._taken.append((x - marker, y - marker, x + marker, y + marker))

    def _centres(self, points: Floats) -> Floats:
        return np.asarray(self._axes.transData.transform(points)) * self._scale if len(points) else np.empty((0, 2))

    def place(self, point: tuple[float, float], text: str, *, near: bool = False) -> tuple[float, float] | None:
        """The offset of a text beside a point, the nearest that is free; None where none next to it or within 30 points is."""
        x, y = self._centres(np.array([point]))[0]
        wide, high = 0.62 * SIZE * len(text), SIZE * 0.95
        own = (x - self._marker, y - self._marker, x + self._marker, y + self._marker)
        for away in (self._marker + 1.5, *(() if near else (12.0, 20.0, 29.0))):
            for angle in (0.6, -0.6, 2.54, -2.54, 1.57, -1.57, 0.0, 3.14):
                dx = away * np.cos(angle) - (wide if np.cos(angle) < -0.2 else 0 if np.cos(angle) > 0.2 else wide / 2)
                dy = away * np.sin(angle) - (high if np.sin(angle) < -0.2 else 0 if np.sin(angle) > 0.2 else high / 2)
                box = (x + dx, y + dy, x + dx + wide, y + dy + high)
                inside = box[0] > self._frame[0] and box[2] < self._frame[2] + 6
                inside = inside and box[1] > self._frame[1] and box[3] < self._frame[3] + 6
                if inside and not any(_overlap(box, other) for other in self._taken if other != own):
                    self._taken.append(box)
                    return dx, dy
        return None

    def write(
        self, point: tuple[float, float], text: str, *, always: bool = False, near: bool = False, colour: str = INK
    ) -> bool:
        """Write a text beside a point where there is room, with a thin line to it where that is not next to it.

        Returns:
            Whether it was written; ``always`` writes it beside the point even where it covers something, ``near``
            nowhere else.
        """
        place = self.place(point, text, near=near)
        if place is None and not always:
            return False
        dx, dy = place or (self._marker + 1.5, -SIZE / 2)
        far = np.hypot(dx, dy) > 3.2 * self._marker + 0.62 * SIZE * len(text)
        self._axes.annotate(
            text,
            point,
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=SIZE,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            if far
            else None,
        )
        return True


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
