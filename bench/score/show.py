"""Scores as tables: in the terminal, and as CSV in full precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from bench.errors import printable
from bench.metrics import robust_accuracy
from bench.metrics.curves import round_grid
from bench.norms import Norm
from bench.report.frames import Frames
from bench.report.tables import figure, percentage
from bench.score.given import Scored

SCORES = (
    "network", "attack", "norm", "images", "misclassified", "found", "not_found", "found_rate", "q1", "median", "q3",
    "median_low", "median_high", "mean_found", "ratio", "ratio_low", "ratio_high", "optimality",
)  # fmt: skip
"""The columns of ``scores.csv``, as :func:`bench.metrics.tables.summary` has them; ``docs/neighbours.md`` explains them."""

CURVES = ("network", "norm", "attack", "eps", "robust_accuracy", "low", "high")
"""The columns of ``curves.csv``, as :func:`bench.metrics.curves.attack_curves` has them."""


def scores(frames: Frames) -> pd.DataFrame:
    """One line per network and attack, the columns of :data:`SCORES`: norm by norm, network by network, the best ratio first."""
    summary = frames.plain("summary")
    order = summary.assign(
        place=summary["norm"].map({norm.value: place for place, norm in enumerate(Norm)}),
        row=summary["network"].astype(str).map({name: place for place, name in enumerate(frames.evidence.networks)}),
    )
    ordered = order.sort_values(["place", "row", "ratio", "median"], kind="stable", na_position="last")
    return ordered[list(SCORES)].reset_index(drop=True)


def curves(frames: Frames) -> pd.DataFrame:
    """Robust accuracy of every attack and of the best known distances, the columns of :data:`CURVES`: a step at each line."""
    parts = [frames.plain(name).astype({"network": object}) for name in ("best_curves", "attack_curves")]
    return pd.concat(parts, ignore_index=True)[list(CURVES)]


def tables(scored: Scored, frames: Frames) -> Iterator[Table]:
    """What the terminal shows of each norm: the scores, then the robust accuracy of each attack at some sizes of change."""
    every = scores(frames)
    for norm in scored.evidence.norms:
        yield _scores(every[every["norm"] == norm.value], scored, norm)
        yield _robust(scored, norm)


def _scores(lines: pd.DataFrame, scored: Scored, norm: Norm) -> Table:
    table = _table(f"{norm.label} distances, beside the best known ones; 95 % intervals", scored)
    for heading in ("images", "found", "median", "ratio", "optimality"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines.to_dict("records"):
        table.add_row(
            *_who(line["attack"], line["network"], scored),
            f"{line['images']:,}",
            percentage(line["found_rate"]),
            f"{figure(line['median'])} ({figure(line['median_low'])} to {figure(line['median_high'])})",
            f"{figure(line['ratio'], 4)} ({figure(line['ratio_low'])} to {figure(line['ratio_high'])})",
            figure(line["optimality"]),
        )
    return table


def _table(title: str, scored: Scored) -> Table:
    """A table whose first columns say which attack and, where there are several, which network."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, collapse_padding=True)
    made.add_column("attack", overflow="fold", min_width=8)
    if len(scored.evidence.networks) > 1:
        made.add_column("network", overflow="fold", min_width=8)
    return made


def _who(attack: object, network: object, scored: Scored) -> list[str]:
    names = [attack, network] if len(scored.evidence.networks) > 1 else [attack]
    return [printable(escape(str(name))) for name in names]


def _robust(scored: Scored, norm: Norm) -> Table:
    """Robust accuracy in one norm: a line for each attack and network, and for the best known distances."""
    evidence = scored.evidence
    best = evidence.best[evidence.best["norm"] == norm.value]
    sizes = round_grid(best["distance"].to_numpy(), 5, whole=norm.counts)
    table = _table(f"Robust accuracy in {norm.label}, by size of change", scored)
    for size in sizes:
        table.add_column(f"{size:g}", justify="right", no_wrap=True)
    records = evidence.records[evidence.records["norm"] == norm.value]
    for network in evidence.networks:
        own = best[best["network"] == network]
        lines = [("best known", own["distance"])]
        for attack, group in records[records["network"] == network].groupby("attack", observed=True):
            lines.append((str(attack), group["distance"]))
        for name, distance in lines:
            if len(distance):
                values = robust_accuracy(distance, sizes)
                cells = [percentage(float(value)) for value in np.atleast_1d(values)]
                table.add_row(*_who(name, network, scored), *cells)
    return table
