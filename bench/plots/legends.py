"""Legends that look as the marks of their figure do: lines for lines, points for points."""

from __future__ import annotations

import pandas as pd
from matplotlib.lines import Line2D

from bench.plots.distributions import styles
from bench.plots.style import INK, MUTED, library_dash, library_marker
from bench.specs import LIBRARY_LABELS


def lines(frame: pd.DataFrame) -> list[Line2D]:
    """A line for each network that the frame has."""
    return [
        Line2D([], [], color=look.colour, linestyle=look.dash, label=_shown(name))
        for name, look in styles(frame).items()
        if (frame["network"] == name).any()
    ]


def points(frame: pd.DataFrame) -> list[Line2D]:
    """A point for each network that the frame has."""
    return [
        Line2D([], [], color=look.colour, linestyle="none", marker=".", markersize=11, label=_shown(name))
        for name, look in styles(frame).items()
        if (frame["network"] == name).any()
    ]


def libraries(frame: pd.DataFrame) -> list[Line2D]:
    """A marker for each library that the frame has."""
    return [
        Line2D([], [], color=MUTED, linestyle="none", marker=library_marker(name), markersize=6, label=_label(name))
        for name in sorted(set(frame["library"].astype(str)) - {""})
    ]


def networks_and_libraries(frame: pd.DataFrame) -> list[Line2D]:
    """Networks by colour, as swatches that are no library's marker, and libraries by marker."""
    swatches = lines(frame)
    for swatch in swatches:
        swatch.set(linestyle="solid", linewidth=5)
    return swatches + libraries(frame)


def proof_and_attack(frame: pd.DataFrame) -> list[Line2D]:  # noqa: ARG001 - it is the same for every frame
    """What the two lines of a bracket are."""
    return [
        Line2D([], [], color=INK, linewidth=2.2, label="left by the best attack"),
        Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="certified"),
    ]


def envelope(frame: pd.DataFrame) -> list[Line2D]:
    """All attacks together, and each by itself with the dash of its library."""
    singles = [
        Line2D([], [], color=MUTED, linewidth=1.0, linestyle=library_dash(name), label=f"one attack of {_label(name)}")
        for name in sorted(set(frame["library"].astype(str)) - {""})
    ]
    return [Line2D([], [], color=INK, linewidth=2.6, label="all attacks together"), *singles]


def _label(library: str) -> str:
    return _shown(LIBRARY_LABELS.get(library, library))


def _shown(name: str) -> str:
    """A label that Matplotlib does not leave out for its leading underscore."""
    return f" {name}" if name.startswith("_") else name
