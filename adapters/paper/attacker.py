"""The attacker of the library ``paper``."""

from __future__ import annotations

from torch import Tensor

from adapters import calls
from adapters.seeding import seeded
from adapters.view import View, frozen
from bench.problem import Problem
from bench.specs import AttackSpec


class PaperAttacker:
    """Rows whose target is a :class:`adapters.paper.attacks.PaperAttack`; see :class:`bench.problem.Attacker`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) float32 in the unit box."""
        attack = calls.target(spec)(**spec.params)

        def call(part: Problem, _: Tensor | None) -> Tensor:
            found: Tensor = attack.run(View(part.network), part.images, part.labels)
            return found

        with frozen(problem.network), seeded(problem.seed):
            return calls.candidates(spec, problem, call)


ATTACKER = PaperAttacker()
