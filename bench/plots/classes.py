"""Class by class: a table of cells, darker for more, with every number in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from bench.plots.labels import SIZE, Floats, trimmed
from bench.plots.style import INK, tagged

MOST = 20
"""At most so many classes have a cell; of more, those with the most images."""

LETTER = 0.078
"""How wide a letter of a class's name is, in inches; names that are wider than their column stand upright."""

LONGEST = 16
"""Of more letters of a class's name the middle is left out."""

CELLS = 400
"""Of more cells than this the numbers would be too small to read."""

COLOUR = "#0072b2"
ALPHAS = (0.08, 0.2, 0.34, 0.48, 0.62)
"""Of the five levels of a cell; text stays readable on each, light and dark."""

_SQUARE = np.array([(0.03, 0.03), (0.97, 0.03), (0.97, 0.97), (0.03, 0.97), (0.03, 0.03)])
_CODES = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]


def medians(frame: pd.DataFrame, axes: Axes) -> Axes:
    """Median distance of each class on each network, darker for larger; the number of images stands with each class.

    Args:
        frame: lines of ``bench.metrics`` ``class_medians`` of one norm; names of classes, if any, in ``class``.
        axes: to draw on.
    """
    names = classes(frame, "label")
    networks = [str(name) for name in frame["network"].unique()]
    values = _table(frame, ("network", networks), ("label", list(names)), "median")
    images = {label: sorted({int(n) for n in group["images"]}) for label, group in frame.groupby("label")}
    sizes = [_span(images.get(label, [0])) for label in names]
    edges, texts = _edges(values), _texts(values, _digits(values))
    for row, network in enumerate(networks):
        with tagged(axes, network=network):
            _cells(axes, values[row : row + 1], edges, row, texts[row : row + 1])
            axes.text(
                -0.01,
                row + 0.5,
                trimmed(network, 28),
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=9.5,
                color=INK,
            )
    _frame(axes, len(networks), names, sizes)
    axes.set_yticks([])
    axes.set_xlabel("true class (images)")
    return axes


def changes(frame: pd.DataFrame, axes: Axes) -> Axes:
    """What each class is taken for on one network: numbers of images, true class down, adversarial class across.

    Args:
        frame: lines of ``bench.metrics`` ``class_changes`` of one norm and network; names of classes, if any, in
            ``class`` and ``taken_for``.
        axes: to draw on.
    """
    down, across = classes(frame, "label"), classes(frame, "adversarial_class")
    if len(down | across) <= MOST:
        down = across = dict(sorted((down | across).items()))
    counts = _table(frame, ("label", list(down)), ("adversarial_class", list(across)), "images")
    total = frame.groupby("label")["images"].sum()
    sizes = np.array([float(total.get(label, 0)) for label in down])
    fractions = np.divide(counts, sizes[:, None], out=np.full(counts.shape, np.nan), where=sizes[:, None] > 0)
    _cells(axes, fractions, np.linspace(0, 1, 6), 0, _texts(counts, 0))
    _frame(axes, len(down), across, [])
    names = [f"{trimmed(name, LONGEST)} ({size:.0f})" for name, size in zip(down.values(), sizes, strict=True)]
    axes.set_yticks(np.arange(len(down)) + 0.5, names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class (images)")
    return axes


def medians_scale(frame: pd.DataFrame) -> list[Line2D]:
    """What the five levels of :func:`medians` are."""
    values = frame["median"].to_numpy(dtype=np.float64)
    edges, digits = _edges(values), _digits(values)
    if not np.isfinite(values[values > 0]).any():
        return []
    names = [f"≤ {edges[1]:.{digits}f}", *(f"to {edge:.{digits}f}" for edge in edges[2:])]
    return _swatches(names)


def changes_scale(frame: pd.DataFrame) -> list[Line2D]:  # noqa: ARG001 - it is the same for every frame
    """What the five levels of :func:`changes` are."""
    return _swatches(["≤ 20% of the row", "to 40%", "to 60%", "to 80%", "to 100%"])


def _swatches(names: list[str]) -> list[Line2D]:
    return [
        Line2D(
            [], [], linestyle="none", marker="s", markersize=9, color=COLOUR, alpha=alpha, markeredgewidth=0, label=name
        )
        for name, alpha in zip(names, ALPHAS, strict=True)
    ]


def _table(frame: pd.DataFrame, rows: tuple[str, list[Any]], columns: tuple[str, list[int]], value: str) -> Floats:
    """The values of a column as a table; NaN where there is none."""
    table = frame.assign(**{rows[0]: frame[rows[0]].astype(type(rows[1][0]))} if rows[1] else {})
    table = table.pivot_table(index=rows[0], columns=columns[0], values=value, aggfunc="sum", observed=True)
    return np.asarray(table.reindex(index=rows[1], columns=columns[1]), dtype=np.float64)


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]}" if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"


