"""Checks of a network before the first attack.

What makes every number about a network meaningless stops the run; what makes numbers doubtful goes into the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from bench.domain import Domain
from bench.errors import NetworkError
from bench.findings import Finding, Level
from bench.preflight import behaviour, descent, repeats
from bench.preflight.probe import Probe

STEPS = (
    behaviour.runs,
    behaviour.finite,
    repeats.repeats,
    behaviour.batches,
    behaviour.depends,
    behaviour.logits,
    behaviour.double,
    behaviour.accuracy,
    behaviour.gradients,
    descent.checks,
)
"""All checks in their order: each takes a :class:`Probe` and yields findings."""


def check(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    domain: Domain,
    others: Mapping[str, nn.Module] = MappingProxyType({}),
) -> list[Finding]:
    """Look at a network's behaviour on some images.

    Args:
        network: in eval mode, on the images' device; takes inputs of the domain's box.
        images: (n, *shape) float32 in the domain's box, at most a few hundred.
        labels: (n,) int64.
        domain: of the images.
        others: other networks of the same run by name: adversarial examples made on them are tried on this one.

    Returns:
        One finding per check that could be made, up to the first that stops, after which the others mean nothing.
    """
    probe = Probe(network=network, images=images, labels=labels, domain=domain, others=others)
    findings: list[Finding] = []
    for step in STEPS:
        for finding in step(probe):
            findings.append(finding)
            if finding.status is Level.STOP:
                return findings
    return findings


def require(name: str, findings: Sequence[Finding]) -> None:
    """Refuse a network about which no number would mean anything.

    Raises:
        NetworkError: the finding that stops, with the network's name.
    """
    for finding in findings:
        if finding.status is Level.STOP:
            raise NetworkError(f"network {name}: {finding.message}")


__all__ = ["Finding", "Level", "check", "require"]
