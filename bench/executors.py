"""Where blocks are computed: worker processes on this machine, or in this process."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol

import numpy as np
import torch
from pebble import ProcessPool


class Limited(Protocol):
    """A task that says how long it may take."""

    @property
    def limit(self) -> float:
        """Seconds of wall time."""
        ...


def prepare() -> None:
    """Make a process a worker: one torch thread, no library noise, Ctrl-C left to the main process."""
    os.environ["TQDM_DISABLE"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a library warns of is the library's business; the judge looks at what it returns.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)


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

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args, **kwargs)`` now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the libraries draw from the global generator
    torch.manual_seed(seed)
