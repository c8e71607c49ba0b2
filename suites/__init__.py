"""Suites of attacks: a file ``suites/<name>.py`` exports ``SUITE`` and is the ``--suite`` name.

Files that begin with an underscore hold rows that several suites share.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.errors import unknown
from bench.specs import Suite


def names() -> tuple[str, ...]:
    """The suites there are."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")))


def load(name: str) -> Suite:
    """A suite by its name.

    Raises:
        UsageError: there is no such suite.
    """
    if name not in names():
        raise unknown("suite", name, names())
    suite: Suite = importlib.import_module(f"suites.{name}").SUITE
    return suite
