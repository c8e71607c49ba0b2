"""Legends that look as the marks of their figure do, and keys to the numbers of attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from bench.metrics.curves import CERTIFIED
from bench.plots import curves
from bench.plots.style import BOUND, INK, MUTED, looks, of_libraries, of_networks


def lines(frame: pd.DataFrame) -> list[Line2D]:
    """A line for each network that the frame has."""
    return [
        Line2D([], [], color=look.colour, linestyle=look.dash, label=_shown(name))
        for name, look in of_networks(frame).items()
        if (frame["network"] == name).any()
    ]


def swatches(frame: pd.DataFrame) -> list[Line2D]:
    """A bar of the colour of each network, for figures whose markers say something else."""
    made = lines(frame)
    for swatch in made:
        swatch.set(linestyle="solid", linewidth=5)
    return made


def marked(frame: pd.DataFrame) -> list[Line2D]:
    """A line with its marker for each network, what a dashed line is, and the field's usual eps."""
    made = lines(frame)
    for handle, look in zip(
        made, [look for name, look in of_networks(frame).items() if (frame["network"] == name).any()], strict=True
    ):
        handle.set(linestyle="solid", marker=look.marker if len(made) > 1 else "", markersize=5)
    if (frame["attack"] == CERTIFIED).any():
        made.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=curves.PROVED, label="certified"))
    return made + _usual(frame)


def libraries(frame: pd.DataFrame) -> list[Line2D]:
    """A marker for each library that the frame has, in the library's colour."""
    styles = of_libraries(frame)
    return [
        Line2D(
            [], [], color=styles[name].colour, linestyle="none", marker=styles[name].marker, markersize=6, label=label
        )
        for name, label in _labels(frame).items()
    ]


def networks_and_libraries(frame: pd.DataFrame) -> list[Line2D]:
    """Networks by colour, as swatches that are no library's marker, libraries by marker, and the certified median."""
    marks = libraries(frame)
    for mark in marks:
        mark.set_color(MUTED)
    known = "certified" in frame and np.isfinite(frame["certified"]).any()
    tick = Line2D([], [], color=MUTED, linestyle="none", marker=BOUND, markersize=9, label="certified median")
    return [*swatches(frame), *marks, *([tick] if known else [])]


def contributing(frame: pd.DataFrame) -> list[Line2D]:
    """What the bars and the line of those that contribute are, and the libraries."""
    bar: dict[str, Any] = {"linestyle": "none", "marker": "s", "markersize": 9, "markeredgewidth": 0, "color": INK}
    return [
        Line2D([], [], **bar, label="only this attack"),
        Line2D([], [], **bar, alpha=0.3, label="reaches the best"),
        Line2D(
            [],
            [],
            color=MUTED,
            marker="o",
            markerfacecolor="none",
            markeredgecolor=INK,
            markersize=5,
            label="with those above",
        ),
        *libraries(frame),
    ]


def proof_and_attack(frame: pd.DataFrame) -> list[Line2D]:
    """What the two lines of a bracket are."""
    return [
        Line2D([], [], color=INK, linewidth=2.2, label="robust to all attacks (upper bound)"),
        Line2D([], [], color=INK, linewidth=1.6, linestyle=curves.PROVED, label="certified (lower bound)"),
        *_usual(frame),
    ]


def envelope(frame: pd.DataFrame) -> list[Line2D]:
    """All attacks together, and each by itself with the colour and the dash of its library."""
    styles = of_libraries(frame)
    singles = [
        Line2D(
            [], [], color=styles[name].colour, linewidth=1.2, linestyle=styles[name].dash, label=f"one attack, {label}"
        )
        for name, label in _labels(frame).items()
    ]
    return [Line2D([], [], color=INK, linewidth=2.6, label="all attacks together"), *singles, *_usual(frame)]


def best_few(frame: pd.DataFrame) -> list[Line2D]:
    """The attacks that have a colour of their own, and what the others look like."""
    styles, colours = of_libraries(frame), curves.best_few(frame)
    named = frame.drop_duplicates("attack").astype({"attack": str, "library": str}).set_index("attack")
    made = [
        Line2D(
            [],
            [],
            color=colour,
            linewidth=1.8,
            linestyle=styles[str(named.loc[name, "library"])].dash,
            label=_shown(str(named.loc[name, "label"])),
        )
        for name, colour in colours.items()
    ]
    if len(named) > len(colours):
        made.append(Line2D([], [], color=MUTED, linewidth=0.9, label="others, by number"))
    return made


def key(frame: pd.DataFrame) -> list[tuple[int, str, str, str]]:
    """Number, label, attack and library of every attack that a frame numbers, in their order."""
    named = frame[frame["number"] > 0].drop_duplicates("attack").sort_values("number", kind="stable")
    columns = [named[name].tolist() for name in ("number", "label", "attack", "library")]
    return [
        (int(number), str(label), str(attack), str(library))
        for number, label, attack, library in zip(*columns, strict=True)
    ]


def key_of_others(frame: pd.DataFrame) -> list[tuple[int, str, str, str]]:
    """As :func:`key`, without those that have a colour of their own."""
    return [entry for entry in key(frame) if entry[2] not in curves.best_few(frame)]


def _usual(frame: pd.DataFrame) -> list[Line2D]:
    text = curves.usual_text(frame)
    return [Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (1, 1.6)), label=text)] if text else []


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
