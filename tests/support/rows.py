"""Every attack row of every suite, each once, for tests that run over all of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

import suites
from bench.specs import AttackSpec, to_json
from bench.testing.attacks import attacker, unit
from bench.testing.attacks import proposed as attack

__all__ = ["ATTACKS", "METHODS", "attack", "attacker", "every_attack", "shortened", "unit"]

ATTACKS: dict[str, AttackSpec] = {
    json.dumps(to_json(row)): row
    for suite in suites.names()
    for row in suites.load(suite).rows
    if isinstance(row, AttackSpec)
}
METHODS: dict[str, AttackSpec] = {row.name: row for row in reversed(ATTACKS.values())}
"""One row of each name, the one of the first suite that has it: suites differ in numbers of steps alone."""


def every_attack(
    *, slow: frozenset[str] = frozenset(), only: Callable[[AttackSpec], bool] = lambda row: True, twice: bool = True
) -> pytest.MarkDecorator:
    """Parametrize a test by ``row``.

    Args:
        slow: slugs of methods whose rows carry that mark.
        only: which rows.
        twice: whether the same row with other numbers of steps, in another suite, comes again.
    """
    parameters = [
        pytest.param(
            row,
            id=row.name,
            # With --dist loadgroup one process compiles, or reads, all that Brendel-Bethge needs.
            marks=[pytest.mark.xdist_group(row.method.slug)] * (row.method.slug == "bb")
            + [pytest.mark.slow] * (row.method.slug in slow),
        )
        for row in (ATTACKS if twice else METHODS).values()
        if only(row)
    ]
    return pytest.mark.parametrize("row", parameters)


SHORT: dict[str, int] = {
    "steps": 12,
    "max_iter": 6,
    "num_steps": 12,
    "n_iter": 6,
    "binary_search_steps": 2,
    "max_eval": 100,
    "init_eval": 20,
    "initial_gradient_eval_steps": 20,
    "num_trial": 5,
}
"""What :func:`shortened` cuts a parameter to."""


def shortened(row: AttackSpec) -> AttackSpec:
    """The row with few steps: enough to see how it behaves, not to see how good it is."""
    params: dict[str, Any] = dict(row.params)
    params |= {name: min(int(params[name]), limit) for name, limit in SHORT.items() if name in params}
    return dataclasses.replace(row, params=params)
