"""What an adapter is: the seam between the bench and an attack library."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from bench.errors import unknown
from bench.specs import AttackSpec


class Attacker(Protocol):
    """Runs the rows of one library. It only proposes: the judge decides what its candidates are worth."""

    def attack(self, spec: AttackSpec, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Candidates for correctly classified images.

        Args:
            spec: the row to run.
            network: logits out, in eval mode.
            images: (n, ...) float32 in the box, on the network's device; n is at most ``spec.batch``.
            labels: (n,) int64, the true classes.
            seed: the only source of randomness; it also decides the starting points.

        Returns:
            (n, ...) float32. A row without a result may be anything: the clean image, NaN.

        Raises:
            Exception: whatever the library raises; the runner then tries the images singly.
        """
        ...


def libraries() -> tuple[str, ...]:
    """The libraries that have an adapter: every file ``adapters/<library>_adapter.py``."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/attacker.py")))


def load(library: str) -> Attacker:
    """The attacker of a library; imports the library.

    Raises:
        UsageError: there is no such adapter.
    """
    if library not in libraries():
        raise unknown("library", library, libraries())
    attacker: Attacker = importlib.import_module(f"adapters.{library}.attacker").ATTACKER
    return attacker
