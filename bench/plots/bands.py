"""A band for each attack, the networks stacked within it: the frame of the plots that compare attacks."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from bench.plots.style import INK, PAPER, RULE, tagged

TITLE = 2.0
"""The height of an attack's name, in networks."""

SLACK = 0.6
"""The free height below an attack's last network, in networks."""

NAME_SIZE = 8.5
"""Of the names of attacks above their marks, in printer's points."""


def height(networks: int) -> float:
    """The height of one attack, in networks."""
    return TITLE + networks + SLACK


class Bands:
    """Where each attack and network stands: the attack's name above its networks, so that it takes no width."""

    def __init__(self, frame: pd.DataFrame, networks: list[str]) -> None:
        self.networks = networks
        self.attacks = frame.drop_duplicates("attack").set_index("attack")[["label", "library"]]
        self._step = 1 / height(len(networks))
        self._place = {str(name): place for place, name in enumerate(self.attacks.index)}

    def place(self, attack: str, network: str) -> float:
        """The height of a network's mark."""
        return self._place[attack] + (TITLE + 0.5 + self.networks.index(network)) * self._step

    def draw(self, axes: Axes) -> None:
        """Names, and a line between neighbours; the page hides a name with its marks."""
        for place, (attack, line) in enumerate(self.attacks.iterrows()):
            with tagged(axes, attack=str(attack), library=str(line["library"])):
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
        axes.hlines(range(1, len(self.attacks)), 0, 1, transform=axes.get_yaxis_transform(), color=RULE, linewidth=0.7)
        axes.set_ylim(len(self.attacks), 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
