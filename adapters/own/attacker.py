"""The attacker of the library ``own``: functions of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapters import calls
from adapters.margins import other_classes
from adapters.own import ATTACKS, LIVE, LIVE_PREFIX
from adapters.paper.attack import Nearest
from adapters.seeding import seeded
from adapters.view import View, frozen
from bench.errors import UsageError
from bench.guard import Within
from bench.problem import Problem
from bench.specs import AttackSpec
from bench.usercode import kept

TARGETS = "targets"
"""The argument of a function that runs towards given classes."""

CANDIDATES = 10
"""The maximum number of classes for an image: see :func:`adapters.margins.other_classes`."""


class OwnAttacker:
    """Rows whose target is a function; see :class:`bench.problem.Attacker` and :mod:`adapters.own`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) as the function returned them; the clean image where it had no start.

        Raises:
            UsageError: there is no such function.
            Exception: whatever it raises.
        """
        function, within = _function(spec.target)

        def once(part: Problem, begin: Tensor | None, *targets: Tensor) -> Any:
            start = {} if begin is None else {"starts": begin.clone()}
            with within(), seeded(problem.seed):
                return function(
                    part.network, part.images.clone(), part.labels.clone(), *targets, **spec.params, **start
                )

        def towards_each(part: Problem, begin: Tensor | None) -> Tensor:
            return _towards_each(spec, part, lambda targets: once(part, begin, targets))

        with frozen(problem.network):
            return calls.candidates(spec, problem, towards_each if _is_targeted(function) else once)


ATTACKER = OwnAttacker()


def _is_targeted(function: Callable[..., Any]) -> bool:
    """Whether a function takes the classes to reach."""
    try:
        return TARGETS in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a function that is not written in Python
        return False


def _towards_each(spec: AttackSpec, part: Problem, call: Callable[[Tensor], Any]) -> Tensor:
    """The nearest adversarial candidate of the calls towards each of the nearest classes.

    Args:
        spec: the row; its norm says what is nearest.
        part: n images.
        call: from (n,) int64 classes to (n, *shape) candidates.

    Returns:
        (n, *shape); the image where no candidate is adversarial; what the call returned where that has another shape.
    """
    best = Nearest(View(part.network), part.images, part.labels, spec.norm.value)
    for targets in other_classes(best.logits, part.labels, CANDIDATES).unbind(1):
        found = torch.as_tensor(call(targets.clone()))
        if found.shape != part.images.shape:
            return found
        best.offer(found.to(part.images))
    return best.points


def _function(target: str) -> tuple[Callable[..., Any], Within]:
    """A row's function, and what its calls are made within."""
    if target.startswith(LIVE_PREFIX):
        if target not in LIVE:
            raise UsageError(
                f"attack {target.removeprefix(LIVE_PREFIX)!r} is a function of another process; write it to a file and "
                "give file.py:function"
            )
        return LIVE[target], kept
    path = Path(target.rpartition(":")[0])
    return _loaded(target, path.read_bytes() if path.suffix == ".py" and path.is_file() else b"")


@cache
def _loaded(target: str, _content: bytes) -> tuple[Callable[..., Any], Within]:
    """The function of a target; its file is executed once in a process, and again when its content has changed."""
    found = ATTACKS.find(target)
    if not callable(found.value):
        raise UsageError(f"attack {target!r} is a {type(found.value).__name__}; it must be a function")
    return found.value, found.within
