"""The attacker of the Adversarial Robustness Toolbox (ART)."""

from __future__ import annotations

import importlib
import inspect
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from adapters import calls, margins
from adapters.art.classifier import classifier
from adapters.seeding import derived, seeded
from adapters.view import frozen
from bench.domain import UNIT_BOX
from bench.problem import Problem
from bench.specs import AttackSpec, Coupling


class ArtAttacker:
    """Rows whose target is an ART attack; see :class:`bench.problem.Attacker`."""

    def attack(self, spec: AttackSpec, problem: Problem) -> Tensor:
        """Candidates (n, *shape) float32; the clean image where the attack found nothing or had no start."""
        kind = calls.target(spec, None)
        silent = {"verbose": False} if "verbose" in inspect.signature(kind).parameters else {}

        def call(part: Problem, begin: Tensor | None) -> Tensor:
            x, y = part.images.numpy(force=True), part.labels.numpy(force=True)
            network = (
                Doubtless(part.network, part.images, int(y[0])) if spec.coupling is Coupling.BATCH else part.network
            )
            # A new attack for each call, as several keep step sizes from one call to the next.
            attack = kind(classifier(network, shape=x.shape[1:], box=UNIT_BOX), **spec.params, **silent)
            start = {} if begin is None else {"x_adv_init": begin.numpy(force=True)}
            # Noise for one image depends on the seed and that image.
            with seeded(derived(problem.seed, x.tobytes() if spec.coupling.alone else b"")):
                found = torch.as_tensor(attack.generate(x, y=y, **start)).to(part.images)
            return margins.past_rounding(part.network, part.images, found, part.labels)

        with frozen(problem.network), _quiet():
            return calls.candidates(spec, problem, call)


ATTACKER = ArtAttacker()


class Doubtless(nn.Module):
    """A network that lets an image of a class pass for another only with a margin that rounding cannot undo.

    The class's own logit is raised by ``adapters.margins.ROUNDING`` of the largest, so that what attacks on one image
    take for adversarial is what ``adapters.margins.adversarial`` says; an image with a logit that is not finite stays
    in its class.

    Args:
        network: (n, *shape) images to (n, classes) logits.
        image: (1, *shape) the clean image.
        label: its class.
    """

    def __init__(self, network: nn.Module, image: Tensor, label: int) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            logits = network(image)
        self.clean = float(margins.size(logits))
        self.own = torch.zeros_like(logits)
        self.own[:, label] = 1.0
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) images."""
        logits: Tensor = self.network(images)
        sizes = margins.size(logits).unsqueeze(1).clamp_(min=self.clean)
        raised = torch.addcmul(logits, sizes, self.own, value=margins.ROUNDING)
        # The size of an image's logits is finite exactly when all of them are.
        if math.isfinite(sizes.sum()):
            return raised
        return torch.where(sizes.isfinite(), raised, self.own)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence ART's log and the one progress bar that no argument turns off, Brendel-Bethge's."""
    logger, bars = logging.getLogger("art"), importlib.import_module("tqdm.auto")
    level, bar = logger.level, bars.trange
    logger.setLevel(logging.CRITICAL)
    vars(bars)["trange"] = range
    try:
        yield
    finally:
        logger.setLevel(level)
        vars(bars)["trange"] = bar
