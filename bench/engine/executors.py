"""Where tasks are computed: in worker processes on this machine, or in this process (``bench.engine.cluster``: on others)."""

from __future__ import annotations

import math
import pickle
import secrets
import shutil
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from pebble import ProcessExpired, ProcessPool
from threadpoolctl import threadpool_limits

from bench.engine.lost import Absences, OutOfTime, attempt, ended
from bench.engine.spawning import Context, code, prepare_worker, track_resources, trim
from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import LostWork, MachineError, line, no_room

Work = Callable[[Task], Part]

AT_WORK = ".at-work"
"""Ends the name of the file that is there while a task is computed."""

ATTACKING = "attacking"
"""What a run says that it does when its workers are at work."""

REVIVALS = 5
"""How often worker processes are started anew, after all of them were lost, without a task finished in between."""


class Executor(ABC):
    """Computes tasks, each in its own time.

    A task's future raises :class:`~bench.engine.lost.LostWork`, :class:`~bench.engine.lost.Crash` or
    :class:`~bench.engine.lost.OutOfTime` where it was not computed, and else what ``work`` raises.
    """

    @property
    @abstractmethod
    def workers(self) -> int:
        """How many tasks are computed at once, at least 1."""

    @property
    @abstractmethod
    def ahead(self) -> int:
        """How many tasks to hand over at once, so that no worker waits: more would only take memory."""

    @abstractmethod
    def submit(self, work: Work, task: Task, *, alone: bool = False) -> Future[Part]:
        """Queue ``work(task)``.

        Args:
            work: what computes.
            task: what is computed.
            alone: in a fresh process with none beside it, where the executor can; no other task may be pending then.

        Raises:
            MachineError: there is no worker for it, and none will come.
        """

    def revive(self) -> None:  # noqa: B027 - this process needs none
        """Look after the workers: begin again where they can no longer be used; tasks that were theirs end as lost.

        Raises:
            MachineError: that happened too often.
        """

    @abstractmethod
    def shutdown(self, *, cancel: bool = False) -> None:
        """End: after the queued tasks, or at once with ``cancel``."""

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, at once if something was raised."""
        self.shutdown(cancel=error is not None)


class LocalExecutor(Executor):
    """Worker processes with a time limit for each task.

    A task that exceeds its limit has its process killed. Other tasks go on then, and when a process dies.
    """

    def __init__(
        self, workers: int, tell: Callable[[str], None] = lambda _: None, kernels: int = 64, devices: int = 0
    ) -> None:
        """Start the processes when the first task comes.

        Args:
            workers: how many, at least 1.
            tell: called when they are at work.
            kernels: how many compiled convolutions each keeps: attacks call with ever other numbers of images, and for
                each number every layer of a network is compiled anew.
            devices: how many CUDA devices they share, each process with one of them; 0 for none.

        Raises:
            MachineError: no temporary folder can be made.
        """
        self._workers = workers
        self._kernels = kernels
        self._devices = devices
        self._tell: Callable[[str], None] | None = tell
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="bench-tasks-"))
        except OSError as error:
            raise no_room(error) from error
        track_resources()
        self._absences = Absences()
        self._open: set[Future[Part]] = set()
        self._revivals = 0
        self._alone = False
        self._cause = ""
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        context = Context(self._folder / "stderr", self._kernels)
        initargs = (self._folder, self._workers, self._devices)
        return ProcessPool(
            1 if self._alone else self._workers, initializer=prepare_worker, initargs=initargs, context=context
        )

    @property
    def workers(self) -> int:
        """As many as processes."""
        return self._workers

    @property
    def ahead(self) -> int:
        """Two for each worker, and some."""
        return 2 * self._workers + 2

    def submit(self, work: Work, task: Task, *, alone: bool = False) -> Future[Part]:
        """Queue ``work(task)`` with the task's time limit."""
        if alone or self._alone:
            self._alone = alone
            self._renew()
        # Tasks carry images, and parts examples. Through files, what goes through the pool's pipes stays so small that it
        # is written whole or not at all: a worker that is killed in the middle would leave the others waiting for the rest.
        file = self._folder / secrets.token_hex(8)
        try:
            file.write_bytes(pickle.dumps(task))
        except OSError as error:
            raise no_room(error) from error
        future: Future[Part] = Future()
        absent = self._absences.seconds

        def came(done: Future[str]) -> None:
            at_work = _marker(file).exists()
            answer: Part | BaseException
            try:
                answer = pickle.loads(Path(done.result()).read_bytes())  # noqa: S301 - a worker of ours wrote it
            except BaseException as error:
                answer = self._reason(error, at_work=at_work, absent=absent)
            self._open.discard(future)
            with suppress(InvalidStateError):
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    self._revivals = 0
                    future.set_result(answer)
            with suppress(OSError):
                for used in (file, _marker(file), _answer(file)):
                    used.unlink(missing_ok=True)

        self._open.add(future)
        self._scheduled(work, str(file), task.limit).add_done_callback(came)
        return future

    def _reason(self, error: BaseException, *, at_work: bool, absent: float) -> BaseException:
        """Why a task has no part, of what the pool says."""
        if isinstance(error, ProcessExpired):
            return ended(None if error.exitcode is None else code(error.exitcode), at_work=at_work)
        if isinstance(error, BrokenExecutor | CancelledError):
            return LostWork("the worker processes were lost")
        if isinstance(error, TimeoutError):
            missed = self._absences.seconds - absent
            if missed > 0:
                return LostWork(
                    f"its time ran out while the machine slept or its clock was set, for {missed:.0f} seconds"
                )
            return OutOfTime(error.args[1] if len(error.args) > 1 else math.nan)
        # What work raised is in the file; this is of the ways to and from the worker.
        return LostWork(line(error))

    def _scheduled(self, work: Work, file: str, limit: float) -> Future[str]:
        while True:
            self.revive()
            try:
                future: Future[str] = self._pool.schedule(_compute, args=(work, file), timeout=limit)
            except RuntimeError:
                # The pool broke after it was looked at; reviving ends with an error when that happens too often.
                if self._pool.active:
                    raise
            else:
                return future

    def revive(self) -> None:
        """Start new processes where the pool broke, as it does when a process is killed while it starts."""
        if self._tell is not None and any(self._folder.glob(f"*{AT_WORK}")):
            self._tell(ATTACKING)
            self._tell = None
        while not self._active():
            if self._revivals == REVIVALS:
                raise MachineError(
                    f"worker processes were lost {REVIVALS + 1} times without a result in between{self._last_words()}; see "
                    "that there is memory, and that limits on memory, processes and open files (ulimit) leave room; go on "
                    "with --resume and fewer --workers"
                )
            self._revivals += 1
            self._renew()

    def _active(self) -> bool:
        """Whether the pool can be used; its processes are started where they were not."""
        try:
            return bool(self._pool.active)
        except (BrokenExecutor, OSError, MemoryError, RuntimeError) as error:
            self._cause = line(error.__cause__ or error)
            return False

    def _renew(self) -> None:
        """New processes in place of the old; tasks that were theirs end as lost."""
        lost, old = list(self._open), self._pool
        self._open.clear()
        self._pool = self._new_pool()
        _end(old, cancel=True)
        for future in lost:
            # It may have ended meanwhile.
            with suppress(InvalidStateError):
                future.set_exception(LostWork("the worker processes were lost"))

    def _last_words(self) -> str:
        """Why the last process could not start, as far as it is known."""
        words = self._cause
        with suppress(OSError):
            said = (self._folder / "stderr").read_text(errors="replace").split("\n")
            words = next((text.strip() for text in reversed(said) if text.strip()), words)
        return f" ({words[:300]})" if words else ""

    def shutdown(self, *, cancel: bool = False) -> None:
        """End the processes: after the queued tasks, or at once with ``cancel``."""
        _end(self._pool, cancel=cancel)
        self._absences.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _end(pool: ProcessPool, *, cancel: bool) -> None:
    """End a pool, also one that never began or that broke."""
    with suppress(BrokenExecutor, OSError, RuntimeError):
        (pool.stop if cancel else pool.close)()
        pool.join()


