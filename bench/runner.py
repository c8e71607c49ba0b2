"""The runner: a plan's blocks to an executor, their parts to the store; faults cost their block only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field

from pebble import ProcessExpired

from bench import worker
from bench.errors import BenchError
from bench.plan import Block, Plan, costs, expected_seconds
from bench.records import Record, Status
from bench.store import Run, Writer
from bench.worker import Part


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

    block: Block
    parts: dict[int, Part] = field(default_factory=dict)

    def whole(self) -> Part | None:
        """The block's part once every piece is there."""
        if len(self.parts) < len(self.block.images):
            return None
        ordered = [self.parts[image] for image in self.block.images]
        records = tuple(record for part in ordered for record in part.records)
        return Part(records, {image: c for part in ordered for image, c in part.candidates.items()})


def run(
    plan: Plan,
    stored: Run,
    writer: Writer,
    executor: Executor,
    *,
    report: Callable[[Progress], None] = lambda _: None,
    work: Callable[[Block], Part] = worker.run,
) -> None:
    """Compute every block of a plan that is not stored yet, and store it.

    Blocks go to the executor longest expected first. A block whose process dies, or that exceeds its time limit,
    is tried once more one image at a time; what fails again is recorded as ``error`` or ``timeout``.

    Args:
        plan: what to do.
        stored: the run's folder as it is.
        writer: the same folder, for writing.
        executor: where ``work`` is called.
        report: called after each stored block.
        work: what computes a block.

    Raises:
        BenchError: the store refuses, or a worker cannot load the network or the data.
    """
    measured = costs()
    blocks = plan.blocks()
    left = sorted(
        (block for block in blocks if block.key not in stored.finished),
        key=lambda block: expected_seconds(block, measured),
        reverse=True,
    )
    expected = sum(expected_seconds(block, measured) for block in left)
    done, expected_done = len(blocks) - len(left), 0.0
    for block, part in _results(left, executor, work):
        writer.block(block.key, str(stored.manifest["plan"]), part.records, part.candidates)
        done, expected_done = done + 1, expected_done + expected_seconds(block, measured)
        report(Progress(block, part.records, done, len(blocks), expected_done, expected))


def _results(
    blocks: Sequence[Block], executor: Executor, work: Callable[[Block], Part]
) -> Iterator[tuple[Block, Part]]:
    """Every block with its part, as they are finished."""
    pending: dict[Future[Part], tuple[Block, _Pieces | None]] = {
        executor.submit(work, block): (block, None) for block in blocks
    }
    while pending:
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            block, pieces = pending.pop(future)
            part, fault = _outcome(future)
            if part is None and pieces is None and len(block.images) > 1:
                pieces = _Pieces(block)
                pending |= {executor.submit(work, piece): (piece, pieces) for piece in block.singly()}
                continue
            if part is None and pieces is None:
                # A block of one image gets its second chance as well.
                pending[executor.submit(work, block)] = (block, _Pieces(block))
                continue
            if part is None:
                assert fault is not None
                part = worker.failed(block, *fault)
            if pieces is None:
                yield block, part
                continue
            pieces.parts[block.images[0]] = part
            whole = pieces.whole()
            if whole is not None:
                yield pieces.block, whole


def _outcome(future: Future[Part]) -> tuple[Part | None, tuple[Status, str] | None]:
    """A future's part, or the status and reason of its failure.

    Raises:
        BenchError: the worker met an error that no other block would escape.
    """
    try:
        return future.result(), None
    except BenchError:
        raise
    except TimeoutError as error:
        seconds = error.args[1] if len(error.args) > 1 else "its"
        return None, (Status.TIMEOUT, f"not finished within the limit of {seconds} seconds")
    except ProcessExpired as error:
        return None, (Status.ERROR, f"the worker process died (exit code {error.exitcode})")
    except Exception as error:
        return None, (Status.ERROR, " ".join(f"{type(error).__name__}: {error}".split()))
