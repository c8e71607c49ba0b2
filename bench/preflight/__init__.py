"""Checks of a network before the first attack.

What makes every number about a network meaningless stops the run; what makes numbers doubtful goes into the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from bench.domain import Domain
from bench.errors import NetworkError, line
from bench.findings import CheckName, Finding, Level
from bench.preflight import behaviour, descent, repeats
from bench.preflight.probe import Probe
from bench.usercode import kept

Step = Callable[[Probe], Iterator[Finding]]

STEPS: tuple[Step, ...] = (
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
        for finding in _made(step, probe):
            findings.append(finding)
            if finding.status is Level.STOP:
                return findings
    return findings


def _made(step: Step, probe: Probe) -> Iterator[Finding]:
    """The findings of a step; where a call of the network fails in it, that is one."""
    try:
        with kept():
            yield from step(probe)
    except Exception as error:
        reason = line(error)
        what = f"the check {step.__name__.replace('_', ' ')!r} cannot be made: {reason}"
        yield Finding(CheckName.RUNS, Level.STOP, None, what)


def require(name: str, findings: Sequence[Finding]) -> None:
    """Refuse a network about which no number would mean anything.

    Raises:
        NetworkError: the finding that stops, with the network's name.
    """
    for finding in findings:
        if finding.status is Level.STOP:
            raise NetworkError(f"network {name}: {finding.message}")


__all__ = ["Finding", "Level", "check", "require"]
