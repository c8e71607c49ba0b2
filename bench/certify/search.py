"""What searches: branch and bound over the signs of ReLUs, for Linf and L2.

Every node is a set of fixed signs for one target class, with the radius up to which no adversarial example of its own
can lie. The node with the smallest radius is taken first, so the smallest radius of all open nodes is a certified
lower bound at any moment. A node is bounded at one rung of a ladder of radii; if it closes there it waits for the
next rung, else it is split on the unit that filtered smart branching picks (arXiv 2104.06718).
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import numpy as np
import torch

from bench.certify import leaves
from bench.certify.cuts import first_bounds, tighten
from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.primal import Incumbent, attack
from bench.certify.propagation import Margins, SignArray, margins
from bench.certify.support import Region


@dataclass(slots=True)
class Node:
    """A part of a region: where the fixed units have their signs.

    Attributes:
        target: the class that an adversarial example is to have.
        reached: radius below which the part holds no adversarial example for the target.
        radius: radius for which the bounds hold; they hold for every smaller one.
        lows, highs: for each layer (m,) bounds of the hidden units, in the part and where the cuts allow.
        gammas: for each layer (2, m) the multipliers of the last cut.
        alphas, betas: for each layer (m,) the multipliers of the last margin bound.
        signs: for each layer (m,) int8.
    """

    target: int
    reached: float
    radius: float
    lows: list[FloatArray]
    highs: list[FloatArray]
    gammas: list[FloatArray]
    alphas: list[FloatArray]
    betas: list[FloatArray]
    signs: list[SignArray]
    depth: int = 0

    def unstable(self) -> int:
        """How many units can still have either sign."""
        return sum(int(((low < 0) & (high > 0)).sum()) for low, high in zip(self.lows, self.highs, strict=True))

    def crossed(self) -> bool:
        """Whether the bounds contradict one another: nothing adversarial is left in the part."""
        return any(bool((low > high).any()) for low, high in zip(self.lows, self.highs, strict=True))


@dataclass(slots=True)
class Effort:
    """How much work goes where.

    Attributes:
        root_rounds: most rounds of cuts at a target's root.
        node_rounds: most rounds of cuts at any other node.
        gain: a further round needs the last to have lowered the margin bound by this share.
        steps: Adam steps of each margin bound.
        candidates: units that filtered smart branching compares.
        growth: ratio of one rung of the ladder to the one before.
    """

    root_rounds: int = 24
    node_rounds: int = 4
    gain: float = 0.1
    steps: int = 12
    candidates: int = 8
    growth: float = 1.1


class Bounder:
    """Bounds the parts of balls around one image."""

    def __init__(self, network: PlainNetwork, incumbent: Incumbent, effort: Effort) -> None:
        """Nothing is computed yet.

        Args:
            network: a dense ReLU network.
            incumbent: the image, its label and the norm; better examples found on the way go there.
            effort: how much work goes where.
        """
        self.network, self.incumbent, self.effort = network, incumbent, effort
        self.centre = incumbent.centre.numpy()
        self.classes = len(network.bias)

    def region(self, radius: float) -> Region:
        """The ball of a radius."""
        return Region.ball(self.incumbent.norm, self.centre, radius)

    def root(self, target: int, radius: float, bounds: tuple[list[FloatArray], list[FloatArray]]) -> Node:
        """A node without any fixed sign."""
        lows, highs = ([v.copy() for v in group] for group in bounds)
        return Node(
            target,
            0.0,
            radius,
            lows,
            highs,
            [np.zeros((2, len(low))) for low in lows],
            [(high > -low).astype(np.float64) for low, high in zip(lows, highs, strict=True)],
            [np.zeros(len(low)) for low in lows],
            [np.zeros(len(low), dtype=np.int8) for low in lows],
        )

    def margins(self, region: Region, nodes: list[Node], steps: int) -> Margins:
        """The margin bounds of nodes of one radius, together."""
        rows, constants = zip(*(self.network.margin(self.incumbent.label, node.target) for node in nodes), strict=True)
        layers = range(len(self.network.stages))

        def stack(name: str) -> list[FloatArray]:
            return [np.stack([getattr(node, name)[layer] for node in nodes]) for layer in layers]

        fields = (stack(name) for name in ("lows", "highs", "signs", "alphas", "betas"))
        return margins(self.network, region, (np.stack(rows), np.array(constants)), *fields, steps)

    def settle(self, region: Region, node: Node, rounds: int) -> Margins | None:
        """Tighten a node by rounds of cuts until it closes or nothing is gained; its bounds change in place.

        Returns:
            The last margin bound, or None where the node is closed.
        """
        found = self.margins(region, [node], self.effort.steps)
        for _ in range(rounds):
            self._remember(node, found)
            value = float(found.values[0])
            if value < 0 or tighten(
                self.network, region, (found.rows[0], float(found.constants[0])), node.lows, node.highs, node.gammas
            ):
                return None
            found = self.margins(region, [node], self.effort.steps)
            if found.values[0] > (1 - self.effort.gain) * value:
                break
        self._remember(node, found)
        return None if found.values[0] < 0 else found

    def _remember(self, node: Node, found: Margins) -> None:
        node.alphas = [values[0] for values in found.alphas]
        node.betas = [values[0] for values in found.betas]

    def root_radius(self, targets: list[int], outer: float, halvings: int = 6) -> float:
        """The largest radius, of those tried by bisection, at which the roots of all targets close.

        Args:
            targets: classes an adversarial example may have.
            outer: where to look: an adversarial example is known there, or the whole box lies inside.
            halvings: how often to halve the interval, once without cuts and once with them.
        """
        low, high = 0.0, outer
        for _ in range(halvings):
            middle = (low + high) / 2
            low, high = (middle, high) if self._closes(middle, targets, rounds=0) else (low, middle)
        high = outer
        for _ in range(halvings):
            middle = (low + high) / 2
            low, high = (middle, high) if self._closes(middle, targets, self.effort.root_rounds) else (low, middle)
        return low

    def _closes(self, radius: float, targets: list[int], rounds: int) -> bool:
        region = self.region(radius)
        bounds = first_bounds(self.network, region)
        nodes = [self.root(target, radius, bounds) for target in targets]
        values = self.margins(region, nodes, self.effort.steps if rounds else 0).values
        if not rounds:
            return bool((values < 0).all())
        # The hardest target first: when it stays open the others need not be looked at.
        return all(
            values[index] < 0 or self.settle(region, nodes[index], rounds) is None
            for index in np.argsort(-values)
        )


@dataclass(slots=True)
class Search:
    """Branch and bound for one image.

    Attributes:
        bounder: what bounds its nodes.
        targets: classes an adversarial example may have.
        gap: relative gap at which to stop.
        start: a radius that is certified already.
        nodes: how many nodes were bounded.
    """

    bounder: Bounder
    targets: list[int]
    gap: float
    start: float
    outer: float
    nodes: int = 0
    heap: list[tuple[float, int, Node]] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    roots: dict[tuple[int, float], Node | None] = field(default_factory=dict)
    rungs: list[float] = field(default_factory=list)
    hopeful: list[tuple[int, FloatArray]] = field(default_factory=list)
    hopes: int = 12
    stuck: float = np.inf

    def __post_init__(self) -> None:
        """The ladder, and one root for each target."""
        rung = self.start * self.bounder.effort.growth
        while rung < self.top * 0.97:
            self.rungs.append(rung)
            rung *= self.bounder.effort.growth
        for target in self.targets:
            self.push(Node(target, self.start, np.inf, [], [], [], [], [], []))

    @property
    def top(self) -> float:
        """The radius to certify: just below the nearest adversarial example."""
        return min(self.outer, self.bounder.incumbent.distance * (1 - self.gap))

    @property
    def lower(self) -> float:
        """The radius certified so far."""
        return min(self.top, self.stuck, self.heap[0][0] if self.heap else np.inf)

    def push(self, node: Node) -> None:
        """Keep a node, unless it is finished."""
        if node.reached < self.top:
            heapq.heappush(self.heap, (node.reached, next(self.numbers), node))

    def step(self) -> bool:
        """Bound, and split where needed, the node that holds the lower bound down; False when nothing is left to do."""
        if not self.heap or self.lower >= self.top:
            return False
        node = heapq.heappop(self.heap)[2]
        radius = next((rung for rung in self.rungs if node.reached < rung < self.top), self.top)
        region = self.bounder.region(radius)
        self.nodes += 1
        found = self._bound(node, radius, region)
        if found is None:
            node.reached = radius
            self.push(node)
            return True
        node.reached = max(node.reached, region.reach(found.rows[0], float(found.constants[0])))
        self._hope(node.target, found.points[0])
        for child in self._split(node, region, found):
            self.push(child)
        return True

    def _bound(self, node: Node, radius: float, region: Region) -> Margins | None:
        """Bounds of a node for a radius; None where it closes."""
        effort = self.bounder.effort
        if node.radius != radius:
            root = self._root(node.target, radius)
            if root is None:
                return None
            self._climb(node, root, radius)
            if node.crossed():
                return None
        return self.bounder.settle(region, node, effort.node_rounds)

    def _root(self, target: int, radius: float) -> Node | None:
        """A target's root for a radius, settled; None where it closes."""
        key = target, radius
        if key not in self.roots:
            region = self.bounder.region(radius)
            root = self.bounder.root(target, radius, first_bounds(self.bounder.network, region))
            closed = self.bounder.settle(region, root, self.bounder.effort.root_rounds) is None
            self.roots[key] = None if closed else root
        return self.roots[key]

    def _climb(self, node: Node, root: Node, radius: float) -> None:
        """Give a node the bounds of a root of another radius, and its own signs."""
        node.lows, node.highs = [v.copy() for v in root.lows], [v.copy() for v in root.highs]
        node.gammas, node.radius = [v.copy() for v in root.gammas], radius
        if not node.signs:
            node.signs = [np.zeros(len(low), dtype=np.int8) for low in node.lows]
            node.alphas, node.betas = [v.copy() for v in root.alphas], [v.copy() for v in root.betas]
        for low, high, sign in zip(node.lows, node.highs, node.signs, strict=True):
            np.maximum(low, 0.0, out=low, where=sign > 0)
            np.minimum(high, 0.0, out=high, where=sign < 0)

    def _split(self, node: Node, region: Region, found: Margins) -> list[Node]:
        """Two nodes that between them hold every adversarial example of one; or the node itself, when it is a leaf."""
        places = self._candidates(node, found)
        if not places:
            return self._leaf(node, region)
        pairs = [(self._child(node, *place, 1), self._child(node, *place, -1)) for place in places]
        children = [child for pair in pairs for child in pair]
        trial = self.bounder.margins(region, children, 3)
        values = np.where([child.crossed() for child in children], -np.inf, trial.values)
        for index, child in enumerate(children):
            child.alphas = [v[index] for v in trial.alphas]
            child.betas = [v[index] for v in trial.betas]
            child.reached = region.radius if values[index] < 0 else node.reached
        worst = np.maximum(np.maximum(values[::2], values[1::2]), 0.0)
        best = int(np.lexsort((np.maximum(values[::2], 0.0) + np.maximum(values[1::2], 0.0), worst))[0])
        return list(pairs[best])

    def _candidates(self, node: Node, found: Margins) -> list[tuple[int, int]]:
        """The units whose lines are furthest from the ReLU at the point that the bound puts forward."""
        network, relus = self.bounder.network, found.points[0]
        scores = []
        for layer, stage in enumerate(network.stages):
            low, high, alpha = node.lows[layer], node.highs[layer], node.alphas[layer]
            units = stage.weight @ relus + stage.bias
            free, coefficient = (low < 0) & (high > 0), found.coefficients[layer][0]
            chord = np.where(free, high / np.where(free, high - low, 1.0), 1.0)
            line = np.where(coefficient > 0, chord * (units - low), alpha * units)
            line = np.where(free, line, np.where(low >= 0, units, 0.0))
            scores.append(np.where(free, np.abs(coefficient * (line - np.maximum(units, 0.0))), -1.0))
            relus = line
        flat = np.concatenate(scores)
        order = np.argsort(-flat, kind="stable")[: self.bounder.effort.candidates]
        starts = np.cumsum([0, *(len(score) for score in scores)])
        layers = np.searchsorted(starts, order, side="right") - 1
        return [(int(a), int(i - starts[a])) for a, i in zip(layers, order, strict=True) if flat[i] >= 0]

    def _child(self, node: Node, layer: int, unit: int, sign: int) -> Node:
        """A node with one more sign fixed."""
        copies = [
            [v.copy() for v in getattr(node, name)]
            for name in ("lows", "highs", "gammas", "alphas", "betas", "signs")
        ]
        child = Node(node.target, node.reached, node.radius, *copies, depth=node.depth + 1)
        child.signs[layer][unit] = sign
        side = child.lows if sign > 0 else child.highs
        side[layer][unit] = 0.0
        return child

    def _leaf(self, node: Node, region: Region) -> list[Node]:
        """A node in which every sign is known."""
        incumbent, network = self.bounder.incumbent, self.bounder.network
        active = [np.where(low >= 0, 1, -1).astype(np.int8) for low in node.lows]
        functions = leaves.constraints(network, network.margin(incumbent.label, node.target), active)
        reached, point = leaves.bound(region, *functions)
        if point is not None:
            incumbent.propose(point[None])
        improved = reached > node.reached * (1 + 1e-9)
        node.reached = max(node.reached, reached)
        if not improved and node.reached < self.top:
            # Nothing more can be done here; what the leaf holds the lower bound to is not forgotten.
            self.stuck = min(self.stuck, node.reached)
            return []
        return [node]

    def _hope(self, target: int, point: FloatArray) -> None:
        """Now and then, attack from the points that the bounds put forward."""
        self.hopeful.append((target, point))
        if len(self.hopeful) >= self.hopes:
            targets, points = zip(*self.hopeful[-24:], strict=True)
            before = self.bounder.incumbent.distance
            attack(self.bounder.incumbent, list(targets), torch.from_numpy(np.stack(points)), 25)
            self.hopeful.clear()
            self.hopes = 24 if self.bounder.incumbent.distance < before else self.hopes * 2
