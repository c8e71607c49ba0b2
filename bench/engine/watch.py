"""Who is informed while a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench import process
from bench.engine.runner import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is informed while a run goes on.

    Attributes:
        stage: called with what begins now, such as ``checking MLP``.
        warn: called with a network's name and a warning about it.
        say: called with what the user may want to know, such as what was done to take a network.
        tell: called with what else the user has to know, such as parts of the run that are damaged.
        progress: called after each stored block.
    """

    stage: Callable[[str], None] = lambda _: None
    warn: Callable[[str, str], None] = lambda _name, _message: None
    say: Callable[[str], None] = lambda _: None
    tell: Callable[[str], None] = lambda _: None
    progress: Callable[[Progress], None] = lambda _: None


def heeding(watch: Watch) -> Watch:
    """A watch at whose every call a signal that was swallowed counts."""

    def stage(text: str) -> None:
        process.check()
        watch.stage(text)

    def progress(step: Progress) -> None:
        process.check()
        watch.progress(step)

    return replace(watch, stage=stage, progress=progress)
