"""A band for each attack, or pair of attacks, the networks stacked within it: the frame of the plots that compare attacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import pandas as pd
from matplotlib.axes import Axes

from bench.plots.style import INK, PAPER, RULE, tagged

TITLE = 2.0
"""The height of an attack's name, in networks."""

SLACK = 0.6
"""The free height below an attack's last network, in networks."""

MARK = 0.085
"""The height in inches of one network's mark."""

NAME_SIZE = 8.5
"""Of the names of attacks above their marks, in printer's points."""


def height(networks: int) -> float:
    """The height of one attack, in networks."""
    return TITLE + networks + SLACK


class Bands:
    """Where each attack and network stands: the attack's name above its networks, so that it takes no width.

    Args:
        frame: with ``label``, and ``attack`` and ``library``, or both with ``_a`` and ``_b`` for pairs.
        networks: in the order in which they are stacked.
        by: the column whose values have a band each.
    """

    def __init__(self, frame: pd.DataFrame, networks: list[str], by: str = "attack") -> None:
        self.networks = networks
        self._lines = frame.drop_duplicates(by).to_dict("records")
        self._step = 1 / height(len(networks))
        self._place = {str(line[by]): place for place, line in enumerate(self._lines)}

    def place(self, name: str, network: str) -> float:
        """The height of a network's mark."""
        return self._place[name] + (TITLE + 0.5 + self.networks.index(network)) * self._step

    def draw(self, axes: Axes) -> None:
        """Names, and a line between neighbours; the page hides a name with its marks."""
        for place, line in enumerate(self._lines):
            with tagged(axes, **tags(line)):
                axes.text(
                    0.008,
                    place + 0.5 * TITLE * self._step,
                    str(line["label"]),
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    fontsize=NAME_SIZE,
                    color=INK,
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
                )
        axes.hlines(range(1, len(self._lines)), 0, 1, transform=axes.get_yaxis_transform(), color=RULE, linewidth=0.7)
        axes.set_ylim(max(len(self._lines), 1), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)


def tags(line: Mapping[Hashable, object]) -> dict[str, tuple[str, ...]]:
    """The attacks and libraries of a line, by which a page hides it."""
    names = {key: [name for name in (key, f"{key}_a", f"{key}_b") if name in line] for key in ("attack", "library")}
    return {key: tuple(dict.fromkeys(str(line[name]) for name in own)) for key, own in names.items()}
