"""Where blocks are computed: in worker processes on this machine, or in this process (``bench.engine.cluster``: on others)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol

import torch
from pebble import ProcessPool
from threadpoolctl import threadpool_limits
from tqdm import tqdm


class Limited(Protocol):
    """A task that says how long it may take."""

    @property
    def limit(self) -> float:
        """Seconds of wall time."""
        ...


def single_threaded() -> None:
    """Give this process one thread for torch's and for NumPy's arithmetic: every core has a process of its own.

    It also makes sums round alike on machines with other numbers of cores.
    """
    # Libraries that are loaded already are told so, those that come later read it from the environment.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    threadpool_limits(limits=1)
    torch.set_num_threads(1)


def settle() -> None:
    """Make a process single-threaded and silence the libraries: what they warn of, the judge sees in what they return."""
    os.environ["TQDM_DISABLE"] = "1"
    # tqdm shares a lock between processes, which one that is ended from outside would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    warnings.simplefilter("ignore")
    single_threaded()


def prepare() -> None:
    """Make a process a local worker, which leaves Ctrl-C to the main process and ends with it."""
    settle()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run leaves no worker behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


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
        # Spawned, not forked: a forked copy of torch's and numba's thread pools may deadlock.
        self._pool = ProcessPool(workers, initializer=prepare, context=multiprocessing.get_context("spawn"))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue ``fn(*args, **kwargs)``; the first argument that has a ``limit`` sets the time limit."""
        limit = next((argument.limit for argument in args if hasattr(argument, "limit")), None)
        future: Future[Any] = self._pool.schedule(fn, args=args, kwargs=kwargs, timeout=limit)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: after the queued tasks, or at once with ``cancel_futures``."""
        if cancel_futures:
            self._pool.stop()
        else:
            self._pool.close()
        if wait:
            self._pool.join()


class InlineExecutor(Executor):
    """Runs each task at once in this process, without a time limit: for tests and debuggers."""

    def __init__(self) -> None:
        """Make this process single-threaded."""
        single_threaded()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
