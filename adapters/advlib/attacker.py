"""The attacker of Adversarial Library."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from adapters import calls
from adapters.advlib import attacks  # noqa: F401 - where the library is missing, this import says so
from adapters.margins import past_rounding
from adapters.seeding import seeded
from adapters.view import View, frozen
from bench.problem import Problem
from bench.specs import AttackSpec


class AdvlibAttacker:
    """Rows whose target is a function of :mod:`adapters.advlib.attacks`; see :class:`bench.problem.Attacker`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) float32; the clean image where the attack found nothing."""
        attack = calls.target(spec, problem.network, problem.images, problem.labels)
        params: dict[str, Any] = dict(spec.params)
        if "norm" in params:
            params["norm"] = float(params["norm"])

        def call(part: Problem, _: Tensor | None) -> Tensor:
            network = View(part.network)
            with seeded(problem.seed):
                found: Tensor = attack(network, part.images.clone(), part.labels.clone(), **params)
            return past_rounding(network, part.images, found.detach(), part.labels)

        with frozen(problem.network):
            return calls.candidates(spec, problem, call)


ATTACKER = AdvlibAttacker()
