"""Where tasks are computed: in worker processes on this machine, or in this process (``bench.engine.cluster``: on others)."""

from __future__ import annotations

import ctypes
import math
import os
import pickle
import secrets
import shutil
import signal
import tempfile
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import popen_spawn_posix, resource_tracker, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from pebble import ProcessExpired, ProcessPool
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bench.engine.lost import Absences, OutOfTime, attempt, ended
from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import LostWork, MachineError, line
from bench.process import tolerate_streams

Work = Callable[[Task], Part]

AT_WORK = ".at-work"
"""Ends the name of the file that is there while a task is computed."""

ATTACKING = "attacking"
"""What a run says that it does when its workers are at work."""

REVIVALS = 5
"""How often worker processes are started anew, after all of them were lost, without a task finished in between."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""How many compiled convolutions torch keeps, each with memory of its own: 1,024 where nothing is said."""

MALLOC = {-3: 8 * 2**20, -1: 64 * 2**20}
"""Settings of glibc's ``mallopt``: blocks of this size are given back when they are freed (M_MMAP_THRESHOLD), and the end
of the heap when so much of it is free (M_TRIM_THRESHOLD). Both grow with what a program frees where they are not set."""

STDERR = "BENCH_STDERR"
"""Says to a worker process where its standard error goes once it has started."""


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

    def __init__(self, workers: int, tell: Callable[[str], None] = lambda _: None, kernels: int = 64) -> None:
        """Start the processes when the first task comes.

        Args:
            workers: how many, at least 1.
            tell: called when they are at work.
            kernels: how many compiled convolutions each keeps: attacks call with ever other numbers of images, and for
                each number every layer of a network is compiled anew.

        Raises:
            MachineError: no temporary folder can be made.
        """
        self._workers = workers
        self._kernels = kernels
        self._tell: Callable[[str], None] | None = tell
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="bench-tasks-"))
        except OSError as error:
            raise _no_room(error) from error
        _track_resources()
        self._absences = Absences()
        self._open: set[Future[Part]] = set()
        self._revivals = 0
        self._alone = False
        self._cause = ""
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        context = _Context(self._folder / "stderr", self._kernels)
        return ProcessPool(1 if self._alone else self._workers, initializer=prepare_worker, context=context)

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
            raise _no_room(error) from error
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
            return ended(None if error.exitcode is None else _code(error.exitcode), at_work=at_work)
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


def _track_resources() -> None:
    """Start the process in which multiprocessing counts what is shared, so that no signal of a terminal ends it early."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    except OSError as error:
        raise MachineError(f"no process can be started: {line(error)}; see that limits (ulimit) leave room") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end(pool: ProcessPool, *, cancel: bool) -> None:
    """End a pool, also one that never began or that broke."""
    with suppress(BrokenExecutor, OSError, RuntimeError):
        (pool.stop if cancel else pool.close)()
        pool.join()


def _no_room(error: OSError) -> MachineError:
    return MachineError(f"no temporary file can be written: {line(error)}; set TMPDIR to a folder with room")


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


def prepare() -> None:
    """Give this process one thread for torch's and for NumPy's arithmetic, little memory to keep, and silence the libraries.

    Every core has a process of its own, and sums round alike on machines with other numbers of cores. What the libraries
    warn of, the judge sees in what they return.
    """
    os.environ["TQDM_DISABLE"] = "1"
    # tqdm shares a lock between processes, which one that is ended from outside would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    warnings.simplefilter("ignore")
    # Libraries that are loaded already are told so, those that come later read it from the environment.
    os.environ |= dict.fromkeys(THREADS, "1")
    threadpool_limits(limits=1)
    torch.set_num_threads(1)
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for setting, value in MALLOC.items():
            library.mallopt(setting, value)


def trim() -> None:
    """Give memory that is free in this process back to the system, where the C library can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def prepare_worker() -> None:
    """Make a process a local worker, which leaves Ctrl-C to the main process and ends with it."""
    tolerate_streams()
    prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # As for every other program: the exit code says that it was a signal.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if (kept := os.environ.pop(STDERR, None)) is not None:
        os.dup2(int(kept), 2)
        os.close(int(kept))


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run leaves no worker behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


QUIETLY_ENDED = 256
"""In place of exit code 0, which pebble takes for the end of a worker that had nothing to do."""


def _code(exitcode: int) -> int:
    return 0 if exitcode == QUIETLY_ENDED else exitcode


class _Process(SpawnProcess):
    """A process that does not import the program that started it: a script need not guard its main part."""

    def __init__(self, *arguments: Any, first: str, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.first = first

    @property
    def exitcode(self) -> int | None:
        """As of every process, but never 0."""
        code = super().exitcode
        return QUIETLY_ENDED if code == 0 else code

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's name
        with _STARTING:
            prepared, command = spawn.get_preparation_data, spawn.get_command_line
            spawn.get_preparation_data = _without_main
            spawn.get_command_line = partial(_command, command, process_obj.first)
            # The process has these signals of the terminal blocked from its first moment on.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return popen_spawn_posix.Popen(process_obj)
            except Exception as error:
                # Pebble takes an error of the system for a process that cannot be had.
                raise OSError(line(error)) from error
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                spawn.get_preparation_data, spawn.get_command_line = prepared, command


class _Context(SpawnContext):
    """Spawned, not forked: a forked copy of torch's and numba's thread pools may deadlock."""

    def __init__(self, stderr: Path, kernels: int) -> None:
        """Make a context.

        Args:
            stderr: file for what processes say until they have started: where they cannot, it is told in a line.
            kernels: how many compiled convolutions they keep.
        """
        super().__init__()
        # What torch reads from the environment when it is loaded has to be there before.
        first = (
            f"import os\nos.environ |= {dict.fromkeys(KERNELS, str(kernels))}\n"
            f"try:\n os.environ[{STDERR!r}] = str(os.dup(2))\n"
            f" os.dup2(os.open({str(stderr)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)\nexcept OSError:\n pass\n"
        )
        self.Process = partial(_Process, first=first)  # type: ignore[assignment,misc]  # a class, for multiprocessing


_STARTING = threading.Lock()
_PREPARATION_DATA = spawn.get_preparation_data


def _without_main(name: str) -> dict[str, object]:
    content: dict[str, object] = dict(_PREPARATION_DATA(name))
    return {key: value for key, value in content.items() if not key.startswith("init_main")}


def _command(made: Callable[..., list[str]], first: str, **named: Any) -> list[str]:
    """The command of a new process, with what it does first: :func:`prepare_worker` gives standard error back."""
    words = made(**named)
    place = words.index("-c") + 1
    words[place] = first + words[place]
    return words
