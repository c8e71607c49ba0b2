"""Branch and bound over the signs of ReLUs, for Linf, L2 and L1.

Every node is a set of fixed signs for one target class, with the radius up to which no adversarial example of its own
can lie. The node with the smallest radius is taken first, so the smallest radius of all open nodes is a certified
lower bound at any moment. Radii are tried in ascending order, in steps of 10 %. A node that closes at one of them waits
for the next; one that stays open is split on the unit that filtered smart branching picks (arXiv:2104.06718).
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bench.certify.dense import leaves
from bench.certify.dense.cuts import first_bounds, tighten
from bench.certify.dense.hidden import strengthen
from bench.certify.dense.propagation import (
    DenseNetwork,
    MarginBound,
    Multipliers,
    SignArray,
    Units,
    excesses,
    forward,
    margin_bound,
)
from bench.certify.effort import DenseEffort
from bench.certify.incumbent import Incumbent, attack
from bench.certify.layers import FloatArray, IntArray
from bench.certify.regions import BoolArray, Region
from bench.norms import Norm

_FIRST_RADIUS = 0.05
"""The first radius tried, as a fraction of the last, where nothing is certified yet."""

_FEW = 16
"""With no more unstable units than this a node is near a leaf."""

_FURTHER = np.array([1e-7, 1e-6, 1e-5, 3e-5, 1e-4])
"""How far beyond a leaf's nearest point an adversarial example is looked for, as a fraction of the distance."""


@dataclass(slots=True)
class Node:
    """A part of a region: where the fixed units have their signs.

    Attributes:
        target: the class that an adversarial example is to have.
        reached: radius below which the part holds no adversarial example for the target.
        radius: radius for which the bounds hold; they hold for every smaller one.
        low, high: (N,) bounds of the hidden units, in the part and where the cuts allow.
        gamma: (2, N) the multipliers of the last cut.
        alpha, beta: (N,) the multipliers of the last margin bound.
        sign: (N,) int8, +1 or -1 where it is fixed, else 0.
    """

    target: int
    reached: float
    radius: float
    low: FloatArray
    high: FloatArray
    gamma: FloatArray
    alpha: FloatArray
    beta: FloatArray
    sign: SignArray

    @property
    def units(self) -> Units:
        """What is known of the hidden units: the same arrays."""
        return Units(self.low, self.high, self.sign)

    def unstable(self) -> BoolArray:
        """(N,) bool: the units that can still have either sign."""
        return (self.low < 0) & (self.high > 0)

    def crossed(self) -> bool:
        """Whether the bounds contradict one another: nothing adversarial is left in the part."""
        return bool((self.low > self.high).any())

    def copy(self) -> Node:
        """The same node with arrays of its own."""
        arrays = ("low", "high", "gamma", "alpha", "beta", "sign")
        return replace(self, **{name: getattr(self, name).copy() for name in arrays})


