"""The time that a run still takes, from what it should take and what it took so far."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.engine.costs import Estimates, expected
from bench.specs import VerifierSpec

if TYPE_CHECKING:
    from bench.engine.plan import Block

KNOWN_BLOCKS, KNOWN_SECONDS, KNOWN_PART = 6, 10.0, 0.05
"""How many blocks, and how many seconds of work or which part of it, are done before the time left is known."""

BESIDE = 0.05
"""Seconds that a block takes beside its attack: to be judged and stored."""

LATE = 30
"""How many of the latest blocks say how fast the machine is now."""


class Forecast:
    """How long the blocks that are left will take, from what those that are done took.

    Seconds are those of attacks, which their records hold: starting processes is not among them. A row that was done on a
    network is expected to go on as it did. Others are expected to take what was measured before, times the ratio that is
    usual now, so that one row's compilation, or one odd row, changes nothing else.
    """

    def __init__(self, blocks: Iterable[Block], estimated: Estimates, workers: int) -> None:
        """Begin.

        Args:
            blocks: what is left to do, in the order in which it is begun.
            estimated: seconds per image, as they should be.
            workers: how many blocks are computed at once.
        """
        self._left = {block.key: block for block in blocks}
        self._estimated = estimated
        self._workers = workers
        self._begun: dict[str, float] = {}
        self._done: list[_Done] = []
        self._of: dict[tuple[str, str], list[float]] = {}

    def finished(self, block: Block, seconds: float, now: float) -> None:
        """A block is done.

        Args:
            block: which.
            seconds: of all its images together.
            now: the time in seconds, of any clock.
        """
        del self._left[block.key]
        self._begun.pop(block.key, None)
        waiting = (key for key in self._left if key not in self._begun)
        for key in itertools.islice(waiting, self._workers - len(self._begun)):
            self._begun[key] = now
        self._of.setdefault((block.network.name, block.row.name), []).append(seconds / len(block.images))
        known = self._known(block) * len(block.images)
        self._done.append(_Done(block.network.name, seconds, seconds / known if known > 0 else math.nan))

    def left(self, now: float) -> float | None:
        """Seconds of wall time until all is done; None while too little is known."""
        if not self._left:
            return 0.0
        ratios = {name: self._ratio(name) for name in {block.network.name for block in self._left.values()}}
        each = {
            (block.network.name, block.row.name): self._expected(block, ratios[block.network.name])
            for block in {(block.network, block.row): block for block in self._left.values()}.values()
        }
        rest = {
            key: each[block.network.name, block.row.name] * len(block.images) + BESIDE
            for key, block in self._left.items()
        }
        busy = sum(done.seconds for done in self._done)
        if len(self._done) < KNOWN_BLOCKS or busy < min(KNOWN_SECONDS, KNOWN_PART * sum(rest.values())):
            return None
        # As the blocks will be done: each by the worker that is free first.
        free = [max(rest[key] - (now - begun), 0.1 * rest[key]) for key, begun in self._begun.items()]
        free += [0.0] * (self._workers - len(free))
        heapq.heapify(free)
        for key, seconds in rest.items():
            if key not in self._begun:
                heapq.heapreplace(free, free[0] + seconds)
        whole = max(free)
        return None if math.isnan(sum(rest.values())) else whole

    def _expected(self, block: Block, ratio: float) -> float:
        """Seconds per image, by what a row took on its network and by what it should take; NaN where neither is known."""
        found = self._of.get((block.network.name, block.row.name), [])
        known = self._known(block) * ratio
        if not found or math.isnan(known):
            return statistics.median(found) if found else known
        # The first blocks of a row may have compiled it.
        return statistics.median(found) if len(found) > 2 else math.sqrt(known * min(found))

    def _ratio(self, network: str) -> float:
        """How many times what they should the blocks of a network took of late; of all, where few of it are done.

        NaN for a network that was never measured, as long as few of its blocks are done.
        """
        of_it = [done for done in self._done if done.network == network and not math.isnan(done.ratio)]
        few = len(of_it) < KNOWN_BLOCKS or sum(done.seconds for done in of_it) < KNOWN_SECONDS
        if few and network not in self._estimated:
            return math.nan
        chosen = [done for done in (self._done if few else of_it) if not math.isnan(done.ratio)]
        return _weighted_median([(done.ratio, math.sqrt(done.seconds)) for done in chosen[-LATE:]])

    def _known(self, block: Block) -> float:
        """Seconds per image as measured before; NaN where nothing was."""
        known = isinstance(block.row, VerifierSpec) or any(block.row.name in rows for rows in self._estimated.values())
        return expected(block.row, block.network.name, self._estimated) if known else math.nan


class _Done(NamedTuple):
    """A finished block: its network, seconds, and their ratio to those expected; NaN where nothing was."""

    network: str
    seconds: float
    ratio: float


def _weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of values, of (value, weight); 1 where there is no weight."""
    half, before = sum(weight for _, weight in pairs) / 2, 0.0
    for value, weight in sorted(pairs):
        before += weight
        if before >= half > 0:
            return value
    return 1.0
