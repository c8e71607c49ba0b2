"""What a terminal or a notebook shows of a run: the stage, a bar over the blocks with the time left.

On a terminal the bar is rich's. In a notebook it is an element of HTML that is written again in place: it needs no widgets, and a
stored notebook shows how it ended.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from html import escape as escape_html
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from bench.engine import runner
from bench.engine.executors import ATTACKING
from bench.engine.watch import Watch
from bench.errors import printable
from bench.records import Status
from bench.specs import Kind

MEASURING = "measuring the time left"


class _Left(ProgressColumn):
    """The time left, which goes on to shrink between two blocks."""

    max_refresh = 1.0

    def render(self, task: Task) -> Text:
        """What is left now of what was left when the last block was stored."""
        until: float | None = task.fields["until"]
        if until is None:
            return Text(task.fields["left"])
        return Text(_words(max(until - time.monotonic(), 0.0)))


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """Show a run's progress: on a terminal or in a notebook a bar, elsewhere a line for every stage and some blocks."""
    if console.is_jupyter:
        yield _in_notebook()
        return
    live = console.is_terminal
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        _Left(),
        TextColumn("[dim]{task.fields[last]}"),
    )
    shown = -1
    with Progress(*columns, console=console, disable=not live, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="", until=None, last="")

        def line(text: str) -> None:
            if not live:
                console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
                console.file.flush()

        def stage(text: str) -> None:
            bar.update(task, description=printable(text), left=MEASURING if text == ATTACKING else "", until=None)
            line(printable(text))

        def warn(network: str, message: str) -> None:
            tell(f"network {network}: {message}")

        def say(message: str) -> None:
            console.print(printable(message), markup=False, highlight=False, soft_wrap=True)

        def tell(message: str) -> None:
            console.print(f"warning: {printable(message)}", style="yellow", markup=False, soft_wrap=True)

        def progress(step: runner.Progress) -> None:
            nonlocal shown
            last = printable(_outcome(step))
            text = f"{step.done}/{step.planned} blocks"
            until = None if step.left is None else time.monotonic() + step.left
            bar.update(
                task,
                description=text,
                completed=step.done,
                total=step.planned,
                left=MEASURING,
                until=until,
                last=escape(last),
            )
            if (twentieth := 20 * step.done // step.planned) > shown:
                shown = twentieth
                line(f"{text}, {time_left(step)}; last: {last}")

        yield Watch(stage=stage, warn=warn, say=say, tell=tell, progress=progress)


class _Bar:
    """A bar in a notebook, which one cell shows once and changes in place.

    Attributes:
        done, planned: blocks; None while it is not known how many there are.
        text: beside the bar.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._handle: Any = None
        self.done: int = 0
        self.planned: int | None = None
        self.text = "starting"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        value = "" if self.planned is None else f' max="{self.planned}" value="{self.done}"'
        blocks = "" if self.planned is None else f"{self.done}/{self.planned} blocks, "
        text = f"{blocks}{self.text}, {timedelta(seconds=round(time.monotonic() - self._begun))}"
        bar = f'<progress aria-label="blocks that are done"{value} style="width:15em"></progress>'
        return {"text/plain": text, "text/html": f"<div>{bar} {escape_html(text)}</div>"}

    def show(self, text: str) -> None:
        """Show the text beside the bar as it now is."""
        from IPython.display import display  # noqa: PLC0415 - a notebook has it

        self.text = printable(text)
        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)


def _in_notebook() -> Watch:
    """Show a run's progress in the cell that computes it."""
    bar = _Bar()

    def tell(message: str) -> None:
        print(f"warning: {printable(message)}")

    def progress(step: runner.Progress) -> None:
        bar.done, bar.planned = step.done, step.planned
        bar.show("done" if step.done == step.planned else f"{time_left(step)}; last: {_outcome(step)}")

    return Watch(
        stage=bar.show,
        warn=lambda network, message: tell(f"network {network}: {message}"),
        say=lambda message: print(printable(message)),
        tell=tell,
        progress=progress,
    )


def time_left(step: runner.Progress) -> str:
    """The time left in words."""
    return MEASURING if step.left is None else _words(step.left)


def _words(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"


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
