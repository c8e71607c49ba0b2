"""What is asked of which network, and whether the run can answer it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.check.measured import distances
from bench.check.requirements import Quantity, Requirement
from bench.check.runs import Opened
from bench.errors import UsageError, unknown
from bench.specs import Kind


def asked(requirements: Sequence[Requirement], run: Opened) -> list[tuple[Requirement, str]]:
    """Every requirement with every network that it is about.

    Raises:
        UsageError: as for :func:`bench.check.decide.decide`.
    """
    names = run.evidence.networks
    first: dict[tuple[str, str], Requirement] = {}
    pairs = []
    for one in requirements:
        if one.network and one.network not in names:
            raise UsageError(f"requirement '{one}': {unknown('network', one.network, names)}; {run.name} has no other")
        for name in [one.network] if one.network else names:
            other = first.setdefault((name, one.condition), one)
            if other is not one:
                raise UsageError(f"requirements '{other}' and '{one}' ask the same of network {name}; delete one")
            require_possible(one, name, run)
            pairs.append((one, name))
    return pairs


def require_possible(one: Requirement, network: str, run: Opened) -> None:
    """Raise a ``UsageError`` where the run has nothing to decide a requirement by."""
    evidence = run.evidence
    if one.norm is not None and one.norm not in evidence.norms:
        known = ", ".join(evidence.norms)
        raise UsageError(
            f"requirement '{one}': {run.name} has no {one.norm}; it has {known}; run with --norms {one.norm}"
        )
    if one.norm is not None and one.quantity is not Quantity.CERTIFIED and not len(distances(run, network, one.norm)):
        raise UsageError(
            f"requirement '{one}': no attack of {run.name} that minimises {one.norm} was run on network {network}; name the "
            "networks that it is required of, as in 'CNN: l2.median >= 1.0'"
        )
    if one.quantity is Quantity.CERTIFIED and (network, str(one.norm)) not in evidence.bounded:
        raise UsageError(
            f"requirement '{one}': {run.name} has no certified bounds of network {network} in {one.norm}; run a suite with a "
            "verifier, or name the networks that it is required of, as in 'MLP: linf.certified[0.1] >= 0.5'"
        )
    if one.quantity is Quantity.FOUND_RATE:
        rows = evidence.rows.loc[evidence.rows["kind"] == Kind.UPPER.value, "attack"]
        if one.attack not in set(rows):
            raise UsageError(f"requirement '{one}': {unknown('attack', one.attack, rows)}")
