"""Checks of a network before the first attack: what makes numbers meaningless stops the run, what makes them doubtful is told."""

from __future__ import annotations

from torch import Tensor, nn

from bench.errors import NetworkError
from bench.preflight import behaviour, descent
from bench.preflight.findings import Finding, Level, Probe

_BEHAVIOUR = (
    *(behaviour.runs, behaviour.finite, behaviour.repeats, behaviour.batches, behaviour.depends),
    *(behaviour.logits, behaviour.double, behaviour.accuracy, behaviour.gradients),
)


def check(network: nn.Module, images: Tensor, labels: Tensor, box: tuple[float, float] = (0.0, 1.0)) -> list[Finding]:
    """Look at a network's behaviour on some images.

    Args:
        network: in eval mode, on the images' device.
        images: (n, ...) float32 in the box, at most a few hundred.
        labels: (n,) int64.
        box: lowest and highest value of an image.

    Returns:
        One finding per check that could be made, up to the first that stops, after which the others mean nothing.
    """
    probe = Probe(network, images, labels, box)
    findings: list[Finding] = []
    for step in (*_BEHAVIOUR, descent.checks):
        for finding in step(probe):
            findings.append(finding)
            if finding.status is Level.STOP:
                return findings
    return findings


def demand(name: str, findings: list[Finding]) -> None:
    """Refuse a network about which no number would mean anything.

    Raises:
        NetworkError: the finding that stops, with the network's name.
    """
    for finding in findings:
        if finding.status is Level.STOP:
            raise NetworkError(f"network {name}: {finding.message}")


__all__ = ["Finding", "Level", "check", "demand"]