def _compute(work: Work, file: str) -> str:
    """Compute the task that a file holds, and put into another one what came of it: a part, or what was raised."""
    path = Path(file)
    answer: Part | Exception
    try:
        task: Task = pickle.loads(path.read_bytes())  # noqa: S301 - written by the process that started this one
        _marker(path).touch()
    except Exception as error:
        answer = LostWork(line(error))
    else:
        try:
            answer = attempt(work, task)
        except KeyboardInterrupt:
            answer = LostWork("the worker process was interrupted")
        except Exception as error:
            answer = error if _travels(error) else RuntimeError(line(error))
    _answer(path).write_bytes(pickle.dumps(answer))
    _marker(path).unlink(missing_ok=True)
    trim()
    return str(_answer(path))


def _marker(file: Path) -> Path:
    """The file that is there while a task is computed."""
    return file.with_suffix(AT_WORK)


def _answer(file: Path) -> Path:
    """The file for what came of a task."""
    return file.with_suffix(".answer")


def _travels(error: Exception) -> bool:
    """Whether an exception can be written and read."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - written here
    except Exception:
        return False
    return True


class InlineExecutor(Executor):
    """Runs each task at once in this process, without a time limit: for small runs, tests and debuggers."""

    def __init__(self) -> None:
        """Give this process one thread for arithmetic, until :meth:`shutdown`."""
        self._threads = torch.get_num_threads()
        self._limits = threadpool_limits(limits=1)
        torch.set_num_threads(1)

    @property
    def workers(self) -> int:
        """One."""
        return 1

    @property
    def ahead(self) -> int:
        """One: what is computed is stored before more is."""
        return 1

    def submit(self, work: Work, task: Task, *, alone: bool = False) -> Future[Part]:  # noqa: ARG002 - it always is
        """Run ``work(task)`` now."""
        future: Future[Part] = Future()
        try:
            with _quiet():
                future.set_result(attempt(work, task))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, *, cancel: bool = False) -> None:  # noqa: ARG002 - nothing is queued here
        """Give this process its threads back."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the libraries: what they warn of, the judge sees in what they return."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
