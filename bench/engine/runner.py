"""Submit blocks to an executor, store their results, retry what fails image by image."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bench.engine import worker
from bench.engine.costs import Estimates
from bench.engine.executors import Executor, Work
from bench.engine.forecast import Forecast
from bench.engine.images import Images
from bench.engine.lost import Crash, OutOfTime
from bench.engine.plan import Block, Plan, expected_seconds
from bench.engine.task import Expected, Task
from bench.engine.worker import Part
from bench.errors import BenchError, LostWork, MachineError, line
from bench.records import Record, Status
from bench.store import Run, Writer

PATIENCE = 5.0
"""Seconds after which it is asked whether the workers are still there."""

BESIDE, ALONE = 2, 2
"""How often lost work is tried beside other work, and then with nothing beside it, before a run stops."""

CRASHES = 3
"""How often a process with one image alone has to crash until that is the attack's own fault."""

MANY = 20
"""Losses in a row after which nothing more is begun until some work was finished with nothing beside it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A block is stored.

    Attributes:
        block: which.
        records: its records.
        done, planned: blocks stored so far, earlier runs' included, and in the plan.
        left: seconds until all is done; None while too little is known.
    """

    block: Block
    records: tuple[Record, ...]
    done: int
    planned: int
    left: float | None


@dataclass(slots=True)
class _Pieces:
    """A block that failed whole and is tried again, one image at a time."""

    task: Task
    parts: dict[int, Part] = field(default_factory=dict)

    def whole(self) -> Part | None:
        """The block's part once every piece is there."""
        if len(self.parts) < len(self.task):
            return None
        ordered = [self.parts[image] for image in self.task.block.images]
        records = tuple(record for part in ordered for record in part.records)
        return Part(records, {image: c for part in ordered for image, c in part.candidates.items()})


@dataclass(frozen=True, slots=True)
class _Try:
    """A task at the executor.

    Attributes:
        task: what is computed: a block, or one image of a block when ``pieces`` is set.
        pieces: the block that it is a piece of.
        lost, crashed, failed: how often it was lost, how often its process crashed, and how often it failed otherwise.
    """

    task: Task
    pieces: _Pieces | None = None
    lost: int = 0
    crashed: int = 0
    failed: int = 0

    @property
    def single(self) -> bool:
        """Whether there is one image."""
        return len(self.task) == 1

    @property
    def alone(self) -> bool:
        """Whether it was lost so often that it is tried with nothing beside it."""
        return self.lost >= BESIDE

    def one_by_one(self) -> list[_Try]:
        """The images, each for itself."""
        pieces = _Pieces(self.task)
        return [_Try(piece, pieces) for piece in self.task.singly()]

    def after(self, error: Exception) -> list[_Try] | Part:
        """What to try after an error; the records of one, where its images have had their chances.

        Lost work is tried again as it is, which gives the records of an undisturbed run. So is a block whose process
        crashed, once; a block that crashed again, failed or ran out of time is tried image by image.

        Raises:
            MachineError: it was lost too often.
        """
        if isinstance(error, LostWork):
            if self.lost + 1 == BESIDE + ALONE:
                raise MachineError(
                    f"{self._text}: {error}, {self.lost + 1} times, at last with no other worker beside it; nothing is stored "
                    f"for it. All that is finished is kept; see that memory and disk have room and go on with --resume and "
                    "fewer --workers, or leave the attack out of a new run with --attacks"
                ) from error
            return [replace(self, lost=self.lost + 1)]
        if isinstance(error, Crash):
            if self.crashed + 1 < (CRASHES if self.single else 2):
                return [replace(self, crashed=self.crashed + 1)]
            message = f"{error}, {CRASHES} times, with no other image in it"
            return worker.failed(self.task, Status.ERROR, message) if self.single else self.one_by_one()
        if self.pieces is None and not (self.single and self.failed):
            return [replace(self, failed=1)] if self.single else self.one_by_one()
        if isinstance(error, OutOfTime):
            return worker.failed(self.task, Status.TIMEOUT, str(error))
        return worker.failed(self.task, Status.ERROR, line(error))

    @property
    def _text(self) -> str:
        block, images = self.task.block, self.task.block.images
        which = f"image {images[0]}" if self.single else f"images {images[0]} to {images[-1]}"
        return f"{block.row.name} on {block.network.name}, {which}"


