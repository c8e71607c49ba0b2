"""The attacker of the library ``paper``."""

from __future__ import annotations

import torch
from torch import Tensor

from adapters import calls
from adapters.paper.attack import StartedAttack
from adapters.seeding import seeded
from adapters.view import View, frozen
from bench.problem import Problem
from bench.specs import AttackSpec


class PaperAttacker:
    """Rows whose target is an attack of :mod:`adapters.paper.attacks`; see :class:`bench.problem.Attacker`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) float32 in the unit box."""
        attack = calls.target(spec)(**spec.params)

        def call(part: Problem, begin: Tensor | None) -> Tensor:
            network, images, labels = View(part.network), part.images, part.labels
            if isinstance(attack, StartedAttack):
                # The last one is sure to be adversarial.
                offered = part.starts if begin is None else torch.cat([part.starts, begin.unsqueeze(1)], 1)
                return attack.run_from(network, images, labels, offered)
            found: Tensor = attack.run(network, images, labels)
            return found

        with frozen(problem.network), seeded(problem.seed):
            return calls.candidates(spec, problem, call)


ATTACKER = PaperAttacker()
