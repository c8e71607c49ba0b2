"""Submit blocks to an executor, store their results, retry what fails image by image."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field

from pebble import ProcessExpired

from bench.engine import costs, worker
from bench.engine.costs import Costs
from bench.engine.executors import Executor, Work
from bench.engine.images import Images
from bench.engine.plan import Block, Plan, expected_seconds
from bench.engine.task import Expected, Task
from bench.engine.worker import Part
from bench.errors import BenchError
from bench.records import Record, Status
from bench.store import Run, Writer

PATIENCE = 5.0
"""Seconds after which it is asked whether the workers are still there."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A block is stored.

    Attributes:
        block: which.
        records: its records.
        done, planned: blocks stored so far, earlier runs' included, and in the plan.
        expected_done, expected: seconds the blocks stored by this process, and all it has to do, were expected to take.
    """

    block: Block
    records: tuple[Record, ...]
    done: int
    planned: int
    expected_done: float
    expected: float


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
class _Fault:
    """Why a block has no part.

    Attributes:
        status: ``error`` or ``timeout``.
        message: the reason, for the record.
        died: whether the process was lost, which may have been no fault of the block's.
    """

    status: Status
    message: str
    died: bool = False


@dataclass(frozen=True, slots=True)
class _Try:
    """A task at the executor.

    Attributes:
        task: what is computed: a block, or one image of a block when ``pieces`` is set.
        pieces: the block that it is a piece of.
        again: whether this is the second try of the same images.
    """

    task: Task
    pieces: _Pieces | None = None
    again: bool = False

    def following(self, fault: _Fault) -> list[_Try]:
        """What to try after a fault; nothing when the images have had their chances.

        A block whose process was lost is tried again as it is, which gives the records of an undisturbed run when
        it was killed from outside. Else, and when it dies again, its images are tried one by one.
        """
        if fault.died and not self.again and self.pieces is None:
            return [_Try(self.task, again=True)]
        if self.pieces is not None or (len(self.task) == 1 and self.again):
            return []
        pieces = _Pieces(self.task)
        return [_Try(piece, pieces) for piece in self.task.singly()]


def run(  # noqa: PLR0917 - a plan, its images and where they go: each is named by its type
    plan: Plan,
    images: Images,
    expected: Mapping[str, Expected],
    stored: Run,
    writer: Writer,
    executor: Executor,
    *,
    device: str = "cpu",
    report: Callable[[Progress], None] = lambda _: None,
    work: Work = worker.run,
) -> None:
    """Compute every block of a plan that is not stored yet, and store it.

    Blocks go to the executor longest expected first, after one cheap block of each network. A block whose process is
    lost is tried again; one that loses its process twice, or exceeds its time limit, is tried one image at a time,
    and what fails then is recorded as ``error`` or ``timeout``.

    Args:
        plan: what to do.
        images: the plan's.
        expected: what every worker must find, by network.
        stored: the run's folder as it is.
        writer: the same folder, for writing.
        executor: where ``work`` is called.
        device: where workers compute.
        report: called after each stored block.
        work: what computes a task.

    Raises:
        BenchError: the store refuses, or a worker cannot load the network.
    """
    measured = costs.load(plan.suite.name)
    blocks = plan.blocks()
    left = _ordered([block for block in blocks if block.key not in stored.finished], measured)
    whole = sum(expected_seconds(block, measured) for block in left)
    done, expected_done = len(blocks) - len(left), 0.0
    tasks = (images.task(block, device, expected[block.network.name]) for block in left)
    for task, part in _results(tasks, executor, work):
        block = task.block
        writer.block(block.key, str(stored.manifest["plan"]), part.records, part.candidates)
        done, expected_done = done + 1, expected_done + expected_seconds(block, measured)
        report(Progress(block, part.records, done, len(blocks), expected_done, whole))


def _ordered(blocks: Sequence[Block], measured: Costs) -> list[Block]:
    """Longest expected block first, so that the last ones end together; but a cheap one of each network before all.

    Those show within seconds that every network can be attacked, and the first numbers.
    """
    most_expensive_first = sorted(blocks, key=lambda block: expected_seconds(block, measured), reverse=True)
    cheapest = {block.network: block for block in most_expensive_first}
    rest = [block for block in most_expensive_first if block is not cheapest[block.network]]
    return [*cheapest.values(), *rest]


def _results(tasks: Iterable[Task], executor: Executor, work: Work) -> Iterator[tuple[Task, Part]]:
    """Every task with its part, as they are finished."""
    coming = (_Try(task) for task in tasks)
    retries: deque[_Try] = deque()
    pending: dict[Future[Part], _Try] = {}
    while True:
        # Tasks carry their images: only as many are made as the workers need.
        while len(pending) < executor.ahead:
            attempt = retries.popleft() if retries else next(coming, None)
            if attempt is None:
                break
            pending[executor.submit(work, attempt.task)] = attempt
        if not pending:
            return
        finished, _ = wait(pending, timeout=PATIENCE, return_when=FIRST_COMPLETED)
        if not finished:
            executor.revive()
        for future in finished:
            attempt = pending.pop(future)
            part, fault = _outcome(future)
            if fault is not None:
                following = attempt.following(fault)
                retries.extendleft(reversed(following))
                if following:
                    continue
                part = worker.failed(attempt.task, fault.status, fault.message)
            assert part is not None
            if attempt.pieces is None:
                yield attempt.task, part
                continue
            attempt.pieces.parts[attempt.task.block.images[0]] = part
            whole = attempt.pieces.whole()
            if whole is not None:
                yield attempt.pieces.task, whole


def _outcome(future: Future[Part]) -> tuple[Part | None, _Fault | None]:
    """A future's part, or why it has none.

    Raises:
        BenchError: the worker met an error that no other block would escape.
    """
    try:
        return future.result(), None
    except BenchError:
        raise
    except CancelledError:
        return None, _Fault(Status.ERROR, "the worker processes were lost", died=True)
    except TimeoutError as error:
        seconds = error.args[1] if len(error.args) > 1 else "its"
        return None, _Fault(Status.TIMEOUT, f"not finished within the limit of {seconds} seconds")
    except ProcessExpired as error:
        code = f" (exit code {error.exitcode})" if error.exitcode else ""
        message = f"the worker process died{code}"
        return None, _Fault(Status.ERROR, message, died=True)
    except Exception as error:
        return None, _Fault(Status.ERROR, " ".join(f"{type(error).__name__}: {error}".split()))
