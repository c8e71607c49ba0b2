"""``python fake_run.py ARGUMENTS``: the command line of the bench, with a suite of fake rows; for tests to kill."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import fakes

import suites
from bench import run
from bench.engine import runner
from bench.specs import Suite

SUITE = Suite(
    name="fake",
    description="rows whose behaviour is known",
    rows=(fakes.row("noise", batch=5), fakes.row("slow_noise", batch=2), fakes.row("raises_for_three", batch=10)),
    samples=40,
    networks=("MLP",),
)


def main(arguments: list[str] | None = None, folder: Path | None = None) -> int:
    """``bench.run.main`` in a folder, knowing no suite but the fake one; returns the exit code."""
    if folder is not None:
        os.chdir(folder)
    suites.names = lambda: ("fake",)
    suites.load = lambda name: SUITE
    runner.run = functools.partial(runner.run, work=fakes.work)
    return run.main(arguments)


def exit_with(arguments: list[str], folder: Path) -> None:
    """:func:`main` as the target of a process."""
    sys.exit(main(arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
