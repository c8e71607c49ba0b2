"""PLOTS: from tidy frames to drawings, ``(frame, axes) -> axes``, and from those to figures of several panels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.plots import bands, comparisons, distributions, legends, queries
from bench.plots.style import INK, MUTED, drawing
from bench.plots.svg import inline

MARK = 0.085
"""The height in inches of one network's mark in a figure of attacks below each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A kind of figure; the report makes one of each for every norm that has data.

    Attributes:
        title: its heading, ``{norm}`` stands for the norm's label.
        caption: what it shows and how to read it.
        metric: the entry of ``bench.metrics.METRICS`` (or of the report's own frames) that it draws.
        draw: draws one panel.
        panel: the column whose values get a panel each; empty for one panel.
        across: at most so many panels stand side by side.
        beside: whether the figures of all norms stand side by side where there is room.
        width, height: of a panel in inches; the height is that of the axis alone where attacks are ``stacked``.
        stacked: whether attacks stand below each other, which decides the height.
        names, below: the columns whose values stand left of and below the panel, which decides the margins there; a
            frame need not have them.
        columns: what goes into the figure's CSV.
        legend: makes its handles; None for no legend.
        unit: whether the unit of distances belongs into the heading, because no axis has room for it.
        shared: whether panels have the same axes, so that only the outer ones need numbers.
        axis: what the axis below shared panels is called; empty where it is one of distances.
    """

    title: str
    caption: str
    metric: str
    draw: Callable[[pd.DataFrame, Axes], Axes]
    panel: str = ""
    across: int = 4
    beside: bool = True
    width: float = 4.5
    height: float = 3.0
    stacked: bool = False
    names: str = ""
    below: str = ""
    columns: tuple[str, ...] = ()
    legend: Callable[[pd.DataFrame], list[Line2D]] | None = None
    unit: bool = False
    shared: bool = False
    axis: str = ""


PLOTS: dict[str, Plot] = {
    "cumulative": Plot(
        title="{norm}: how many images a change of this size makes wrong",
        caption="Fraction of images with a known adversarial example at most this far away, over all attacks together: a "
        "curve further to the right is a more robust network. The band is the 95% interval of the fraction at each "
        "distance (Wilson). Misclassified images count at distance 0; images for which nothing was found never count.",
        metric="best_curves",
        draw=distributions.cumulative,
        columns=("network", "norm", "eps", "robust_accuracy", "low", "high"),
        legend=legends.lines,
    ),
    "violins": Plot(
        title="{norm}: distribution of minimal norms, network against network",
        caption="The smallest known distance of each image (points; a subset when there are many images) and their density (shape); the bar is the middle "
        "half, the line the median, of the images for which something was found. Misclassified images stand at 0.",
        metric="distances",
        draw=distributions.violins,
        unit=True,
        columns=("network", "norm", "image", "label", "distance", "attack"),
    ),
    "intervals": Plot(
        title="{norm}: what each attack finds",
        caption="For each attack and network, from the first to the third quartile of its distances, with the median as "
        "marker; within an attack the networks stand in the order of the legend. Further left is the better attack; "
        "no attack can find less than the true minimal distance. A filled arrow at the right edge: the median lies beyond the axis. An open "
        "arrow: the attack found nothing on half of the images or more. Attacks that ran on "
        "fewer images cannot be compared with the rest.",
        metric="attack_intervals",
        draw=distributions.intervals,
        stacked=True,
        columns=("network", "attack", "norm", "q1", "median", "q3", "found_rate"),
        legend=legends.networks_and_libraries,
    ),
    "per_attack": Plot(
        title="{norm}: network against network, attack by attack",
        caption="The fraction of images that a change of this size makes wrong, by each attack alone: does every attack rank "
        "the networks alike? An attack on fewer images than others says on how many.",
        metric="attack_panels",
        draw=distributions.cumulative_lines,
        panel="attack",
        across=3,
        shared=True,
        width=1.85,
        height=1.6,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.lines,
    ),
    "security": Plot(
        title="{norm}: security evaluation curves",
        caption="Robust accuracy: the fraction of images for which no known change of at most this size makes the network wrong. "
        "Bold: all attacks together, an upper bound of the true robust accuracy. Thin: each attack by itself; point at a line for its name. The "
        "nearer the thin lines to the bold one, the better the attacks agree.",
        metric="security_curves",
        draw=distributions.security,
        panel="network",
        across=2,
        shared=True,
        width=2.4,
        height=2.1,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.envelope,
    ),
    "bracket": Plot(
        title="{norm}: between proof and attack",
        caption="Robust accuracy: the fraction of images that no change of at most this size makes wrong. Its true value "
        "lies in the shaded gap: at least what is certified (dashed), at most what no attack made wrong (solid). Where "
        "the two lines meet, it is known.",
        metric="bracket_curves",
        draw=comparisons.bracket,
        panel="network",
        across=2,
        shared=True,
        width=2.4,
        height=2.1,
        columns=("network", "norm", "attack", "eps", "robust_accuracy"),
        legend=legends.proof_and_attack,
    ),
    "exact": Plot(
        title="{norm}: attacks against the exact distance",
        caption="Each point is an image whose exact distance is known; the upright bar is the median; within an attack the "
        "networks stand in the order of the legend. At 1 the attack found the nearest adversarial example there is. "
        "Solved images are the easier ones: on the others attacks may do worse. Ratios of 4 and more, and images on which "
        "the attack found nothing, stand at the right edge.",
        metric="exact_ratios",
        draw=comparisons.ratios,
        stacked=True,
        columns=("network", "norm", "attack", "image", "distance", "ratio"),
        legend=legends.networks_and_libraries,
    ),
    "libraries": Plot(
        title="{norm}: the same method in two libraries",
        caption="One point per image and network, the libraries' own code alone. On the diagonal both find the same; above it the library on the "
        "vertical axis finds larger distances, which is worse. Points at the edge: nothing found.",
        metric="library_pairs",
        draw=comparisons.library_scatter,
        unit=True,
        panel="pair",
        across=2,
        width=2.3,
        height=2.2,
        columns=("network", "norm", "title", "library_a", "library_b", "image", "distance_a", "distance_b"),
        legend=legends.points,
    ),
    "costs": Plot(
        title="{norm}: quality against cost",
        caption="Median ratio to the best known distance over seconds per image, both on logarithmic axes: lower left is "
        "better. Filled markers on the line are the front: no other attack is both better and cheaper. Names stand where "
        "there is room; point at a marker for the others, or read the table above. Attacks that found nothing on half of "
        "the images are not drawn. Seconds are wall time on the machine of the run, other work on it included.",
        metric="cost",
        draw=comparisons.costs,
        panel="network",
        beside=False,
        width=3.9,
        height=3.3,
        columns=("network", "norm", "attack", "ratio", "found_rate", "seconds", "forwards", "backwards", "front"),
        legend=legends.libraries,
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
        caption="Median of the smallest known distances of each true class: small and light means easily fooled. Classes with few "
        "images are uncertain; a class without images, or without a finite median, has an empty column or cell. Of more "
        "than 20 classes those with the most images are shown.",
        metric="class_medians",
        draw=comparisons.class_heat,
        unit=True,
        height=2.4,
        names="network",
        below="class",
        columns=("network", "norm", "label", "images", "median"),
    ),
    "class_changes": Plot(
        title="{norm}: what is taken for what",
        caption="For each true class (down) the percentage of its images whose nearest known adversarial example is "
        "taken for the class across. Of more than 20 classes those with the most images are shown.",
        metric="class_changes",
        draw=comparisons.change_heat,
        panel="network",
        beside=False,
        width=3.1,
        height=2.9,
        names="class",
        below="taken_for",
        columns=("network", "norm", "label", "adversarial_class", "images", "fraction"),
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
    panels = list(dict.fromkeys(frame[plot.panel].astype(str))) if plot.panel else [""]
    across = min(len(panels), plot.across)
    result, grid = _grid(plot, frame, len(panels), across)
    for place, axes in enumerate(grid):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        part = frame[frame[plot.panel].astype(str) == panels[place]] if plot.panel else frame
        plot.draw(part, axes)
        if limit is not None:
            _end_at(axes, limit, plot, part)
        if plot.panel:
            title = (titles or {}).get(panels[place], panels[place])
            axes.set_title(_folded(title, plot.width), fontsize=10 if plot.width > 2 else 8.5, linespacing=1.05)
        if plot.width <= 2:
            axes.yaxis.label.set_fontsize(8)
        if place % across:
            axes.tick_params(labelleft=not plot.shared)
        if place + across < len(panels):
            axes.tick_params(labelbottom=not plot.shared)
    _drop_repeated_labels(grid[: len(panels)], across, shared=plot.shared)
    if plot.shared:
        _same_limits(grid[: len(panels)])
        _name_shared_axis(result, grid[0], plot.axis or _distances(result, frame))
    return result


def _drop_repeated_labels(grid: Sequence[Axes], across: int, *, shared: bool) -> None:
    """Leave out the label of an axis that the panel below, or the one to the left, has as well."""
    below = [axes.get_xlabel() for axes in grid][across:]
    left = [axes.get_ylabel() for axes in grid]
    for place, axes in enumerate(grid):
        if shared or (place < len(below) and below[place] == axes.get_xlabel()):
            axes.set_xlabel("")
        if place % across and left[place - 1] == left[place]:
            axes.set_ylabel("")


def _end_at(axes: Axes, limit: float, plot: Plot, part: pd.DataFrame) -> None:
    axes.set_xlim(0, limit)
    if plot.shared:
        axes.xaxis.set_major_locator(MaxNLocator(4 if plot.width > 2 else 3, steps=[1, 2, 2.5, 5, 10]))
    if plot.metric == "attack_panels" and (part.loc[part["robust_accuracy"] < 1, "eps"] > limit).all():
        axes.text(0.5, 0.5, "beyond this axis", transform=axes.transAxes, ha="center", fontsize=8, color=MUTED)


def _same_limits(panels: Sequence[Axes]) -> None:
    """Let every panel show what any of them shows."""
    for axes in panels:
        axes.set_xlim(min(one.get_xlim()[0] for one in panels), max(one.get_xlim()[1] for one in panels))
        axes.set_ylim(min(one.get_ylim()[0] for one in panels), max(one.get_ylim()[1] for one in panels))


def _distances(result: Figure, frame: pd.DataFrame) -> str:
    """The name of an axis of distances, with its unit where that fits."""
    return distributions.distance_label(frame, short=bool(result.get_size_inches()[0] < 4.5))


def _name_shared_axis(result: Figure, first: Axes, label: str) -> None:
    """One label below all panels that share an axis."""
    tall = result.get_size_inches()[1]
    result.text(first.get_position().x0, 0.1 / tall, label, fontsize=9, color=INK, va="bottom")


def _folded(title: str, width: float) -> str:
    """A title in as many lines as it takes above a panel so many inches wide."""
    return "\n".join(textwrap.wrap(title, int(width * 10), break_long_words=False)[:2]) if width <= 2 else title


def _grid(plot: Plot, frame: pd.DataFrame, panels: int, across: int) -> tuple[Figure, list[Axes]]:
    """A figure with its axes, placed by inches: Matplotlib's own layout engines take half of a report's time."""
    down = -(-panels // across)
    width, height = plot.width - 0.6, plot.height - 0.5
    if plot.stacked:
        height = MARK * frame["attack"].nunique() * bands.height(frame["network"].nunique())
    names, below = (_longest(frame, column) for column in (plot.names, plot.below))
    left, right = (0.24 if plot.stacked else max(0.72, 0.3 + 0.075 * names)), 0.16
    upright = 0.075 * below if below > comparisons.UPRIGHT else 0.0
    bottom = 0.5 + upright
    gap, between = (0.3, 0.36 if plot.width > 2 else 0.5) if plot.shared else (left - 0.06, 0.8 + upright)
    handles = plot.legend(frame) if plot.legend else []
    total = left + across * width + (across - 1) * gap + right
    longest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(len(handles), int(total / (0.075 * longest + 0.55))))
    titles = 0.0 if not plot.panel else 0.08 if plot.width > 2 else 0.22
    top = 0.22 + titles + (0.2 * -(-len(handles) // columns) + 0.06 if handles else 0)
    tall = bottom + down * height + (down - 1) * between + top
    result = Figure(figsize=(total, tall))
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
        result.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.1)
    return result, list(grid.flat)


def _longest(frame: pd.DataFrame, column: str) -> int:
    """How many characters the longest value of a column has; 0 where there is no such column."""
    return int(frame[column].astype(str).str.len().max()) if column in frame and len(frame) else 0


__all__ = ["PLOTS", "Plot", "drawing", "figure", "inline"]
