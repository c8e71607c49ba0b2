"""What a figure says to those who cannot see it: what it is of, and its most important values."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from bench.metrics.curves import BEST
from bench.report.figures import Figure
from bench.report.tables import figure

MOST = 6
"""At most so many names or values are read out; the table after the figure has all of them."""

_LABEL = re.compile(r'aria-label="[^"]*"')


def labelled(item: Figure) -> Markup:
    """The figure's SVG, with a label that says its title and its most important values."""
    label = f'aria-label="{escape(described(item.title, item.csv))}"'
    return Markup(_LABEL.sub(lambda _: label, item.svg, count=1))  # noqa: S704 - of bench.plots.inline, and escaped


def described(title: str, csv: str) -> str:
    """A figure in a few words.

    Args:
        title: of the figure.
        csv: its data; empty where they are not in the page.
    """
    if not csv:
        return f"{title}. Its data are in records.csv."
    frame = pd.read_csv(io.StringIO(csv), keep_default_na=False, na_values=[""])
    parts = [_halves(frame), _medians(frame)]
    told = "; ".join(part for part in parts if part) or _ranges(frame)
    return f"{title}. {told}. A table of all {len(frame):,} values can be opened after the figure."


def _halves(frame: pd.DataFrame) -> str:
    """Of curves of all attacks together: the change that makes half of the images wrong."""
    if not {"network", "eps", "robust_accuracy"} <= set(frame.columns):
        return ""
    if "attack" in frame:
        frame = frame[frame["attack"].isna() | (frame["attack"] == BEST)]
    if "bound" in frame or not len(frame):
        return ""
    told = []
    for network, group in frame.groupby("network", sort=False):
        below = group[group["robust_accuracy"] <= 0.5]
        size = figure(float(below["eps"].min())) if len(below) else "no change of the figure"
        told.append(f"{network} {size}")
    return f"Size of change at which half of the images are wrong: {_some(told)}"


def _medians(frame: pd.DataFrame) -> str:
    """Of distances: their medians by network; of attacks: the smallest and the largest median."""
    if {"network", "attack", "median"} <= set(frame.columns) and frame["median"].notna().any():
        ordered = frame.dropna(subset=["median"]).sort_values("median", kind="stable")
        least, most = ordered.iloc[0], ordered.iloc[-1]
        return (
            f"Medians from {figure(least['median'])} ({least['attack']} on {least['network']}) "
            f"to {figure(most['median'])} ({most['attack']} on {most['network']})"
        )
    if {"network", "distance"} <= set(frame.columns):
        told = [
            f"{network} {figure(float(np.median(group['distance'])))}"
            for network, group in frame.groupby("network", sort=False)
        ]
        return f"Medians: {_some(told)}"
    return ""


def _ranges(frame: pd.DataFrame) -> str:
    """The names in a figure, and from where to where its numbers go."""
    told = []
    for name in frame.columns:
        if name == "norm":
            continue
        values = frame[name].dropna()
        word = str(name).replace("_", " ")
        if not len(values):
            continue
        if pd.api.types.is_numeric_dtype(values):
            told.append(f"{word} {figure(float(values.min()))} to {figure(float(values.max()))}")
        else:
            told.append(f"{word}: {_some([str(value) for value in values.unique()])}")
    return "; ".join(told[:MOST])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