def run(  # noqa: PLR0917 - a plan, its images and where they go: each is named by its type
    plan: Plan,
    images: Images,
    expected: Mapping[str, Expected],
    stored: Run,
    writer: Writer,
    executor: Executor,
    *,
    estimated: Estimates = MappingProxyType({}),
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
    work: Work = worker.run,
) -> None:
    """Compute every block of a plan that is not stored yet, and store it.

    Blocks go to the executor longest expected first, after a block of each cheap row of each network. Lost work is no
    result: it is tried again, at last with nothing beside it. A block that fails, exceeds its time limit, or makes its process crash
    is tried one image at a time, and what fails then is recorded as ``error`` or ``timeout``.

    Args:
        plan: what to do.
        images: the plan's.
        expected: what every worker must find, by network.
        stored: the run's folder as it is.
        writer: the same folder, for writing.
        executor: where ``work`` is called.
        estimated: seconds an image should take, by network and row.
        device: where workers compute.
        report: called after each stored block.
        work: what computes a task.

    Raises:
        MachineError: work was lost again and again; nothing is stored for it, and what is stored stays.
        BenchError: the store refuses, or a worker cannot load the network.
    """
    blocks = plan.blocks()
    left = _ordered([block for block in blocks if block.key not in stored.finished], estimated)
    done, forecast = len(blocks) - len(left), Forecast(left, estimated, executor.workers)
    tasks = (images.task(block, device, expected[block.network.name]) for block in left)
    for task, part in _results(tasks, executor, work):
        block, now = task.block, time.monotonic()
        writer.block(block.key, str(stored.manifest["plan"]), part.records, part.candidates)
        done += 1
        forecast.finished(block, sum(record.seconds for record in part.records), now)
        report(Progress(block, part.records, done, len(blocks), forecast.left(now)))


def _ordered(blocks: Sequence[Block], estimated: Estimates) -> list[Block]:
    """Longest expected block first, so that the last ones end together; but a block of each cheap row before all.

    Half of the rows of each network are cheap ones. Their blocks show within seconds that every network can be attacked, and
    how long the others will take.
    """

    def seconds(block: Block) -> float:
        return expected_seconds(block, estimated)

    longest_first = sorted(blocks, key=seconds, reverse=True)
    shortest = {(block.network, block.row): block for block in longest_first}
    head: list[Block] = []
    for network in {block.network: None for block in blocks}:
        of_it = sorted((block for block in shortest.values() if block.network == network), key=seconds)
        head += of_it[: (len(of_it) + 1) // 2]
    begun = {block.key for block in head}
    return sorted(head, key=seconds) + [block for block in longest_first if block.key not in begun]


def _results(tasks: Iterable[Task], executor: Executor, work: Work) -> Iterator[tuple[Task, Part]]:
    """Every task with its part, as they are finished."""
    coming = (_Try(task) for task in tasks)
    again: deque[_Try] = deque()
    aside: deque[_Try] = deque()
    pending: dict[Future[Part], _Try] = {}
    lost = 0
    while True:
        # Tasks carry their images: only as many are made as the workers need. Where all is lost, none is begun.
        while len(pending) < executor.ahead and lost < MANY:
            attempt = again.popleft() if again else next(coming, None)
            if attempt is None:
                break
            pending[executor.submit(work, attempt.task)] = attempt
        if not pending:
            if not again and not aside:
                return
            attempt = (aside or again).popleft()
            attempt = replace(attempt, lost=max(attempt.lost, BESIDE))
            pending[executor.submit(work, attempt.task, alone=True)] = attempt
        finished, _ = wait(pending, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        if not finished:
            executor.revive()
        for future in finished:
            attempt = pending.pop(future)
            try:
                part = future.result()
            except BenchError:
                raise
            except Exception as error:
                lost = lost + 1 if isinstance(error, LostWork) else 0
                following = attempt.after(error)
                if not isinstance(following, Part):
                    for each in reversed(following):
                        (aside if each.alone else again).appendleft(each)
                    continue
                part = following
            else:
                lost = 0
            if attempt.pieces is None:
                yield attempt.task, part
                continue
            attempt.pieces.parts[attempt.task.block.images[0]] = part
            whole = attempt.pieces.whole()
            if whole is not None:
                yield attempt.pieces.task, whole
