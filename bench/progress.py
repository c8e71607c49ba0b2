"""What a terminal or a notebook shows of a run: the stage, a bar over the blocks with the time left, a final table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import metrics
from bench.engine import runner
from bench.engine.session import Watch
from bench.errors import printable
from bench.records import Status
from bench.specs import Kind
from bench.store import Manifest

MEASURING = 10.0
"""Seconds of expected work that have to be done before the time left is worth printing."""


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """Show a run's progress: on a terminal or in a notebook a bar, elsewhere a line for every twentieth of its blocks."""
    live = console.is_terminal or console.is_jupyter
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.fields[last]}"),
    )
    begin: float | None = None
    shown = -1
    with Progress(*columns, console=console, disable=not live, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="", last="")

        def stage(text: str) -> None:
            nonlocal begin
            begin = begin or (time.monotonic() if text == "attacking" else None)
            bar.update(task, description=_plain(text))

        def warn(network: str, message: str) -> None:
            tell(f"network {network}: {message}")

        def tell(message: str) -> None:
            console.print(f"warning: {printable(message)}", style="yellow", markup=False, soft_wrap=True)

        def progress(step: runner.Progress) -> None:
            nonlocal shown
            left = time_left(time.monotonic() - (begin or time.monotonic()), step)
            last = printable(_outcome(step))
            text = f"{step.done}/{step.planned} blocks"
            bar.update(task, description=text, completed=step.done, total=step.planned, left=left, last=_plain(last))
            if not live and (twentieth := 20 * step.done // step.planned) > shown:
                shown = twentieth
                print(f"{text}, {left}; last: {last}", flush=True)

        yield Watch(stage=stage, warn=warn, tell=tell, progress=progress)


def time_left(elapsed: float, step: runner.Progress) -> str:
    """The time left, as what is done took against what it was expected to take; ``measuring`` until enough is done."""
    rest = step.expected - step.expected_done
    if step.done < step.planned and step.expected_done < min(MEASURING, 0.05 * step.expected):
        return "measuring the time left"
    seconds = elapsed / step.expected_done * rest if step.expected_done else 0.0
    return f"{timedelta(seconds=round(seconds))} left"


def _plain(text: str) -> str:
    """A text as it is: no markup of rich, nothing that a terminal would obey."""
    return escape(printable(text))


def _outcome(step: runner.Progress) -> str:
    """A finished block in a few words."""
    attacked = sum(record.status is not Status.MISCLASSIFIED for record in step.records)
    where = f"{step.block.network.name}, {step.block.row.label}: "
    if step.block.row.kind is not Kind.UPPER:
        bounds = [record.lower for record in step.records if record.status is not Status.MISCLASSIFIED]
        return where + (f"median lower bound {statistics.median(bounds):.4g}" if bounds else "nothing to bound")
    found = [record.distance for record in step.records if record.status is Status.FOUND]
    if not attacked:
        return f"{where}all misclassified, nothing to attack"
    middle = f"median {statistics.median(found):.4g}, " if found else ""
    return f"{where}{middle}found {len(found)} of {attacked}"


def table(records: pd.DataFrame, content: Manifest) -> Table:
    """Medians over all images, misclassified ones being 0, by row and network: of distances, or of lower bounds."""
    summary = metrics.summary(records, content)
    shown = Table(
        title="median minimal norm (found rate of the attacked images); ≥ median certified lower bound",
        title_justify="left",
    )
    names = [network["name"] for network in content["networks"]]
    shown.add_column("attack")
    for name in names:
        shown.add_column(_plain(name), justify="right")
    cells = {
        (row["attack"], row["network"]): f"{row['median']:.4g} ({row['found_rate']:.0%})"
        if row["misclassified"] < row["images"]
        else "all misclassified"
        for row in summary.to_dict("records")
    }
    bounds = records[records["kind"] != Kind.UPPER].groupby(["attack", "network"], observed=True)["lower"].median()
    for row in bounds.reset_index().itertuples():
        cells[row.attack, row.network] = f"≥ {row.lower:.4g}"
    for row in content["rows"]:
        shown.add_row(_plain(row["label"]), *(cells.get((row["name"], name), "-") for name in names))
    return shown
