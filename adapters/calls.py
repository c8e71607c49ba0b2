"""What all adapters do alike: find a row's attack, and call it for the images that it can take together."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adapters import lockstep, starts
from bench.problem import Problem
from bench.specs import AttackSpec, Coupling

Call = Callable[[Problem, Tensor | None], Any]
"""From a problem and its starting points, None where the row needs none, to candidates."""


def target(spec: AttackSpec, *leading: object) -> Any:
    """The class of a row's target.

    Args:
        spec: the row.
        leading: arguments that come before the row's parameters, to check that the class takes all of them.

    Raises:
        ImportError, AttributeError: there is no such class.
        TypeError: it does not take the row's parameters.
    """
    module, _, name = spec.target.partition(":")
    found = getattr(importlib.import_module(module), name)
    inspect.signature(found).bind(*leading, **spec.params)
    return found


def candidates(spec: AttackSpec, problem: Problem, call: Call) -> Tensor:
    """What a row's attack makes of a problem.

    Args:
        spec: the row. Where it starts at an adversarial image, the images without one are left out; where the images of
            a call would depend on one another, each is a call of its own.
        problem: n images.
        call: runs the attack; what it returns is converted to a tensor.

    Returns:
        (n, *shape) float32, the clean image where the attack was not called.

    Raises:
        ValueError: ``call`` returned something of another shape.
    """
    begin = starts.points(spec.start, problem)
    result = problem.images.clone()
    rows = torch.arange(len(problem), device=problem.images.device)
    if begin is not None:
        rows = rows[starts.found(begin)]
    if not len(rows):
        return result
    parts = rows.split(1 if spec.coupling.alone else len(rows))
    if spec.coupling is Coupling.LOCKSTEP:
        found = lockstep.run(problem.select(rows), None if begin is None else begin[rows], call)
    else:
        found = [call(problem.select(part), None if begin is None else begin[part]) for part in parts]
    for part, one in zip(parts, found, strict=True):
        proposed = torch.as_tensor(one)
        if proposed.shape != result[part].shape:
            raise ValueError(f"the attack returned shape {tuple(proposed.shape)}, not {tuple(result[part].shape)}")
        result[part] = proposed.to(result)
    return result


def spread(values: Tensor, like: Tensor) -> Tensor:
    """(n,) values shaped to multiply the rows of an (n, *shape) tensor."""
    return values.view(-1, *[1] * (like.ndim - 1))
