"""Blocks of a stored run, computed again by the same engine and compared with their records."""

from __future__ import annotations

import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import store
from bench.engine import runner, worker
from bench.engine.executors import InlineExecutor, LocalExecutor
from bench.engine.images import Images
from bench.engine.plan import Block, Plan
from bench.engine.runner import Progress
from bench.engine.task import Expected
from bench.norms import Norm
from bench.records import Record, Status
from bench.specs import VerifierSpec
from bench.store import Run


class Again:
    """Blocks of a run, computed again and compared with what is stored.

    Attributes:
        plan: whose blocks they are.
        different: what differs, a line for each record.
        undecided: how many records could not be compared, because a time limit decided them.
    """

    def __init__(  # noqa: PLR0917 - each is named by its type
        self,
        run: Run,
        records: pd.DataFrame,
        plan: Plan,
        images: Images,
        expected: Mapping[str, Expected],
        workers: int,
    ) -> None:
        """Prepare; :meth:`run` computes.

        Args:
            run: what is stored.
            records: all of it.
            plan: whose blocks; it is that of the run.
            images: the plan's.
            expected: what every worker must find, by network.
            workers: processes; 0 computes in this one.
        """
        self.different: list[str] = []
        self.undecided = 0
        self._run = run
        self.plan = plan
        self._images = images
        self._expected = expected
        self._workers = workers
        self._records = {
            (str(entry["network"]), str(entry["attack"]), entry["image"]): entry for entry in records.to_dict("records")
        }

    def run(self, first: Sequence[Block], rest: Sequence[Block], seconds: float, tell: Callable[[str], None]) -> int:
        """Compute the first blocks, and of the rest as many as the time allows; returns how many.

        Raises:
            BenchError: a network cannot be loaded, or the machine cannot go on.
        """
        if not first and not rest:
            return 0
        done, shown = 0, 0
        every = frozenset(block.key for block in self.plan.blocks())

        def report(step: Progress) -> None:
            nonlocal done, shown
            done += 1
            for record in step.records:
                self._compare(step.block, record)
            total = len(first) if done <= len(first) else len(first) + len(rest)
            if 20 * done // total > shown or done == len(first):
                shown = 20 * done // total
                tell(f"{done} of {total} blocks computed again")

        started = time.monotonic()
        chunk = max(2 * self._workers, 1)
        parts = [list(first), *(list(rest[start : start + chunk]) for start in range(0, len(rest), chunk))]
        with (
            tempfile.TemporaryDirectory(prefix="bench-verify-") as folder,
            store.writing(Path(folder)) as writer,
            LocalExecutor(self._workers) if self._workers else InlineExecutor() as executor,
        ):
            try:
                for number, part in enumerate(parts):
                    if number and time.monotonic() - started > seconds:
                        break
                    runner.run(
                        self.plan,
                        self._images,
                        self._expected,
                        _Partly(Path(folder), self._run.manifest, every - {block.key for block in part}),
                        writer,
                        executor,
                        device=str(self._run.manifest["device"]),
                        report=report,
                    )
            finally:
                worker.MODELS_OF_THIS_PROCESS.forget()
        return done

    def _compare(self, block: Block, now: Record) -> None:
        """Compare a record that was computed again with the stored one."""
        entry = self._records.get((now.network, now.attack, now.image))
        if entry is None:
            return
        self.different += [f"{where(entry)}: {detail}" for detail in self._differences(block, now, entry)]

    def _differences(self, block: Block, now: Record, entry: Mapping[Any, Any]) -> Iterator[str]:
        if Status.TIMEOUT in (now.status, entry["status"]):
            early = now.status is not Status.TIMEOUT and now.seconds * len(block.images) < block.limit / 2
            if now.status != entry["status"] and early:
                yield f"it is {now.status}, after {now.seconds:.3g} seconds, the record says {entry['status']}"
            self.undecided += now.status != entry["status"] and not early
            return
        row = block.row
        if isinstance(row, VerifierSpec) and max(now.seconds, entry["seconds"]) > row.seconds / 2:
            # What is proved by the end of the time limit depends on the machine, but both are true.
            bounds = [(now.lower, now.distance), (entry["lower"], entry[row.norm.value])]
            if max(low for low, _ in bounds) > min(high for _, high in bounds):
                yield f"the distance lies from {now.lower:.9g} to {now.distance:.9g}, the record says {bounds[1]}"
            return
        pairs = {
            "status": (str(now.status), entry["status"]),
            "adversarial class": (now.adversarial_class, entry["adversarial_class"]),
            **{norm.label: (float(now.distances[norm]), entry[norm.value]) for norm in Norm},
            "number of pixels": (now.pixels, entry["pixels"]),
            "certified lower bound": (now.lower, entry["lower"]),
            "nearest point seen": (_number(now.best_seen), _number(entry["best_seen"])),
            "curve": (now.curve, curve_of(entry)),
            "number of forward passes": (now.forwards, entry["forwards"]),
            "number of backward passes": (now.backwards, entry["backwards"]),
            "message": (words(now.message), words(entry["message"])),
        }
        for what, (one, other) in pairs.items():
            if one != other:
                yield f"its {what} is {one!r}, the record says {other!r}"
                return


def _number(value: float | None) -> float | None:
    """A value of a table, where what is missing may be NaN."""
    return None if value is None or math.isnan(value) else float(value)


@dataclass(frozen=True)
class _Partly(Run):
    """A run of which only some blocks are left to compute."""

    done: frozenset[str]

    @property
    def finished(self) -> frozenset[str]:
        """The blocks that are not computed."""
        return self.done


def shuffled(blocks: Sequence[Block]) -> list[Block]:
    """Blocks in an order that nobody knows before, one of each network and row first."""
    order = list(blocks)
    random.SystemRandom().shuffle(order)
    first = {(block.network.name, block.row.name): block for block in order}
    return [*first.values(), *(block for block in order if first[block.network.name, block.row.name] is not block)]


def curve_of(entry: Mapping[Any, Any]) -> tuple[float, ...] | None:
    """The curve of a stored record; None where nothing was noted."""
    return None if entry["curve"] is None else tuple(map(float, entry["curve"]))


def where(entry: Mapping[Any, Any]) -> str:
    """Whose a record is, for messages."""
    return f"{entry['network']}, {entry['attack']}, image {entry['image']}"


def words(text: str) -> str:
    """A text without addresses, numbers and paths, which differ from machine to machine."""
    return " ".join(re.sub(r"0x[0-9a-f]+|/\S+|[-+]?\d[\d.,e+-]*", "", text).split())
