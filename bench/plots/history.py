"""Medians of the runs of one suite on one dataset, over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bench.plots.labels import distance_label
from bench.plots.style import of_networks, tagged


def medians(frame: pd.DataFrame, axes: Axes) -> Axes:
    """A line for each network over the runs, with 95 % intervals.

    Args:
        frame: columns norm (one value), network, run, median, low, high, in the order of time.
        axes: to draw on.
    """
    runs = list(dict.fromkeys(frame["run"]))
    looks = of_networks(frame)
    for place, (name, look) in enumerate(looks.items()):
        own = frame[(frame["network"] == name) & np.isfinite(frame["median"])]
        at = np.array([runs.index(run) for run in own["run"]]) + (place - (len(looks) - 1) / 2) * 0.06
        ends = np.abs(own[["low", "high"]].to_numpy(dtype=np.float64).T - own["median"].to_numpy())
        with tagged(axes, network=name):
            axes.errorbar(
                at,
                own["median"],
                yerr=np.where(np.isfinite(ends), ends, 0.0),
                color=look.colour,
                linestyle=look.dash,
                marker="o",
                markersize=4,
                capsize=2,
                linewidth=1.4,
                label=name,
            )
    axes.set_xticks(range(len(runs)), [str(place + 1) for place in range(len(runs))])
    axes.set_xlim(-0.5, len(runs) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("run, in the order of time")
    axes.set_ylabel(f"median {distance_label(frame, short=True)}")
    return axes
