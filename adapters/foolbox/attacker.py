"""The attacker of Foolbox."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from adapters import calls
from adapters.foolbox.attacks import Misclassification
from adapters.foolbox.model import LeanModel
from adapters.margins import past_rounding
from adapters.seeding import seeded
from adapters.view import frozen
from bench.domain import UNIT_BOX
from bench.problem import Problem
from bench.specs import AttackSpec


class FoolboxAttacker:
    """Rows whose target is a Foolbox attack; see :class:`bench.problem.Attacker`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) float32; the clean image where the attack found nothing or had no start."""
        attack = _attack(spec)

        def call(part: Problem, begin: Tensor | None) -> Tensor:
            images, labels = part.images, part.labels
            model = LeanModel(part.network, UNIT_BOX)
            start = {} if begin is None else {"starting_points": begin}
            with seeded(problem.seed):
                found, _, _ = attack(model, images, Misclassification(labels), epsilons=None, **start)
            # Carlini and Wagner's attack returns a black image where it never found anything.
            black = (found == model.bounds.lower).flatten(1).all(1)
            found = torch.where(calls.spread(black, images), images, found)
            return past_rounding(model, images, found, labels)

        with frozen(problem.network):
            return calls.candidates(spec, problem, call)


def _attack(spec: AttackSpec) -> Any:
    """The attack of a row, made with its parameters."""
    kind = calls.target(spec)
    with warnings.catch_warnings():
        # Brendel-Bethge says that compiling takes a while; the progress bar shows that.
        warnings.filterwarnings("ignore", message="At the first initialisation", category=UserWarning)
        return kind(**spec.params)


ATTACKER = FoolboxAttacker()
