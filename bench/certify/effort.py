"""How much work goes where: every number that trades time for tighter bounds. None of them can make a bound wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.norms import Norm


@dataclass(frozen=True, slots=True)
class DenseEffort:
    """Work on dense networks.

    Attributes:
        root_rounds: maximum rounds of cuts at a target's root.
        node_rounds: maximum rounds of cuts at any other node.
        gain: a further round needs the last to have lowered the margin bound by this fraction.
        steps: Adam steps of each margin bound.
        candidates: units that filtered smart branching compares.
        trial_steps: Adam steps for each child that branching compares.
        growth: ratio of a radius to the one tried before it.
        parts: into how many parts a root's region is split to bound a hidden unit, one after the other; empty for never.
        worth: that is done when a target has so many nodes for each part.
    """

    root_rounds: int = 24
    node_rounds: int = 16
    gain: float = 0.05
    steps: int = 6
    candidates: int = 4
    trial_steps: int = 3
    growth: float = 1.1
    parts: tuple[int, ...] = (16, 64, 256, 1024)
    worth: float = 0.5


@dataclass(frozen=True, slots=True)
class PooledEffort:
    """Work on pooled networks.

    Attributes:
        first_steps, second_steps: subgradient steps for the planes of the first and second stage.
        refinements: rounds of refining the planes of the second stage, for Linf.
        rounds: rounds of alternating maximisation for hidden units.
        margin_rounds: rounds of it for the margins.
        cuts: maximum rounds of cuts for a target.
        cut_rounds: rounds of alternating maximisation in each of them.
        gain: a further cut needs the last to have lowered the margin by this fraction.
        bridge: cuts usually close a margin bound below this multiple of the clean margin. It chooses radii only.
        typical: how far a pixel is taken to move where planes are fitted, as a fraction of the radius.
    """

    first_steps: int = 30
    second_steps: int = 16
    refinements: int = 30
    rounds: int = 3
    margin_rounds: int = 12
    cuts: int = 12
    cut_rounds: int = 4
    gain: float = 0.06
    bridge: Mapping[Norm, float] = field(
        default_factory=lambda: {Norm.LINF: 0.28, Norm.L2: 0.38, Norm.L1: 0.38, Norm.L0: 0.0}
    )
    typical: Mapping[Norm, float] = field(
        default_factory=lambda: {Norm.LINF: 1.0, Norm.L2: 0.055, Norm.L1: 0.02, Norm.L0: 0.05}
    )


QUICK = PooledEffort(
    first_steps=15, second_steps=8, refinements=6, rounds=2, margin_rounds=6, cuts=4, cut_rounds=2,
    bridge={Norm.LINF: 0.2, Norm.L2: 0.2, Norm.L1: 0.2, Norm.L0: 0.0},
)  # fmt: skip
"""Nearly as good for a fraction of the time."""
