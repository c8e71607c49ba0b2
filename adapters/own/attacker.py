"""The attacker of the library ``own``: functions of the user's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from adapters import calls
from adapters.own import ATTACKS, LIVE, LIVE_PREFIX
from adapters.seeding import seeded
from adapters.view import frozen
from bench.errors import UsageError
from bench.guard import Within
from bench.problem import Problem
from bench.specs import AttackSpec
from bench.usercode import kept


class OwnAttacker:
    """Rows whose target is a function; see :class:`bench.problem.Attacker` and :mod:`adapters.own`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) as the function returned them; the clean image where it had no start.

        Raises:
            UsageError: there is no such function.
            Exception: whatever it raises.
        """
        function, within = _function(spec.target)

        def call(part: Problem, begin: Tensor | None) -> Any:
            start = {} if begin is None else {"starts": begin.clone()}
            with within(), seeded(problem.seed):
                return function(part.network, part.images.clone(), part.labels.clone(), **spec.params, **start)

        with frozen(problem.network):
            return calls.candidates(spec, problem, call)


ATTACKER = OwnAttacker()


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
