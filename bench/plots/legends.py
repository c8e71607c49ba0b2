"""Legends that look as the marks of their figure do: lines for lines, points for points."""

from __future__ import annotations

import pandas as pd
from matplotlib.lines import Line2D

from bench.plots.style import INK, MUTED, looks, of_libraries, of_networks


def lines(frame: pd.DataFrame) -> list[Line2D]:
    """A line for each network that the frame has."""
    return [
        Line2D([], [], color=look.colour, linestyle=look.dash, label=_shown(name))
        for name, look in of_networks(frame).items()
        if (frame["network"] == name).any()
    ]


def points(frame: pd.DataFrame) -> list[Line2D]:
    """A point for each network that the frame has."""
    return [
        Line2D([], [], color=look.colour, linestyle="none", marker=".", markersize=11, label=_shown(name))
        for name, look in of_networks(frame).items()
        if (frame["network"] == name).any()
    ]


def libraries(frame: pd.DataFrame) -> list[Line2D]:
    """A marker for each library that the frame has."""
    styles = of_libraries(frame)
    return [
        Line2D([], [], color=MUTED, linestyle="none", marker=styles[name].marker, markersize=6, label=label)
        for name, label in _labels(frame).items()
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
        Line2D([], [], color=INK, linewidth=2.2, label="robust to all attacks (upper bound)"),
        Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="certified (lower bound)"),
    ]


def envelope(frame: pd.DataFrame) -> list[Line2D]:
    """All attacks together, and each by itself with the dash of its library."""
    styles = of_libraries(frame)
    singles = [
        Line2D([], [], color=MUTED, linewidth=1.0, linestyle=styles[name].dash, label=f"one attack of {label}")
        for name, label in _labels(frame).items()
    ]
    return [Line2D([], [], color=INK, linewidth=2.6, label="all attacks together"), *singles]


def _labels(frame: pd.DataFrame) -> dict[str, str]:
    """The libraries that the frame has, in the order of the run, with what they are called."""
    shown = frame.drop_duplicates("library").astype({"library": str}).set_index("library")
    there = [name for name in looks(frame, "library") if name and name in shown.index]
    if "library_label" not in frame:
        return {name: _shown(name) for name in there}
    return {name: _shown(str(shown.loc[name, "library_label"])) for name in there}


def _shown(name: str) -> str:
    """A label that Matplotlib does not leave out for its leading underscore."""
    return f" {name}" if name.startswith("_") else name
