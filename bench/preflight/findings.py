"""What a check before the attacks looks at, and what it says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor, nn


class Level(StrEnum):
    """What a finding means.

    ``warn`` and ``fail`` go into the report, where they decide the network's verdict; ``stop`` refuses the network,
    because no number about it would mean anything.
    """

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name.
        status: pass, warn, fail or stop.
        value: the number it is decided by; None where there is none.
        message: what was found, and unless it passes what it means or what to do.
    """

    check: str
    status: Level
    value: float | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self) | {"status": self.status.value}


@dataclass(frozen=True, slots=True)
class Probe:
    """A network in eval mode, with images (n, ...) float32 inside a box, and their labels (n,) int64."""

    network: nn.Module
    images: Tensor
    labels: Tensor
    box: tuple[float, float]