class Bounder:
    """Bounds the parts of balls around one image.

    Attributes:
        network: the dense ReLU network.
        incumbent: the image, its label, the norm, and the best adversarial example so far.
        effort: how much work goes where.
        centre: (d,) float64, the image.
    """

    def __init__(self, network: DenseNetwork, incumbent: Incumbent, effort: DenseEffort) -> None:
        """Nothing is computed yet.

        Args:
            network: a dense ReLU network.
            incumbent: the image, its label and the norm; better examples found on the way go there.
            effort: how much work goes where.
        """
        self.network, self.incumbent, self.effort = network, incumbent, effort
        self.centre = incumbent.centre.numpy()

    def region(self, radius: float) -> Region:
        """The ball of a radius."""
        return Region.ball(self.incumbent.norm, self.centre, radius)

    def root(self, target: int, radius: float, bounds: tuple[FloatArray, FloatArray]) -> Node:
        """A node without any fixed sign, its bounds given."""
        low, high = bounds[0].copy(), bounds[1].copy()
        alpha = (high > -low).astype(np.float64)
        zeros = np.zeros_like(low)
        sign = np.zeros(len(low), dtype=np.int8)
        return Node(target, 0.0, radius, low, high, np.zeros((2, len(low))), alpha, zeros, sign)

    def blank(self, target: int, reached: float) -> Node:
        """A node without any fixed sign, its bounds still to be computed."""
        unknown = np.full_like(self.network.bias, np.inf)
        return replace(self.root(target, np.inf, (-unknown, unknown)), reached=reached)

    def margin(self, region: Region, node: Node, steps: int) -> MarginBound:
        """The margin's bound at a node."""
        margin = self.network.plain.margin(self.incumbent.label, node.target)
        return margin_bound(self.network, region, margin, node.units, Multipliers(node.alpha, node.beta), steps)

    def close(self, region: Region, node: Node, rounds: int) -> MarginBound | None:
        """Try to close a node by rounds of cuts, until little is gained; its bounds change in place.

        Returns:
            The last margin bound, or None where the node is closed.
        """
        found = self.margin(region, node, self.effort.steps)
        useful = self.useful(node)
        for _ in range(rounds):
            node.alpha, node.beta = found.alpha, found.beta
            value, cut = found.value, (found.row, found.constant)
            if value < 0 or tighten(self.network, region, cut, node.low, node.high, node.gamma, useful):
                return None
            found = self.margin(region, node, self.effort.steps)
            if found.value > (1 - self.effort.gain) * value:
                break
        node.alpha, node.beta = found.alpha, found.beta
        return None if found.value < 0 else found

    def strengthen(
        self, region: Region, node: Node, parts: int, going: Callable[[], bool] = lambda: True
    ) -> MarginBound | None:
        """Bound hidden units by branching, then try to close a node again; its bounds change in place.

        Args:
            region: the ball.
            node: the node.
            parts: into how many parts the region may be split for each bound.
            going: asked again and again whether there is time; bounds that there is none for stay as they are.

        Returns:
            The last margin bound, or None where the node is closed.
        """
        found = self.margin(region, node, self.effort.steps)
        cut, useful = (found.row, found.constant), self.useful(node)
        if found.value < 0 or strengthen(self.network, region, cut, node.units, useful, parts, going):
            return None
        return self.close(region, node, self.effort.root_rounds)

    def useful(self, node: Node) -> BoolArray:
        """(N,) the units whose bounds the margin's bound depends on.

        A unit of the last layer with a negative coefficient is bounded by ``alpha z``, whatever its own bounds are.
        When few units are left, all are looked at, so that a leaf is recognised.
        """
        useful = np.ones_like(node.unstable())
        if np.count_nonzero(node.unstable()) > _FEW:
            last = self.network.layers[-1]
            useful[last] = self.network.plain.margin(self.incumbent.label, node.target)[0] > 0
        return useful

    def root_radius(
        self, targets: list[int], outer: float, going: Callable[[], bool] = lambda: True, halvings: int = 6
    ) -> float:
        """The largest radius, of those tried by bisection, at which the roots of all targets close.

        Args:
            targets: classes an adversarial example may have.
            outer: where to look: an adversarial example is known there, or the whole box lies inside.
            going: asked before each radius whether there is time for it.
            halvings: how often to halve the interval, once without cuts and once with them.
        """
        low = 0.0
        for rounds in (0, self.effort.root_rounds):
            high = outer
            for _ in range(halvings):
                middle = (low + high) / 2
                if not going():
                    break
                low, high = (middle, high) if self._closes(middle, targets, rounds) else (low, middle)
        return low

    def _closes(self, radius: float, targets: list[int], rounds: int) -> bool:
        region = self.region(radius)
        bounds = first_bounds(self.network, region)
        nodes = [self.root(target, radius, bounds) for target in targets]
        values = np.array([self.margin(region, node, self.effort.steps if rounds else 0).value for node in nodes])
        if not rounds:
            return bool((values < 0).all())
        # The hardest target first: when it stays open the others need not be looked at.
        order = [int(index) for index in np.argsort(-values) if values[index] >= 0]
        return all(self.close(region, nodes[index], rounds) is None for index in order)


