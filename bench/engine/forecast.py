"""The time that a run still takes, from what it should take and what it took so far."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from bench.engine.costs import Estimates, expected
from bench.specs import Row, VerifierSpec

if TYPE_CHECKING:
    from bench.engine.plan import Block

KNOWN_BLOCKS, KNOWN_SECONDS, KNOWN_PART = 6, 10.0, 0.05
"""How many blocks, and how many seconds of work or which part of it, are done before the time left is known."""

BESIDE = 0.05
"""Seconds that a block takes beside its attack: to be judged and stored."""

BELIEVED = 1.5
"""How many times what it should take, or how many times less, a row is taken to go on with after one or two blocks."""

COMPILED = 10.0, 5.0
"""A first block that takes so many seconds more than so many times what it should has compiled its row."""

SPREAD, UNSEEN = 0.4, 0.5
"""Where rows take e**SPREAD times what they should, or as many times less, the time left is known only once rows that were
not seen are less than this part of it; where they do so half as much, once no single block of such a row is more."""


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
        self._seen_rows: set[str] = set()
        self._compiled: dict[str, dict[str, float]] = {}

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
        if block.row.name not in self._seen_rows and seconds - COMPILED[0] > COMPILED[1] * self._known(block) * len(
            block.images
        ):
            self._compiled.setdefault(_method(block.row), {})[block.row.name] = seconds
        self._seen_rows.add(block.row.name)
        self._of.setdefault(self._place(block), []).append(seconds / len(block.images))
        known = self._known(block) * len(block.images)
        self._done.append(_Done(self._place(block), seconds, seconds / known if known > 0 else math.nan))

    def left(self, now: float) -> float | None:
        """Seconds of wall time until all is done; None while too little is known."""
        if not self._left:
            return 0.0
        ratios = {name: self._ratio(name) for name in {block.network.name for block in self._left.values()}}
        blocks = {self._place(block): block for block in self._left.values()}
        each = {place: self._expected(block, ratios[block.network.name]) for place, block in blocks.items()}
        rest = {key: each[self._place(block)] * len(block.images) + BESIDE for key, block in self._left.items()}
        for key, row in {block.row.name: (key, block.row) for key, block in reversed(self._left.items())}.values():
            # The first block of a row of a method whose other rows were compiled.
            if row.name not in self._seen_rows and (others := self._compiled.get(_method(row))):
                rest[key] += statistics.median(others.values())
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
        unseen = [seconds for key, seconds in rest.items() if self._place(self._left[key]) not in self._of]
        spread = self._spread()
        if math.isnan(sum(rest.values())) or (spread > SPREAD and sum(unseen) > UNSEEN * sum(rest.values())):
            return None
        if spread > SPREAD / 2 and max(unseen, default=0.0) > UNSEEN * whole:
            return None
        return whole

    def _expected(self, block: Block, ratio: float) -> float:
        """Seconds per image, by what a row took on its network and by what it should take; NaN where neither is known."""
        found = self._of.get(self._place(block), [])
        known = self._known(block) * ratio
        if not found or math.isnan(known):
            return statistics.median(found) if found else known
        if len(found) > 2:
            return statistics.median(found)
        # The first blocks of a row may have compiled it: what it should take says how far they are believed.
        return min(max(math.sqrt(known * min(found)), known / BELIEVED), known * BELIEVED)

    def _ratio(self, network: str) -> float:
        """How many times what they should the rows of a network took; of all networks, where few of it are done."""
        # Each row has one vote, by its latest block: those that seem to take long come first, and not by chance.
        known = {done.place: done for done in self._done if not math.isnan(done.ratio)}
        of_it = [done for done in known.values() if done.place[0] == network]
        few = len(of_it) < KNOWN_BLOCKS
        chosen = list(known.values()) if few else of_it
        return statistics.median(done.ratio for done in chosen) if chosen else 1.0

    def _spread(self) -> float:
        """How far rows are from what their networks' ratios make them take: a median of logarithms."""
        known = {done.place: done for done in self._done if done.ratio > 0}
        ratios = {network: math.log(self._ratio(network)) for network, _ in known}
        off = [abs(math.log(done.ratio) - ratios[network]) for (network, _), done in known.items()]
        return statistics.median(off) if off else math.inf

    @staticmethod
    def _place(block: Block) -> tuple[str, str]:
        return block.network.name, block.row.name

    def _known(self, block: Block) -> float:
        """Seconds per image as estimated before; NaN where nothing was."""
        known = isinstance(block.row, VerifierSpec) or block.row.name in self._estimated.get(block.network.name, {})
        return expected(block.row, block.network.name, self._estimated) if known else math.nan


class _Done(NamedTuple):
    """A finished block: its network and row, seconds, and their ratio to those expected; NaN where nothing was."""

    place: tuple[str, str]
    seconds: float
    ratio: float


def _method(row: Row) -> str:
    """What rows have in common that are compiled alike."""
    return row.slug if isinstance(row, VerifierSpec) else row.method.slug
