"""PLOTS: from tidy frames to drawings, ``(frame, axes) -> axes``, and from those to figures of several panels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.plots import bands, classes, comparisons, curves, distributions, labels, legends, queries
from bench.plots.style import INK, Shown, drawing, tag
from bench.plots.svg import inline

BESIDE = 4.85
"""Figures up to so many inches wide stand beside one another, and fit a phone in a readable size; wider ones scroll there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A kind of figure; the report makes one of each for every norm that has data.

    Attributes:
        title: its heading, ``{norm}`` stands for the norm's label.
        caption: what it shows and how to read it.
        metric: the entry of ``bench.metrics.METRICS`` (or of the report's own frames) that it draws.
        draw: draws one panel.
        finish: adds what needs a panel's final limits, such as names beside points.
        panel: the column whose values get a panel each; empty for one panel.
        across: at most so many panels stand side by side.
        width, height: of a panel in inches; a single panel of several possible ones is larger.
        left: room for the numbers and the name of the upright axis, in inches.
        rows: the column whose values stand below each other, which decides the height; empty for none.
        row: the height of each of them in inches; 0 for a name with the networks' marks stacked below it.
        names: the column whose values stand left of the panel, which decides the margin there; a frame need not have it.
        below: the column of the classes that stand below the panel.
        columns: what goes into the figure's CSV.
        legend: makes its handles; None for no legend.
        key: lists what the numbers in the figure mean: number, label, attack, library; None for no such list.
        unit: whether the heading says what distances in the norm are.
        shared: whether panels have the same axes, so that only the outer ones need numbers.
        axis: what the axis below shared panels is called; empty where it is one of distances.
    """

    title: str
    caption: str
    metric: str
    draw: Callable[[pd.DataFrame, Axes], Axes]
    finish: Callable[[pd.DataFrame, Axes], None] | None = None
    panel: str = ""
    across: int = 4
    width: float = 4.5
    height: float = 3.0
    left: float = 0.72
    rows: str = ""
    row: float = 0.0
    names: str = ""
    below: str = ""
    columns: tuple[str, ...] = ()
    legend: Callable[[pd.DataFrame], list[Line2D]] | None = None
    key: Callable[[pd.DataFrame], list[tuple[int, str, str, str]]] | None = None
    unit: bool = False
    shared: bool = False
    axis: str = ""


_USUAL = " A dotted line, where there is one, is the size of change at which papers usually state robust accuracy on this dataset."
_NUMBERS = " Numbers are explained below the panels; 1 is the best attack of the norm."

PLOTS: dict[str, Plot] = {
    "accuracy": Plot(
        title="{norm}: robust accuracy of all networks",
        caption="Robust accuracy: the fraction of images for which no known change of at most this size makes the network "
        "wrong. Solid: under all attacks together, an upper bound of the truth; the band is its 95% interval at each "
        "distance (Wilson; left out for more than 6 networks). Dashed: certified, a lower bound. A curve further to the right is a more robust network. The "
        "markers tell networks apart where colours do not. A curve begins at the accuracy on the unchanged images."
        + _USUAL,
        metric="accuracy_curves",
        draw=curves.accuracy,
        unit=True,
        columns=("network", "norm", "attack", "eps", "robust_accuracy", "low", "high"),
        legend=legends.marked,
    ),
    "rows": Plot(
        title="{norm}: distribution of minimal norms",
        caption="The smallest known distance of each image: density above the line, images as points below it (a subset when there are "
        "many). L0 counts: the bars say how often a number occurs (several numbers to a bar where they span many). The thick bar is the middle half, the upright line the median, of the images for "
        "which something was found. Misclassified images stand at 0 and take no part in the density.",
        metric="distances",
        draw=distributions.rows,
        rows="network",
        row=distributions.ROW,
        columns=("network", "norm", "image", "label", "distance", "attack"),
    ),
    "duels": Plot(
        title="{norm}: network against network, image by image",
        caption="Each point is an image: the change that the first network needs (across) and that the second needs (up). Below the "
        "diagonal the first network needs the larger change, so it is more robust on this image; above it the second. Both axes are logarithmic. In the margins: "
        "0 is a misclassified image, none an image without a known adversarial example. Where several images coincide the "
        "point is larger. p is that of the paired test (Wilcoxon, after Holm) of the table of pairs. Of more than 6 "
        "networks the 6 with the largest medians are shown.",
        metric="duels",
        draw=comparisons.duels,
        panel="pair",
        across=6,
        shared=True,
        width=2.4,
        height=2.3,
        columns=("norm", "network_a", "network_b", "image", "distance_a", "distance_b"),
    ),
    "intervals": Plot(
        title="{norm}: what each attack finds",
        caption="For each attack and network, from the first to the third quartile of its distances, with the median as "
        "marker. The best attack stands first, and the libraries' versions of one method beside each other; within an attack the networks stand in the order of the legend. "
        "Further left is the better attack. The first lines are all attacks together: their medians go on as upright lines, which no attack on the same images can "
        "be left of; a tick is the median certified bound, which the true one is not below. A filled arrow at the right edge: the median lies beyond the axis. An open "
        "arrow: the attack found nothing on half of the images or more. Attacks that ran on fewer images cannot be compared with the rest.",
        metric="attack_intervals",
        draw=distributions.intervals,
        rows="attack",
        columns=("network", "attack", "norm", "q1", "median", "q3", "found_rate"),
        legend=legends.networks_and_libraries,
    ),
    "profiles": Plot(
        title="{norm}: how near each attack comes to the best known distance",
        caption="The fraction of images, over all networks, on which an attack's distance is at most so much above the best known one. Higher is "
        "better. The left end is the fraction on which the attack itself is the best, to 0.1%. The axis is logarithmic: 1% above, 10% above, "
        "twice as large (100% above). A curve that ends below 100% belongs to an attack that found nothing on the other images. "
        f"The best {curves.BEST_FEW} attacks have a colour, the others a number; the dash is the library's.",
        metric="profiles",
        draw=curves.profile,
        height=3.2,
        columns=("norm", "attack", "pairs", "ratio", "fraction"),
        legend=legends.best_few,
        key=legends.key_of_others,
        axis="distance above the best known (logarithmic)",
    ),
    "exact": Plot(
        title="{norm}: how near each attack comes to the exact distance",
        caption="The fraction of images, of those of all networks whose exact distance is known, on which an attack's distance is at most so much above "
        "it. Higher is better: an attack that is at 100% from the left end on found the nearest adversarial example of every one of them. The axis is "
        "logarithmic. Solved images are the easier ones: on the others attacks may do worse. "
        f"The best {curves.BEST_FEW} attacks have a colour, the others a number; the dash is the library's.",
        metric="exact_profiles",
        draw=curves.profile,
        height=3.2,
        columns=("norm", "attack", "pairs", "ratio", "fraction"),
        legend=legends.best_few,
        key=legends.key_of_others,
        axis="distance above the exact one (logarithmic)",
    ),
    "contributions": Plot(
        title="{norm}: which attacks are needed",
        caption="Pale bar: the images, over all networks, on which an attack reaches the best known distance, to 0.1%. "
        "Full bar: those on which no other attack of the norm does, nor comes within 0.1% of it. The attacks stand in the order that reaches most with fewest: each adds the "
        "most to those above it. The line is what they reach together. Where it ends below 100%, attacks of another norm, or a verifier, found the nearest example.",
        metric="contributions",
        draw=comparisons.contributions,
        rows="attack",
        columns=("norm", "attack", "label", "pairs", "reaches", "alone", "together"),
        legend=legends.contributing,
    ),
    "costs": Plot(
        title="{norm}: quality against time",
        caption="How far above the best known distance an attack's is (median over images) against seconds per image. Both axes are "
        "logarithmic, and the same in all panels: lower left is better. Filled markers on the line are the front: no other attack is both better and cheaper. "
        "Colour and shape are the library's." + _NUMBERS + " Attacks that found nothing on half of "
        "the images are not drawn. Seconds are wall time on the machine of the run, other work on it included.",
        metric="cost",
        draw=comparisons.costs,
        finish=comparisons.numbered,
        panel="network",
        width=3.3,
        height=2.9,
        left=0.9,
        shared=True,
        axis="seconds per image (logarithmic)",
        columns=("network", "norm", "attack", "number", "ratio", "found_rate", "seconds", "front"),
        legend=legends.libraries,
        key=legends.key,
    ),
    "passes": Plot(
        title="{norm}: quality against passes through the network",
        caption="The same against forward and backward passes per image, added up: they do not depend on the machine and the work on it.",
        metric="cost",
        draw=comparisons.costs_passes,
        finish=comparisons.numbered_passes,
        panel="network",
        width=3.3,
        height=2.9,
        left=0.9,
        shared=True,
        axis="forward and backward passes per image (logarithmic)",
        columns=("network", "norm", "attack", "number", "ratio", "found_rate", "forwards", "backwards", "front_passes"),
        legend=legends.libraries,
        key=legends.key,
    ),
    "security": Plot(
        title="{norm}: security evaluation curves",
        caption="Robust accuracy of one network. Bold: under all attacks together, an upper bound of the true robust accuracy. Thin: under each attack by itself, "
        "in the colour and dash of its library; its number stands beside it where there is room." + _NUMBERS + " The "
        "nearer the thin lines are to the bold one, the better the attacks agree." + _USUAL,
        metric="security_curves",
        draw=curves.security,
        panel="network",
        shared=True,
        width=3.1,
        height=2.7,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.envelope,
        key=legends.key,
    ),
    "per_attack": Plot(
        title="{norm}: robust accuracy, attack by attack",
        caption="Robust accuracy of all networks under each attack alone, the best attack first: does every attack rank "
        "the networks alike? An attack on fewer images than others says on how many.",
        metric="attack_panels",
        draw=curves.by_attack,
        panel="attack",
        across=6,
        shared=True,
        width=2.3,
        height=1.9,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.lines,
    ),
    "bracket": Plot(
        title="{norm}: between proof and attack",
        caption="Robust accuracy: the fraction of images that no change of at most this size makes wrong. Its true value "
        "lies in the shaded gap: at least what is certified (dashed), at most what no attack made wrong (solid). Where "
        "the two lines meet, it is known." + _USUAL,
        metric="bracket_curves",
        draw=curves.bracket,
        panel="network",
        across=2,
        shared=True,
        width=2.4,
        height=2.1,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.proof_and_attack,
    ),
    "libraries": Plot(
        title="{norm}: the same method in two libraries",
        caption="A strip for each method and network, the libraries' own code alone. Each point is an image: the distance that the first library finds over that of the second, on a "
        "logarithmic axis. At 1 both find the same; on the right the first library finds the larger distance, which is worse. The upright bar is the median, the line through it its "
        "95% interval. The height of points within a strip means nothing. At the edges: beyond the axis, or one of the two found nothing.",
        metric="library_pairs",
        draw=comparisons.library_ratios,
        rows="pair",
        columns=("network", "norm", "title", "library_a", "library_b", "image", "distance_a", "distance_b"),
        legend=legends.swatches,
    ),
    "queries": Plot(
        title="{norm}: distance against queries",
        caption="How near each decision-based attack is after so many queries of the network per image: the median distance of "
        "the nearest adversarial point that it asked about, over the images that all attacks of a panel were run on. Both axes are "
        "logarithmic. A line further down is a better attack, and one that falls further to the left a cheaper one; where it is "
        "level, more queries bring nothing. A line begins where half of the images have an adversarial point. Points on the way are "
        "judged by the network's own decision (float32, with the attacks' margin of safety); the large marker at the end is what the attack "
        "returned, as the judge measured it. The thin level line is the median of the best known distances of the same images: what "
        "the curves should approach. It is drawn where attacks that see gradients were run on these images. Misclassified images count at distance 0.",
        metric="query_curves",
        draw=queries.curves,
        panel="network",
        across=2,
        shared=True,
        axis="queries per image",
        width=2.4,
        height=2.1,
        columns=("network", "norm", "attack", "library", "images", "queries", "returned", "q1", "median", "q3", "best"),
        legend=queries.legend,
    ),
    "class_medians": Plot(
        title="{norm}: class by class",
        caption="Median of the smallest known distances of each true class; below a class the number of its images. A small number in a weak colour means easily fooled; the "
        "legend says which values a colour stands for. Classes with few images are uncertain; an empty column is a class without images, none a "
        "class on half of whose images nothing was found. Of more than 20 classes those with the most images are shown.",
        metric="class_medians",
        draw=classes.medians,
        unit=True,
        rows="network",
        row=0.34,
        names="network",
        below="label",
        columns=("network", "norm", "label", "images", "median"),
        legend=classes.medians_scale,
    ),
    "class_changes": Plot(
        title="{norm}: what is taken for what",
        caption="For each true class (down) the number of its images whose nearest known adversarial example is "
        "taken for the class across. A stronger colour: a larger fraction of the row. In brackets the images of the row. Of more than 20 classes those with the most images are shown.",
        metric="class_changes",
        draw=classes.changes,
        panel="network",
        width=3.2,
        height=3.0,
        names="class",
        below="adversarial_class",
        columns=("network", "norm", "label", "adversarial_class", "images", "fraction"),
        legend=classes.changes_scale,
    ),
}
"""Every figure of a report. One more is one more entry, wherever it is from: the page shows it in a section of its own."""


def figure(
    plot: Plot, frame: pd.DataFrame, *, titles: dict[str, str] | None = None, limit: float | None = None
) -> Figure:
    """A figure of as many panels as the plot's column has values in the frame.

    Args:
        plot: what to draw.
        frame: of one norm, not empty.
        titles: what to print for a value of the panel column.
        limit: where the axes of distances end, so that panels compare; None leaves it to the plot.

    Returns:
        The figure; draw and save it within :func:`bench.plots.style.drawing`.
    """
    frame = frame if limit is None else frame.assign(limit=limit)
    panels = list(dict.fromkeys(frame[plot.panel].astype(str))) if plot.panel else [""]
    across = min(len(panels), plot.across)
    result, grid, foot = _grid(plot, frame, len(panels), across)
    parts = [frame[frame[plot.panel].astype(str) == panel] if plot.panel else frame for panel in panels]
    for place, axes in enumerate(grid):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        plot.draw(parts[place], axes)
        if plot.panel:
            axes.set_title(
                _title(plot, (titles or {}).get(panels[place], panels[place])), fontsize=9.5, linespacing=1.15
            )
            axes.set_gid(_tag(plot.panel, parts[place]))
        if place % across:
            axes.tick_params(labelleft=not plot.shared)
        if place + across < len(panels):
            axes.tick_params(labelbottom=not plot.shared)
    _drop_repeated_labels(grid[: len(panels)], across, shared=plot.shared)
    if plot.shared:
        _same_limits(grid[: len(panels)])
        # One label below all panels that share an axis.
        x, y = grid[0].get_position().x0, (foot + 0.1) / result.get_size_inches()[1]
        result.text(x, y, plot.axis or _distances(result, frame), fontsize=9, color=INK, va="bottom")
    elif plot.axis:
        grid[0].set_xlabel(plot.axis)
    for part, axes in zip(parts, grid, strict=False):
        if plot.finish:
            plot.finish(part, axes)
    return result


def _tag(panel: str, part: pd.DataFrame) -> str:
    """By what a page hides a panel: the network, the pair of networks, or the attack that it is of."""
    line = part.iloc[0]
    if "network_a" in part:
        return tag(network=(str(line["network_a"]), str(line["network_b"])))
    keys = [panel] if panel == "network" else ["attack", "library"] if panel == "attack" else []
    return tag(**{key: str(line[key]) for key in keys if key in part})


def _drop_repeated_labels(grid: Sequence[Axes], across: int, *, shared: bool) -> None:
    """Leave out the label of an axis that the panel below, or the one to the left, has as well."""
    below = [axes.get_xlabel() for axes in grid][across:]
    left = [axes.get_ylabel() for axes in grid]
    for place, axes in enumerate(grid):
        if shared or (place < len(below) and below[place] == axes.get_xlabel()):
            axes.set_xlabel("")
        if place % across and left[place - 1] == left[place]:
            axes.set_ylabel("")


def _same_limits(panels: Sequence[Axes]) -> None:
    """Let every panel show what any of them shows."""
    for axes in panels:
        axes.set_xlim(min(one.get_xlim()[0] for one in panels), max(one.get_xlim()[1] for one in panels))
        axes.set_ylim(min(one.get_ylim()[0] for one in panels), max(one.get_ylim()[1] for one in panels))


def _distances(result: Figure, frame: pd.DataFrame) -> str:
    """The name of an axis of distances, with its unit where that fits."""
    return labels.distance_label(frame, short=bool(result.get_size_inches()[0] < 4.0))


def _title(plot: Plot, title: str) -> str:
    """A title in as many lines as it takes above a panel, at most three; what does not fit is left out."""
    most = int((plot.width - 0.45) * 12)
    folded = textwrap.wrap(title, most, break_long_words=False) if plot.panel == "attack" else title.split("\n")
    return "\n".join(labels.trimmed(line, most) for line in folded[:3])


def _grid(plot: Plot, frame: pd.DataFrame, panels: int, across: int) -> tuple[Figure, list[Axes], float]:
    """A figure with its axes, placed by inches: Matplotlib's own layout engines take half of a report's time.

    Returns:
        The figure, its axes, and the height of the key at its foot in inches.
    """
    down = -(-panels // across)
    width, height = _size(plot, frame, panels)
    # A class stands with the number of its images in brackets.
    names = min(_longest(frame, plot.names), 28) + (4 if plot.names == "class" else 0)
    stacked = plot.rows and not plot.names
    left, right = (0.24 if stacked else max(plot.left, 0.3 + 0.075 * names)), 0.16
    below = list(classes.classes(frame, plot.below).values()) if plot.below else []
    upright = (
        classes.LETTER * min(max(map(len, below)), classes.LONGEST) + 0.2 if classes.are_upright(below, width) else 0.0
    )
    key = plot.key(frame) if plot.key and "number" in frame else []
    total = left + across * width + right
    gap, between = (0.3, 0.36) if plot.shared else (left - 0.06, 0.8 + upright)
    total += (across - 1) * gap
    columns = max(1, int(total / (0.06 * max((len(label) + 4 for _, label, _, _ in key), default=1))))
    foot = LINE * -(-len(key) // columns) + 0.06 if key else 0.0
    bottom = foot + 0.5 + upright + (0.12 if plot.below and not upright else 0.0)
    handles = plot.legend(frame) if plot.legend else []
    beside = _beside([len(str(handle.get_label())) for handle in handles], total)
    top = 0.18 + (0.1 if plot.panel else 0.0) + (0.19 * -(-len(handles) // beside) + 0.05 if handles else 0)
    folded = {"attack": 0.14, "pair": 0.28}.get(plot.panel, 0.0)
    top, between = top + folded, between + folded
    tall = bottom + down * height + (down - 1) * between + top
    result = Shown(figsize=(total, tall))
    grid = result.subplots(
        down,
        across,
        squeeze=False,
        gridspec_kw={
            "left": left / total,
            "right": 1 - right / total,
            "bottom": bottom / tall,
            "top": 1 - top / tall,
            "wspace": gap / width,
            "hspace": between / height,
        },
    )
    if handles:
        result.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=beside, borderaxespad=0.1)
    lines = -(-len(key) // columns)
    for place, (number, label, attack, library) in enumerate(key):
        x, y = 0.08 + total / columns * (place // lines), foot - 0.06 - LINE * (place % lines)
        shown = result.text(x / total, y / tall, f"{number}  {label}", fontsize=labels.SIZE, color=INK, va="top")
        shown.set_gid(tag(attack=attack, library=library))
    return result, list(grid.flat), foot


def _beside(lengths: Sequence[int], total: float) -> int:
    """How many columns of a legend fit into so many inches; it is filled column by column."""
    for columns in range(len(lengths), 1, -1):
        # The first columns have one line more, as Matplotlib fills them.
        longest = [int(column.max()) for column in np.array_split(np.array(lengths), columns)]
        if sum(0.075 * length + 0.68 for length in longest) - 0.25 <= total:
            return columns
    return 1


LINE = 0.165
"""The height of a line of a key in inches."""


def _size(plot: Plot, frame: pd.DataFrame, panels: int) -> tuple[float, float]:
    """Width and height of the axes of one panel in inches."""
    width, height = plot.width - 0.6, plot.height - 0.5
    if plot.rows:
        networks = frame["network"].nunique() if "network" in frame else 1
        return width, frame[plot.rows].nunique() * (plot.row or bands.MARK * bands.height(networks))
    if plot.panel and panels == 1:
        grown = max(width, SINGLE)
        return grown, height * min(grown / width, 1.25)
    return width, height


SINGLE = 3.4
"""The width of the axes of a panel that stands alone is at least so many inches."""


def _longest(frame: pd.DataFrame, column: str) -> int:
    """How many characters the longest value of a column has; 0 where there is no such column."""
    return int(frame[column].astype(str).str.len().max()) if column in frame and len(frame) else 0


__all__ = ["PLOTS", "Plot", "drawing", "figure", "inline"]