@dataclass(slots=True)
class Search:
    """Branch and bound for one image.

    Attributes:
        bounder: what bounds its nodes.
        targets: classes an adversarial example may have.
        gap: relative gap at which to stop.
        start: a radius that is certified already.
        outer: a radius whose ball holds the whole box.
        nodes: how many nodes were bounded.
        heap: open nodes, that of the smallest certified radius first.
        numbers: break ties in the heap: the older node first.
        going: whether there is time for more work on the roots.
        worked: how many nodes of each target were bounded.
        roots: the roots bounded so far, by target and radius; None where the root closes.
        strengthened: how often each of them was bounded by branching on hidden units.
        radii: the radii to try, ascending; after them comes ``top``.
        attack_starts: targets and points to attack from next.
        attack_after: attack when there are so many.
        leaf_limit: the smallest radius that a leaf was left open at, by a solver that failed; +inf for none.
    """

    bounder: Bounder
    targets: list[int]
    gap: float
    start: float
    outer: float
    going: Callable[[], bool] = lambda: True
    nodes: int = 0
    worked: Counter[int] = field(default_factory=Counter)
    heap: list[tuple[float, int, Node]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    roots: dict[tuple[int, float], Node | None] = field(default_factory=dict)
    strengthened: Counter[tuple[int, float]] = field(default_factory=Counter)
    radii: list[float] = field(default_factory=list)
    attack_starts: list[tuple[int, FloatArray]] = field(default_factory=list)
    attack_after: int = 12
    leaf_limit: float = np.inf

    def __post_init__(self) -> None:
        """The radii to try, and one root for each target."""
        radius = max(self.start * self.bounder.effort.growth, _FIRST_RADIUS * self.top)
        while radius < self.top * 0.97:
            self.radii.append(radius)
            radius *= self.bounder.effort.growth
        for target in self.targets:
            self.push(self.bounder.blank(target, self.start))

    @property
    def top(self) -> float:
        """The radius to certify: just below the nearest adversarial example."""
        return min(self.outer, self.bounder.incumbent.distance * (1 - self.gap))

    @property
    def lower(self) -> float:
        """The radius certified so far."""
        return min(self.top, self.leaf_limit, self.heap[0][0] if self.heap else np.inf)

    def push(self, node: Node) -> None:
        """Keep a node, unless it is finished."""
        if node.reached < self.top:
            heapq.heappush(self.heap, (node.reached, next(self.numbers), node))

    def step(self) -> bool:
        """Bound, and split where needed, the node that holds the lower bound down; False when nothing is left to do."""
        if not self.heap or self.lower >= self.top:
            return False
        node = heapq.heappop(self.heap)[2]
        radius = next((radius for radius in self.radii if node.reached < radius < self.top), self.top)
        region = self.bounder.region(radius)
        self.nodes += 1
        self.worked[node.target] += 1
        found = self._bound(node, radius, region)
        if found is None:
            node.reached = radius
            self.push(node)
            return True
        node.reached = max(node.reached, region.reach(found.row, found.constant))
        self._attack_later(node.target, found.point)
        for child in self._split(node, region, found):
            self.push(child)
        return True

    def _bound(self, node: Node, radius: float, region: Region) -> MarginBound | None:
        """Bounds of a node for a radius; None where it closes."""
        root = self._root(node.target, radius)
        if root is None:
            return None
        if node.radius != radius:
            self._at_radius(node, root, radius)
        else:
            # The root may have been strengthened since.
            np.maximum(node.low, root.low, out=node.low)
            np.minimum(node.high, root.high, out=node.high)
        return None if node.crossed() else self.bounder.close(region, node, self.bounder.effort.node_rounds)

    def _root(self, target: int, radius: float) -> Node | None:
        """A target's root for a radius, tightened by cuts, and the more the larger its tree is; None where it closes."""
        key, effort = (target, radius), self.bounder.effort
        region = self.bounder.region(radius)
        if key not in self.roots:
            fresh = self.bounder.root(target, radius, first_bounds(self.bounder.network, region))
            closed = self.bounder.close(region, fresh, effort.root_rounds) is None
            self.roots[key] = None if closed else fresh
        for parts in effort.parts[self.strengthened[key] :]:
            root = self.roots[key]
            if root is None or self.worked[target] < effort.worth * parts:
                break
            self.strengthened[key] += 1
            if self.bounder.strengthen(region, root, parts, self.going) is None:
                self.roots[key] = None
        return self.roots[key]

    def _at_radius(self, node: Node, root: Node, radius: float) -> None:
        """Give a node the bounds of the root of another radius, with its own signs."""
        if node.radius == np.inf:
            node.alpha, node.beta = root.alpha.copy(), root.beta.copy()
        node.gamma, node.radius = root.gamma.copy(), radius
        node.low = np.where(node.sign > 0, np.maximum(root.low, 0.0), root.low)
        node.high = np.where(node.sign < 0, np.minimum(root.high, 0.0), root.high)

    def _split(self, node: Node, region: Region, found: MarginBound) -> list[Node]:
        """Two nodes that between them hold every adversarial example of one; or the node itself, when it is a leaf."""
        units = self._candidates(node, found)
        if not len(units):
            return self._leaf(node, region)
        best, pair = (np.inf, np.inf), []
        for unit in units:
            children = [self._child(node, region, int(unit), sign) for sign in (1, -1)]
            values = [value for _, value in children]
            if (max(values), sum(values)) < best:
                best, pair = (max(values), sum(values)), [child for child, _ in children]
        return pair

    def _candidates(self, node: Node, found: MarginBound) -> IntArray:
        """The units whose lines are furthest from the ReLU at the point where the bound is largest."""
        free, units = node.unstable(), np.empty_like(node.low)
        forward(self.bounder.network.packed, found.point, node.units, found.alpha, found.coefficients, units)
        score = excesses(node.units, found.alpha, found.coefficients, units)
        order = np.argsort(np.where(free, -score, 1.0), kind="stable")
        return order[: min(self.bounder.effort.candidates, int(free.sum()))]

    def _child(self, node: Node, region: Region, unit: int, sign: int) -> tuple[Node, float]:
        """A node with one more sign fixed, and a quick bound of its margin, 0 where it closes."""
        child = node.copy()
        child.sign[unit] = sign
        side = child.low if sign > 0 else child.high
        side[unit] = 0.0
        found = self.bounder.margin(region, child, self.bounder.effort.trial_steps)
        child.alpha, child.beta = found.alpha, found.beta
        if found.value < 0:
            child.reached = region.radius
        return child, max(found.value, 0.0)

    def _leaf(self, node: Node, region: Region) -> list[Node]:
        """A node in which every sign is known."""
        incumbent, network = self.bounder.incumbent, self.bounder.network.plain
        signs = np.where(node.low >= 0, 1, -1).astype(np.int8)
        active = [signs[at] for at in self.bounder.network.layers]
        functions = leaves.constraints(network, network.margin(incumbent.label, node.target), active)
        reached, point = leaves.bound(region, *functions)
        if point is not None:
            # The margin is 0 there: a little further, along its slope, it is not.
            slope = functions[0][-1]
            slope = np.sign(slope) if incumbent.norm is Norm.LINF else slope / max(float(np.linalg.norm(slope)), 1e-12)
            size = incumbent.distance if np.isfinite(incumbent.distance) else region.radius
            incumbent.propose(point + np.outer(_FURTHER * size, slope))
        improved = reached > node.reached * (1 + 1e-9)
        node.reached = max(node.reached, reached)
        if not improved and node.reached < self.top:
            # Where the nearest point of the leaf touches another leaf its slope leads nowhere.
            if point is not None:
                attack(incumbent, [node.target], torch.from_numpy(point)[None], 60)
            # Nothing more can be done here; what the leaf holds the lower bound to is not forgotten.
            self.leaf_limit = min(self.leaf_limit, node.reached)
            return []
        return [node]

    def _attack_later(self, target: int, point: FloatArray) -> None:
        """Collect a point where a bound is largest; when there are enough of them, attack from them."""
        self.attack_starts.append((target, point))
        if len(self.attack_starts) >= self.attack_after:
            targets, points = zip(*self.attack_starts[-24:], strict=True)
            before = self.bounder.incumbent.distance
            attack(self.bounder.incumbent, list(targets), torch.from_numpy(np.stack(points)), 25)
            self.attack_starts.clear()
            self.attack_after = 24 if self.bounder.incumbent.distance < before else self.attack_after * 2
