"""Where tasks are computed: in worker processes on this machine, or in this process (``bench.engine.cluster``: on others)."""

from __future__ import annotations

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
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from multiprocessing import popen_spawn_posix, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from pebble import ProcessExpired, ProcessPool
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import MachineError

Work = Callable[[Task], Part]

REVIVALS = 5
"""How often worker processes are started anew after all of them were lost."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Executor(ABC):
    """Computes tasks, each in its own time."""

    @property
    @abstractmethod
    def ahead(self) -> int:
        """How many tasks to hand over at once, so that no worker waits: more would only take memory."""

    @abstractmethod
    def submit(self, work: Work, task: Task) -> Future[Part]:
        """Queue ``work(task)``."""

    def revive(self) -> None:  # noqa: B027 - a cluster looks after its workers, and this process needs none
        """Begin again where workers can no longer be used; tasks that were theirs end as lost.

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

    A task that exceeds its limit has its process killed and its future raises ``TimeoutError``; a task whose
    process dies raises ``pebble.ProcessExpired``. Other tasks go on in either case.
    """

    def __init__(self, workers: int) -> None:
        """Start the processes when the first task comes.

        Args:
            workers: how many, at least 1.
        """
        self._workers = workers
        self._folder = Path(tempfile.mkdtemp(prefix="bench-tasks-"))
        self._pool = self._new_pool()
        self._open: set[Future[Part]] = set()
        self._revivals = 0

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(self._workers, initializer=prepare_worker, context=_Context())

    @property
    def ahead(self) -> int:
        """Two for each worker, and some."""
        return 2 * self._workers + 2

    def submit(self, work: Work, task: Task) -> Future[Part]:
        """Queue ``work(task)`` with the task's time limit."""
        # Tasks carry images. Through a file, what goes through the pool's pipe stays so small that it is written whole or
        # not at all: a worker that is killed while it reads would leave the others waiting for the rest.
        file = self._folder / secrets.token_hex(8)
        file.write_bytes(pickle.dumps(task))
        future = self._scheduled(work, str(file), task.limit)
        self._open.add(future)

        def ended(done: Future[Part]) -> None:
            self._open.discard(done)
            file.unlink(missing_ok=True)

        future.add_done_callback(ended)
        return future

    def _scheduled(self, work: Work, file: str, limit: float) -> Future[Part]:
        while True:
            self.revive()
            try:
                future: Future[Part] = self._pool.schedule(_compute, args=(work, file), timeout=limit)
            except RuntimeError:
                # The pool broke after it was looked at; reviving ends with an error when that happens too often.
                if self._pool.active:
                    raise
            else:
                return future

    def revive(self) -> None:
        """Start new processes where the pool broke, as it does when a process is killed while it starts."""
        if self._pool.active:
            return
        if self._revivals == REVIVALS:
            raise MachineError(
                f"worker processes were lost {REVIVALS + 1} times; look for a lack of memory, and go on with --resume and "
                "fewer --workers"
            )
        self._revivals += 1
        lost, broken = list(self._open), self._pool
        self._open.clear()
        self._pool = self._new_pool()
        broken.stop()
        broken.join()
        for future in lost:
            # Whoever waits for it tries it again; it may have ended meanwhile.
            with suppress(InvalidStateError):
                future.set_exception(ProcessExpired("the pool of worker processes broke"))

    def shutdown(self, *, cancel: bool = False) -> None:
        """End the processes: after the queued tasks, or at once with ``cancel``."""
        if cancel:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _compute(work: Work, file: str) -> Part:
    """Compute the task that a file of this program's own holds."""
    return work(pickle.loads(Path(file).read_bytes()))  # noqa: S301 - written by the process that started this one


class InlineExecutor(Executor):
    """Runs each task at once in this process, without a time limit: for small runs, tests and debuggers."""

    def __init__(self) -> None:
        """Give this process one thread for arithmetic, until :meth:`shutdown`."""
        self._threads = torch.get_num_threads()
        self._limits = threadpool_limits(limits=1)
        torch.set_num_threads(1)

    @property
    def ahead(self) -> int:
        """One: what is computed is stored before more is."""
        return 1

    def submit(self, work: Work, task: Task) -> Future[Part]:
        """Run ``work(task)`` now."""
        future: Future[Part] = Future()
        try:
            with _quiet():
                future.set_result(work(task))
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
    """Give this process one thread for torch's and for NumPy's arithmetic, and silence the libraries.

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


def prepare_worker() -> None:
    """Make a process a local worker, which leaves Ctrl-C to the main process and ends with it."""
    prepare()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run leaves no worker behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _Process(SpawnProcess):
    """A process that does not import the program that started it: a script need not guard its main part."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's name
        with _STARTING:
            prepared = spawn.get_preparation_data
            spawn.get_preparation_data = _without_main
            try:
                return popen_spawn_posix.Popen(process_obj)
            finally:
                spawn.get_preparation_data = prepared


class _Context(SpawnContext):
    """Spawned, not forked: a forked copy of torch's and numba's thread pools may deadlock."""

    Process = _Process


_STARTING = threading.Lock()
_PREPARATION_DATA = spawn.get_preparation_data


def _without_main(name: str) -> dict[str, object]:
    content: dict[str, object] = dict(_PREPARATION_DATA(name))
    return {key: value for key, value in content.items() if not key.startswith("init_main")}
