"""``no-worse``: the run beside its baseline on the same images, by how much the distances typically differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench import metrics
from bench.check.baseline import Common
from bench.check.requirements import Requirement
from bench.errors import UsageError
from bench.metrics import SIGNIFICANT, Noninferiority
from bench.metrics.needed import pairs_for_ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A ``no-worse`` on one network.

    Attributes:
        favour: True for not worse, False for worse, None where neither is sure.
        measured: the figures, in words.
        needed: about how many images would decide it; None where no number would, and where it is decided.
    """

    favour: bool | None
    measured: str
    needed: int | None


def compared(asked: Sequence[tuple[Requirement, str]], common: Common, name: str) -> list[Compared]:
    """Decide every ``no-worse`` of a call together.

    With r the typical ratio of the distances to the baseline's and m the least difference that matters, it is *broken* where
    r < 1 is significant and r <= 1 - m, and *held* where r > 1 - m is significant. The two families of tests are adjusted
    by Holm's method, each by itself, over all that is asked.

    Args:
        asked: requirements with their networks.
        common: what compares of the two runs.
        name: of the baseline.

    Raises:
        UsageError: a network is not in the baseline, or no image has an attack of the norm that ended in both runs.
    """
    found = [_tested(one, network, common, name) for one, network in asked]
    p_worse = metrics.holm([each.p for each in found])
    p_least = metrics.holm([each.p_least for each in found])
    return [decided(*each, tests=len(found)) for each in zip(found, p_worse, p_least, strict=True)]


def _tested(one: Requirement, network: str, common: Common, name: str) -> Noninferiority:
    if network not in common.networks:
        raise UsageError(
            f"requirement '{one}': the baseline {name} has no network {network}; name the networks that it is required of, "
            f"as in '{next(iter(common.networks))}: {one.condition}'"
        )
    assert one.norm is not None
    distances = common.distances(network, one.norm)
    if not len(distances[0]):
        raise UsageError(
            f"requirement '{one}': no attack that minimises {one.norm} ended on the same image of network {network} in the run "
            f"and in the baseline {name}; give a baseline with the same attacks in {one.norm}"
        )
    return metrics.noninferiority(*distances, least=one.value / 100)


def decided(found: Noninferiority, p_worse: float, p_least: float, *, tests: int) -> Compared:
    """Decide one.

    Args:
        found: the comparison, with unadjusted p.
        p_worse, p_least: its two p, adjusted.
        tests: how many requirements were adjusted together.
    """
    worse = p_worse < SIGNIFICANT and found.effect_least <= 0
    held = p_least < SIGNIFICANT and found.effect_least > 0
    if np.isnan(found.ratio):
        measured = f"no difference to see: on all {found.images:,} images both distances are 0, or both infinite"
        return Compared(favour=None, measured=measured, needed=None)
    tested = (
        f"p = {p_least:.2g} for more than {1 - found.least:.4g}"
        if found.effect_least > 0
        else f"p = {p_worse:.2g} for less than 1"
    )
    measured = f"typically {found.ratio:.4g} times the baseline's distance, {tested}, {found.images:,} images"
    return Compared(
        favour=False if worse else True if held else None,
        measured=measured,
        needed=None if worse or held else _needed(found, tests),
    )


def _needed(found: Noninferiority, tests: int) -> int | None:
    """Images until the test that decides is significant: for worse where the ratio is that of the least difference or less."""
    pairs = pairs_for_ranks(found.effect if found.effect_least <= 0 else found.effect_least, tests)
    if pairs is None:
        return None
    return max(found.images + 1, round(pairs * found.images / found.informative))
