"""What searches in L0: branch and bound over which pixels change.

For k = 1, 2, ... it is shown that no k pixels suffice, or k pixels are found that do. A node has some pixels chosen
(free in [0, 1]), some left out (unchanged), and a number of further pixels still to be picked; it is split on the pixel
that its bound puts forward most: chosen, or left out. Once all k pixels are chosen, their intervals are halved.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bench.certify.cuts import first_bounds
from bench.certify.primal import Incumbent
from bench.certify.propagation import MarginBound
from bench.certify.search import Bounder, Node
from bench.certify.support import Region

_ROUNDS = 4


def greedy(incumbent: Incumbent, targets: list[int], most: int, beam: int = 4, width: int = 12) -> None:
    """Look for adversarial examples with few pixels: a beam search that sets one more pixel to black or white each time.

    Args:
        incumbent: where to keep them; the norm is L0.
        targets: classes to move towards, each with a beam of its own.
        most: give up after this many pixels.
        beam: images kept for each target after each pixel.
        width: pixels tried on each of them, those with the largest gain to first order.
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
            picked = gains.topk(min(width, gains.shape[1]), dim=1).indices
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
            self._keep(heap, node, region, self.bounder.settle(region, node, self.bounder.effort.root_rounds))
        while heap:
            if not going() or self.bounder.incumbent.distance <= count:
                return False
            _, _, node, region = heapq.heappop(heap)
            found = self.bounder.margin(region, node, 0)
            for part in self._parts(region, found):
                child = node.copy()
                self.nodes += 1
                self._keep(heap, child, part, self.bounder.settle(part, child, _ROUNDS))
        return True

    def _keep(
        self, heap: list[tuple[float, int, Node, Region]], node: Node, region: Region, found: MarginBound | None
    ) -> None:
        if found is not None:
            self.bounder.incumbent.propose(found.point[None])
            heapq.heappush(heap, (-found.value, next(self.numbers), node, region))

    def _parts(self, region: Region, found: MarginBound) -> list[Region]:
        """Regions that between them cover one."""
        move = found.point - region.centre
        gains = np.abs(found.row * move)
        if region.radius >= 1:
            at = int(np.where(region.chosen | (region.low == region.high), -1.0, gains).argmax())
            chosen = region.chosen.copy()
            chosen[at] = True
            low, high = region.low.copy(), region.high.copy()
            low[at] = high[at] = 0.0
            return [replace(region, chosen=chosen, radius=region.radius - 1), replace(region, low=low, high=high)]
        widths = np.where(region.chosen, np.abs(found.row) * (region.high - region.low), -1.0)
        at = int(widths.argmax())
        middle = (region.low[at] + region.high[at]) / 2
        low, high = region.low.copy(), region.high.copy()
        low[at] = high[at] = middle
        return [replace(region, high=high), replace(region, low=low)]
