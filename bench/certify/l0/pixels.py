"""Branch and bound over which values (here called pixels) change, for L0.

For k = 1, 2, ... it is shown that no k pixels suffice, or k pixels are found that do. A node has some pixels chosen
(free in [0, 1]), some left out (unchanged), and a number of further pixels still to be picked; it is split on the pixels
that its bounds need most: each chosen in a part of its own, all left out in one more. Once all k pixels are chosen,
their intervals are halved.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bench.certify.dense.cuts import first_bounds
from bench.certify.dense.propagation import Lines, MarginBound, backwards
from bench.certify.dense.search import Bounder, Node
from bench.certify.incumbent import Incumbent
from bench.certify.layers import FloatArray, IntArray
from bench.certify.regions import Region, insert, jit

_SPLIT = 2
"""A node is split on this many pixels for each that is still to be picked: a few parts more at once cost less than
bounding, and splitting again, the part in which none of the first was picked."""


def greedy(incumbent: Incumbent, targets: list[int], most: int, beam: int) -> None:
    """Look for adversarial examples with few pixels: a beam search that sets one more pixel to black or white each time.

    Args:
        incumbent: where to keep them; the norm is L0.
        targets: classes to move towards, each with a beam of its own.
        most: give up after this many pixels.
        beam: images kept for each target after each pixel; three times as many pixels are tried on each of them,
            those with the largest gain to first order.
    """
    centre = incumbent.centre
    for target in targets:
        images = centre[None]
        for count in range(1, most + 1):
            if count >= incumbent.distance:
                break
            images.requires_grad_()
            logits = incumbent.network(images.reshape(-1, *incumbent.shape))
            (gradient,) = torch.autograd.grad((logits[:, target] - logits[:, incumbent.label]).sum(), images)
            images = images.detach()
            ends = (gradient > 0).double()
            gains = gradient * (ends - images)
            gains[images != centre] = -torch.inf
            picked = gains.topk(min(3 * beam, gains.shape[1]), dim=1).indices
            tried = images.repeat_interleave(picked.shape[1], dim=0)
            rows = torch.arange(len(tried))
            tried[rows, picked.ravel()] = ends.gather(1, picked).ravel()
            with torch.no_grad():
                logits = incumbent.network(tried.reshape(-1, *incumbent.shape))
            margins = logits[:, target] - logits[:, incumbent.label]
            if incumbent.propose(tried):
                break
            images = tried[margins.topk(min(beam, len(tried))).indices]


@dataclass(slots=True)
class PixelSearch:
    """The search for one image.

    Attributes:
        bounder: what bounds its nodes.
        targets: classes an adversarial example may have.
        lower: no adversarial example changes fewer pixels than this.
        nodes: how many nodes were bounded.
    """

    bounder: Bounder
    targets: list[int]
    lower: int = 1
    nodes: int = 0
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, going: Callable[[], bool]) -> bool:
        """Raise ``lower`` until it meets the incumbent, or until ``going`` says to stop.

        Returns:
            Whether it met the incumbent: ``lower`` is then the exact distance.
        """
        while self.lower < min(self.bounder.incumbent.distance, len(self.bounder.centre) + 1):
            if not self._excluded(self.lower, going):
                break
            self.lower += 1
        return self.lower >= self.bounder.incumbent.distance

    def _excluded(self, count: int, going: Callable[[], bool]) -> bool:
        """Whether it was shown that no ``count`` pixels suffice."""
        region = self.bounder.region(count)
        bounds = first_bounds(self.bounder.network, region)
        heap: list[tuple[float, int, Node, Region]] = []
        for target in self.targets:
            node = self.bounder.root(target, float(count), bounds)
            self._keep(heap, node, region, self.bounder.close(region, node, self.bounder.effort.root_rounds))
        while heap:
            if not going() or self.bounder.incumbent.distance <= count:
                return False
            _, _, node, region = heapq.heappop(heap)
            found = self.bounder.margin(region, node, 0)
            for part in self.parts(region, node, found):
                child = node.copy()
                self.nodes += 1
                self._keep(heap, child, part, self.bounder.close(part, child, self.bounder.effort.node_rounds))
        return True

    def _keep(
        self, heap: list[tuple[float, int, Node, Region]], node: Node, region: Region, found: MarginBound | None
    ) -> None:
        if found is not None:
            self.bounder.incumbent.propose(found.point[None])
            heapq.heappush(heap, (-found.value, next(self.numbers), node, region))

    def parts(self, region: Region, node: Node, found: MarginBound) -> list[Region]:
        """Regions that between them cover one."""
        free = np.flatnonzero(~region.chosen & (region.low < region.high))
        if region.radius >= 1 and len(free):
            order = free[np.argsort(-self._losses(region, node, found)[free], kind="stable")]
            return _picked(region, order[: _SPLIT * int(region.radius)])
        widths = np.where(region.chosen, np.abs(found.row) * (region.high - region.low), -1.0)
        at = int(widths.argmax())
        middle = (region.low[at] + region.high[at]) / 2
        low, high = region.low.copy(), region.high.copy()
        low[at] = high[at] = middle
        return [replace(region, high=high), replace(region, low=low)]

    def _losses(self, region: Region, node: Node, found: MarginBound) -> FloatArray:
        """(d,) how much the margin's bound would fall, to first order, without each pixel.

        It depends on the pixels through its own row, but more through the bounds of the unstable units, each of which
        has its own pixels of largest gain; a chord in its middle rises by half of ``-low / (high - low)`` with its
        upper and half of ``high / (high - low)`` with its lower end.
        """
        network, unstable, useful = self.bounder.network, node.unstable(), self.bounder.useful(node)
        lines = [Lines.around(node.low[at], node.high[at]) for at in network.layers]
        lost = losses(region, found.row[None], np.ones(1))
        weights = np.abs(found.coefficients[network.layers[-1]]) if network.layers else np.zeros(0)
        for index in range(len(lines) - 1, -1, -1):
            at, weight = network.layers[index], network.weights[index]
            free = np.flatnonzero(unstable[at] & useful[at])
            ends = np.vstack([weight[free], -weight[free]])
            rows, _ = backwards(network, lines[:index], ends, np.zeros(len(ends)))
            low, high = node.low[at][free], node.high[at][free]
            lost += losses(region, rows, np.concatenate([-low, high]) * np.tile(weights[free] / (high - low), 2))
            weights = (weights * lines[index].slope) @ np.abs(weight)
        return lost


def losses(region: Region, rows: FloatArray, weights: FloatArray) -> FloatArray:
    """How much a weighted sum of rows' suprema over a region would fall without each pixel that is not chosen.

    A pixel among those of largest gain is replaced by the next one.

    Args:
        region: an L0 ball, some of its pixels chosen.
        rows: (n, d) float64.
        weights: (n,) float64.

    Returns:
        (d,) float64.
    """
    lost: FloatArray = _lost(rows, weights, region.low, region.high, region.chosen, int(region.radius))
    return lost


@jit
def _lost(rows, weights, low, high, chosen, count):  # type: ignore[no-untyped-def]  # compiled
    """The same, compiled: for every row the gain that follows the ``count`` largest, and what the larger ones exceed it by."""
    lost, gains = np.zeros(len(low)), np.empty(len(low))
    largest, places = np.empty(count + 1), np.empty(count + 1, dtype=np.int64)
    for r in range(len(rows)):
        largest[:], filled = 0.0, 0
        for i in range(len(gains)):
            gains[i] = 0.0 if chosen[i] else max(rows[r, i] * low[i], rows[r, i] * high[i])
            filled = insert(largest, places, filled, gains[i], i)
        for i in range(len(gains)):
            if gains[i] > largest[count]:
                lost[i] += weights[r] * (gains[i] - largest[count])
    return lost


def _picked(region: Region, pixels: IntArray) -> list[Region]:
    """For each pixel the part in which it is chosen and those before it are not; and that in which none is."""
    parts = []
    for pixel in pixels:
        chosen = region.chosen.copy()
        chosen[pixel] = True
        parts.append(replace(region, chosen=chosen, radius=region.radius - 1))
        low, high = region.low.copy(), region.high.copy()
        low[pixel] = high[pixel] = 0.0
        region = replace(region, low=low, high=high)
    return [*parts, region]
