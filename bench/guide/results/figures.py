"""Figures of the chapters as SVG files that stand by themselves, in a light and in a dark page."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle

from bench import plots
from bench.guide.results.stored import Stored, with_exact
from bench.norms import Norm
from bench.plots.style import DARK, INK, MUTED, PAPER, dots, network_styles
from bench.plots.svg import variable
from bench.report import figures as drawn
from bench.report.exports import csv_text
from bench.specs import Access

FOUR = ("MLP", "MLP_d", "CNN", "CNN_d")
CLASSES = ("#0072b2", "#d55e00", "#00926a")
"""The colours of the three classes of the network of two inputs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A figure before it is drawn.

    Attributes:
        name: of the file, without ending.
        alt: what it shows, for those who cannot see it.
        made_from: SHA-256 of its data as text, which stands in the file.
        make: draws it.
    """

    name: str
    alt: str
    made_from: str
    make: Callable[[], Figure]


def planned(runs: Mapping[str, Stored], paths: Mapping[str, Any] | None) -> dict[str, Plan]:
    """All figures by name; nothing is drawn.

    Args:
        runs: from :func:`bench.guide.results.stored.load`.
        paths: what ``bench.guide.paths`` wrote; None where it is not stored.
    """
    return {plan.name: plan for plan in _all(runs, paths)}


def draw(plan: Plan) -> str:
    """A figure as the content of an SVG file."""
    with plots.drawing():
        element = plots.inline(plan.make(), prefix=plan.name, label=plan.alt)
    return standalone(element, plan.made_from)


def made_from(svg: str) -> str:
    """The SHA-256 that a stored figure says it was made from; empty where it says none."""
    match = re.search(r'data-made-from="([0-9a-f]{64})"', svg)
    return match[1] if match else ""


def standalone(element: str, sha: str) -> str:
    """An inline SVG element as a file: with a size, a background, and other colours where the page is dark.

    Args:
        element: from :func:`bench.plots.inline`.
        sha: of what it is made of.
    """
    width, height = (float(value) for value in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', element)[0])
    dark = ";".join(f"--c-{colour[1:]}:{other}" for colour, other in DARK.items())
    head = (
        f"<style>@media (prefers-color-scheme:dark){{svg{{{dark}}}}}text{{font-family:sans-serif}}</style>"
        f'<rect width="100%" height="100%" fill="{variable(PAPER)}"/>'
    )
    element = re.sub(r' style="aspect-ratio[^"]*"', "", element, count=1)
    size = f'width="{width * 4 / 3:.0f}" height="{height * 4 / 3:.0f}" data-made-from="{sha}"'
    return re.sub(r"(<svg )([^>]*>)", rf"\1{size} \2{head}", element, count=1) + "\n"


def _all(runs: Mapping[str, Stored], paths: Mapping[str, Any] | None) -> Iterator[Plan]:
    alt = "Test accuracy of the four networks after each epoch of training, a line for each network."
    yield Plan("training", alt, _sha([_history(name) for name in FOUR]), _training)
    for path in (paths or {}).get("paths", ()):
        assert paths is not None
        content = {"path": path, "clean": paths["clean"], "classes": paths["classes"]}
        yield Plan(f"path-{path['slug']}", _path_alt(path), _sha(content), partial(_path, content))
    main = runs["minimal_norm"]
    joined = with_exact(main, runs.get("exact"))
    for plot in ("rows", "accuracy", "profiles", "costs", "libraries"):
        yield from _of_run(plot, plot, main)
    for plot in ("bracket", "exact"):
        yield from _of_run(plot, plot, joined)
    for name in ("whole_test", "defended", "digits", "breast_cancer"):
        if name in runs:
            yield from _of_run("accuracy", f"{name.replace('_', '-')}-accuracy", runs[name])


def _of_run(plot: str, name: str, run: Stored) -> Iterator[Plan]:
    """A plot of the report in every norm that has data for it."""
    kind = plots.PLOTS[plot]
    content = run.frames[kind.metric]
    columns = [column for column in kind.columns if column in content]
    for norm in run.evidence.norms:
        part = content[content["norm"] == norm.value]
        if len(part):
            sha = hashlib.sha256(csv_text(_rounded(part[columns])).encode()).hexdigest()
            alt = f"{kind.title.format(norm=norm.label)} ({run.manifest['data']['title']}, {run.manifest['samples']:,} images). "
            alt += kind.caption.partition(". ")[0] + "."
            yield Plan(f"{name}-{norm.value}", alt, sha, partial(drawn.drawn, plot, run.frames, norm))


def _rounded(part: pd.DataFrame) -> pd.DataFrame:
    """Numbers with as many digits as a drawing shows, so that the rounding of another processor makes no other figure."""
    numbers = part.select_dtypes("float64")
    return part.assign(**{str(name): [float(f"{value:.6g}") for value in numbers[name]] for name in numbers})


def _history(name: str) -> list[dict[str, str]]:
    text = (resources.files("bench.networks") / "weights" / f"{name}.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def _training() -> Figure:
    figure = Figure(figsize=(6.2, 3.2), layout="constrained")
    axes = figure.subplots()
    looks = network_styles(FOUR)
    for name in FOUR:
        lines = _history(name)
        epochs = [int(line["epoch"]) for line in lines]
        axes.plot(
            epochs,
            [100 * float(line["test_accuracy"]) for line in lines],
            color=looks[name].colour,
            linestyle=looks[name].dash,
            label=name,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy in %")
    axes.legend(loc="lower right")
    return figure


def _path(content: Mapping[str, Any]) -> Figure:
    """What an attack asked of the network of two inputs, the first queries pale, the last dark, and where it ended."""
    path, clean = content["path"], np.array(content["clean"])
    figure = Figure(figsize=(3.9, 3.9), layout="constrained")
    axes = figure.subplots()
    _regions(axes, content["classes"])
    queries = np.clip(np.array(path["queries"]), -0.02, 1.02)
    if path["access"] == Access.GRADIENT.value:
        axes.plot(queries[:, 0], queries[:, 1], color=INK, linewidth=0.8, alpha=0.35, zorder=3)
    # Four stretches of time: an opacity for each point would be a path for each.
    for place, part in enumerate(np.array_split(queries, min(4, len(queries)))):
        dots(axes, part[:, 0], part[:, 1], INK, size=3.6, alpha=0.4 + 0.2 * place, zorder=4)
    found = np.array(path["found"])
    if path["distance"] is not None:
        _ball(axes, clean, path)
    axes.plot(
        *clean,
        marker="o",
        markersize=8,
        color=PAPER,
        markeredgecolor=INK,
        markeredgewidth=1.6,
        linestyle="none",
        zorder=5,
    )
    axes.plot(*found, marker="X", markersize=9, color=INK, markeredgecolor=PAPER, linestyle="none", zorder=6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="first input", ylabel="second input", aspect="equal")
    axes.set_title(path["label"])
    axes.grid(visible=False)
    return figure


def _path_alt(path: Mapping[str, Any]) -> str:
    at = (
        f"its result, the cross, is at an {Norm(path['norm']).label} distance of {path['distance']:g}"
        if path["distance"]
        else ""
    )
    return (
        f"{path['label']} on a network of two inputs and three classes: {path['asked']:,} queries as points from the clean point, "
        f"the ring; {at or 'it found nothing'}."
    )


def _regions(axes: Axes, lines: Sequence[str]) -> None:
    grid = np.array([[int(digit) for digit in line] for line in lines])
    ends = np.linspace(0, 1, len(grid))
    for place, colour in enumerate(CLASSES):
        own = (grid == place).astype(float)
        axes.contourf(ends, ends, own, levels=[0.5, 1.5], colors=[to_rgba(colour, 0.22)])
        axes.contour(ends, ends, own, levels=[0.5], colors=MUTED, linewidths=0.6)


def _ball(axes: Axes, centre: np.ndarray[Any, Any], path: Mapping[str, Any]) -> None:
    """All points as near as the result, in the row's norm."""
    size = float(path["distance"])
    how: dict[str, Any] = {"fill": False, "edgecolor": MUTED, "linewidth": 1, "zorder": 2}
    x, y = (float(value) for value in centre)
    if path["norm"] == Norm.L2.value:
        axes.add_patch(Circle((x, y), size, **how))
    elif path["norm"] == Norm.LINF.value:
        axes.add_patch(Rectangle((x - size, y - size), 2 * size, 2 * size, **how))
    elif path["norm"] == Norm.L1.value:
        axes.add_patch(Polygon([(x - size, y), (x, y + size), (x + size, y), (x, y - size)], **how))
    else:
        axes.axhline(y, color=MUTED, linewidth=1)
        axes.axvline(x, color=MUTED, linewidth=1)


def _sha(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
