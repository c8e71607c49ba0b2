"""The time that a run still takes, from what it should take and what it took so far."""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bench.engine.costs import Estimates, expected
from bench.specs import Row, VerifierSpec

if TYPE_CHECKING:
    from bench.engine.plan import Block

Place = tuple[str, str]
"""A network and a row, by name."""

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
    network is expected to go on as it did. Others are expected to take what was estimated, times the ratio that is usual
    now, so that one row's compilation, or one odd row, changes nothing else.
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
        self._took: dict[Place, list[float]] = {}
        """Seconds per image of the blocks that are done."""
        self._ratios: dict[Place, float] = {}
        """How many times what it should a row's latest block took; of rows with an estimate."""
        self._compiled: dict[str, list[float]] = {}
        """Seconds of the first blocks of rows that were compiled, by method."""
        self._busy = 0.0

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
        should = self._known(block) * len(block.images)
        if not self._seen(block.row) and seconds > COMPILED[0] + COMPILED[1] * should:
            self._compiled.setdefault(_method(block.row), []).append(seconds)
        self._busy += seconds
        self._took.setdefault(_place(block), []).append(seconds / len(block.images))
        if should > 0:
            self._ratios[_place(block)] = seconds / should

    def left(self, now: float) -> float | None:
        """Seconds of wall time until all is done; None while too little is known."""
        if not self._left:
            return 0.0
        rest = self._rest()
        work = sum(rest.values())
        done = sum(len(blocks) for blocks in self._took.values())
        if math.isnan(work) or done < KNOWN_BLOCKS or self._busy < min(KNOWN_SECONDS, KNOWN_PART * work):
            return None
        whole, spread = self._until(rest, now), self._spread()
        unseen = [seconds for key, seconds in rest.items() if not self._sure(_place(self._left[key]))]
        if spread > SPREAD and sum(unseen) > UNSEEN * work:
            return None
        if spread > SPREAD / 2 and max(unseen, default=0.0) > UNSEEN * whole:
            return None
        return whole

    def _rest(self) -> dict[str, float]:
        """Seconds that each block that is left should take, by its key; NaN where nothing says it."""
        blocks = {_place(block): block for block in self._left.values()}
        ratios = {network: self._ratio(network) for network, _ in blocks}
        each = {place: self._expected(block, ratios[block.network.name]) for place, block in blocks.items()}
        rest = {key: each[_place(block)] * len(block.images) + BESIDE for key, block in self._left.items()}
        firsts = {block.row.name: (key, block.row) for key, block in reversed(self._left.items())}
        for key, row in firsts.values():
            if _method(row) in self._compiled and not self._seen(row):
                rest[key] += statistics.median(self._compiled[_method(row)])
        return rest

    def _until(self, rest: Mapping[str, float], now: float) -> float:
        """Seconds until the last block ends, each done by the worker that is free first."""
        free = [max(rest[key] - (now - begun), 0.1 * rest[key]) for key, begun in self._begun.items()]
        free += [0.0] * (self._workers - len(free))
        heapq.heapify(free)
        for key, seconds in rest.items():
            if key not in self._begun:
                heapq.heapreplace(free, free[0] + seconds)
        return max(free)

    def _expected(self, block: Block, ratio: float) -> float:
        """Seconds per image, by what a row took on its network and by what it should take; NaN where neither is known."""
        found = self._took.get(_place(block), [])
        known = self._known(block) * ratio
        if not found:
            return known
        if len(found) > 2 or math.isnan(known):
            return statistics.median(found)
        # The first blocks of a row may have compiled it: what it should take says how far they are believed.
        return min(max(math.sqrt(known * min(found)), known / BELIEVED), known * BELIEVED)

    def _ratio(self, network: str) -> float:
        """How many times what they should the rows of a network took; of all networks, where few of it are done."""
        # Each row has one vote: those that seem to take long come first, and not by chance.
        of_it = [ratio for (name, _), ratio in self._ratios.items() if name == network]
        chosen = of_it if len(of_it) >= KNOWN_BLOCKS else self._ratios.values()
        return statistics.median(chosen) if chosen else 1.0

    def _spread(self) -> float:
        """How far rows are from what their networks' ratios make them take: a median of logarithms."""
        usual = {network: self._ratio(network) for network, _ in self._ratios}
        off = [abs(math.log(ratio / usual[name])) for (name, _), ratio in self._ratios.items() if ratio > 0]
        return statistics.median(off) if off else math.inf

    def _sure(self, place: Place) -> bool:
        """Whether a row was seen on a network: once where there is an estimate, twice where there is none."""
        return place in self._ratios or len(self._took.get(place, [])) > 1

    def _seen(self, row: Row) -> bool:
        """Whether a block of a row is done, on any network."""
        return any(name == row.name for _, name in self._took)

    def _known(self, block: Block) -> float:
        """Seconds per image as estimated before; NaN where nothing was."""
        known = isinstance(block.row, VerifierSpec) or block.row.name in self._estimated.get(block.network.name, {})
        return expected(block.row, block.network.name, self._estimated) if known else math.nan


def _place(block: Block) -> Place:
    return block.network.name, block.row.name


def _method(row: Row) -> str:
    """What rows have in common that are compiled alike."""
    return row.slug if isinstance(row, VerifierSpec) else row.method.slug
