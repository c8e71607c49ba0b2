"""Every attack row of every suite, each once, for tests that run over all of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import suites
from adapters import base
from bench.specs import AttackSpec, to_json

ATTACKS: dict[str, AttackSpec] = {
    json.dumps(to_json(row)): row
    for suite in suites.names()
    for row in suites.load(suite).rows
    if isinstance(row, AttackSpec)
}


def every_attack(*, slow: frozenset[str] = frozenset(), library: str | None = None) -> pytest.MarkDecorator:
    """Parametrizes a test by ``row``, of one library if it says so; rows whose method's slug is in ``slow`` carry that mark."""
    parameters = [
        pytest.param(
            row,
            id=row.name,
            # With --dist loadgroup one process compiles, or reads, all that Brendel-Bethge needs.
            marks=[pytest.mark.xdist_group(row.method.slug)] * (row.method.slug == "bb")
            + [pytest.mark.slow] * (row.method.slug in slow),
        )
        for row in ATTACKS.values()
        if library in (None, row.library)
    ]
    return pytest.mark.parametrize("row", parameters)


SHORT: dict[str, int] = {
    "steps": 12,
    "max_iter": 6,
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
    params |= {name: min(int(params[name]), most) for name, most in SHORT.items() if name in params}
    return dataclasses.replace(row, params=params)


def attack(row: AttackSpec, network: nn.Module, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """The candidates of a row, its blocks one after the other."""
    attacker = base.load(row.library)
    blocks = zip(images.split(row.batch), labels.split(row.batch), strict=True)
    return torch.cat([attacker.attack(row, network, block, truth, seed) for block, truth in blocks])