def _edges(values: Floats) -> Floats:
    """Five equal levels from 0 to the largest finite value."""
    finite = values[np.isfinite(values)]
    return np.linspace(0, float(finite.max()) if len(finite) and finite.max() > 0 else 1.0, 6)


def _digits(values: Floats) -> int:
    """So many decimals for all numbers of a figure: two significant digits for a usual one, none for whole numbers."""
    usual = values[np.isfinite(values) & (values > 0)]
    if not len(usual) or (usual == usual.round()).all():
        return 0
    if (2 * usual == (2 * usual).round()).all():
        return 1
    return int(np.clip(1 - np.floor(np.log10(np.median(usual))), 0, 4))


def _cells(axes: Axes, values: Floats, edges: Floats, first: int, shown: list[list[str]]) -> None:
    """Squares by their level, and a text in each."""
    level = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(ALPHAS) - 1)
    for number, alpha in enumerate(ALPHAS):
        places = np.argwhere((level == number) & np.isfinite(values))
        if len(places):
            corners = (places[:, None, ::-1] + [0, first] + _SQUARE).reshape(-1, 2)
            path = Path(corners, _CODES * len(places))
            axes.add_patch(PathPatch(path, facecolor=COLOUR, alpha=alpha, linewidth=0))
    for row, texts in enumerate(shown):
        for column, text in enumerate(texts):
            if text:
                axes.text(column + 0.5, first + row + 0.5, text, ha="center", va="center", fontsize=SIZE, color=INK)


def _texts(values: Floats, digits: int) -> list[list[str]]:
    """The numbers of cells: empty for none, and throughout where there are too many cells to read."""
    if values.size > CELLS:
        return []
    return [["" if np.isnan(x) else f"{x:.{digits}f}" if np.isfinite(x) else "none" for x in row] for row in values]


def are_upright(names: list[str], width: float) -> bool:
    """Whether names below a panel so many inches wide stand upright, because side by side they have no room."""
    return max((min(len(name), LONGEST) for name in names), default=0) * LETTER * len(names) > width


def _frame(axes: Axes, rows: int, names: dict[int, str], sizes: list[str]) -> None:
    axes.set(xlim=(0, len(names)), ylim=(max(rows, 1), 0))
    upright = are_upright(list(names.values()), axes.get_window_extent().width / axes.figure.dpi)
    shown = [trimmed(name, LONGEST) for name in names.values()]
    if sizes:
        shown = [f"{name}{' ' if upright else chr(10)}({size})" for name, size in zip(shown, sizes, strict=True)]
    axes.set_xticks(np.arange(len(names)) + 0.5, shown, rotation=90 if upright else 0)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def classes(frame: pd.DataFrame, column: str) -> dict[int, str]:
    """The classes of a column by number, with what they are called; of many, those with the most images."""
    name = {"label": "class", "adversarial_class": "taken_for"}[column]
    names = dict(zip(frame[column], frame[name] if name in frame else frame[column].astype(str), strict=True))
    if len(names) > MOST:
        most = frame.groupby(column)["images"].sum().sort_values(ascending=False, kind="stable")
        names = {number: names[number] for number in most.index[:MOST]}
    elif "classes" in frame and frame["classes"].iloc[0] <= MOST:
        # A class without images has a place of its own, so that nobody looks for it in vain.
        every = frame["class_names"].iloc[0] if "class_names" in frame else ()
        named = {number: every[number] if every else str(number) for number in range(int(frame["classes"].iloc[0]))}
        names = named | names
    return {int(number): str(names[number]) for number in sorted(names)}
