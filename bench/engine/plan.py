"""What a run will do: networks x rows x images, cut into blocks, the units of work, of randomness and of resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bench.engine.costs import Estimates, expected
from bench.errors import UsageError, unknown
from bench.networks.spec import NetworkSpec
from bench.norms import Norm
from bench.records import block_key
from bench.specs import Hole, Kind, Row, Suite, VerifierSpec


@dataclass(frozen=True, slots=True)
class Block:
    """One network, one row, a fixed run of images.

    Attributes:
        network: which network.
        row: which attack or verifier.
        number: position among the blocks of this network and row.
        images: indices in the split.
        seed: the block's own, a function of the run's seed, network, row and number alone.
        limit: seconds of wall time it may take.
    """

    network: NetworkSpec
    row: Row
    number: int
    images: tuple[int, ...]
    seed: int
    limit: float

    @property
    def key(self) -> str:
        """The name of its parts in the store."""
        return block_key(self.network.name, self.row.name, self.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run's blocks, and what they are made from.

    Attributes:
        suite: the suite's name and description come from here.
        rows: the chosen rows of the suite, caps applied or lifted.
        holes: the suite's holes among the chosen norms and libraries.
        networks: which networks.
        indices: of the run's images in the split, in the order in which rows with a cap take them.
        seed: of everything.
        time_limit: seconds of wall time per image before a row is stopped.
    """

    suite: Suite
    rows: tuple[Row, ...]
    holes: tuple[Hole, ...]
    networks: tuple[NetworkSpec, ...]
    indices: tuple[int, ...]
    seed: int
    time_limit: float

    def count(self, row: Row) -> int:
        """How many images a row gets: all, or ``row.cap`` of them."""
        return len(self.indices) if row.cap is None else min(row.cap, len(self.indices))

    def limit(self, row: Row) -> float:
        """Seconds of wall time an image may take: ``time_limit``, but long enough for a verifier's own CPU time."""
        return max(self.time_limit, 3 * row.seconds) if isinstance(row, VerifierSpec) else self.time_limit

    def blocks(self) -> tuple[Block, ...]:
        """Every block, network by network and row by row."""
        return tuple(
            Block(
                network=network,
                row=row,
                number=number,
                images=(images := self.indices[start : min(start + row.block, self.count(row))]),
                seed=block_seed(self.seed, network.name, row.name, number),
                limit=self.limit(row) * len(images),
            )
            for network in self.networks
            for row in self.rows
            for number, start in enumerate(range(0, self.count(row), row.block))
        )

    @property
    def records(self) -> int:
        """How many records the run will have."""
        return len(self.networks) * sum(self.count(row) for row in self.rows)


def block_seed(seed: int, network: str, row: str, number: int) -> int:
    """The seed of a block: a hash of what identifies it, below 2**31, as every library takes it."""
    text = json.dumps([seed, network, row, number])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def choose(
    suite: Suite,
    *,
    norms: Sequence[str] | None = None,
    libraries: Sequence[str] | None = None,
    attacks: Sequence[str] | None = None,
) -> tuple[Row, ...]:
    """The rows of a suite that a user asked for.

    Args:
        suite: whose rows.
        norms: ``l0``, ``l1``, ``l2``, ``linf`` in any case; None for all.
        libraries: ``art``, ``foolbox``, ``paper``, ``certify``, ...; None for all.
        attacks: names of rows, or patterns such as ``foolbox-*`` or ``*deepfool*``; None for all.

    Raises:
        UsageError: a name is unknown, or nothing is left.
    """
    rows = suite.rows
    for what, names, value in (
        ("norm", norms, lambda row: row.norm.value),
        ("library", libraries, lambda row: row.library),
    ):
        if names is not None:
            known = list(dict.fromkeys(value(row) for row in (*suite.rows, *suite.on_request)))
            wanted = {name.lower() for name in names}
            for name in sorted(wanted - set(known)):
                raise unknown(what, name, known)
            rows = tuple(row for row in rows if value(row) in wanted)
    if attacks is not None:
        for pattern in attacks:
            if not any(fnmatchcase(row.name, pattern.lower()) for row in suite.rows):
                raise unknown("attack", pattern, [row.name for row in suite.rows])
        rows = tuple(row for row in rows if any(fnmatchcase(row.name, pattern.lower()) for pattern in attacks))
    if not rows:
        asked = {"--norms": norms, "--libraries": libraries, "--attacks": attacks}
        given = ", ".join(f"{flag} {' '.join(names)}" for flag, names in asked.items() if names is not None)
        raise UsageError(
            f"no attack of suite {suite.name!r} is left by {given}; --list shows every attack, its norm and library"
        )
    return rows


def with_norms(suite: Suite, norms: Sequence[str] | None) -> Suite:
    """The suite with its rows of the norms that are asked for, those that it runs on request among them."""
    wanted = {name.lower() for name in norms or ()}
    return replace(suite, rows=suite.rows + tuple(row for row in suite.on_request if row.norm.value in wanted))


def with_exact(suite: Suite, seconds: float | None) -> Suite:
    """The suite with a time limit per image for its exact searches.

    Args:
        suite: its rows of kind ``exact`` have limits of their own; those of 0 seconds wait to be asked for.
        seconds: the limit for all of them, 0 for none; None for each row's own.

    Returns:
        The suite, without the exact searches that have no time.
    """
    rows = tuple(
        replace(row, seconds=seconds)
        if isinstance(row, VerifierSpec) and row.kind is Kind.EXACT and seconds is not None
        else row
        for row in suite.rows
    )
    timed = (row for row in rows if not isinstance(row, VerifierSpec) or row.kind is not Kind.EXACT or row.seconds > 0)
    return replace(suite, rows=tuple(timed))


def holes(suite: Suite, rows: Sequence[Row]) -> tuple[Hole, ...]:
    """The holes of a suite in the norms and libraries of the chosen rows."""
    norms: set[Norm] = {row.norm for row in rows}
    libraries = {row.library for row in rows}
    return tuple(hole for hole in suite.holes if hole.norm in norms and hole.library in libraries)


def expected_seconds(block: Block, estimated: Estimates) -> float:
    """How long a block should take on one core."""
    return expected(block.row, block.network.name, estimated) * len(block.images)
