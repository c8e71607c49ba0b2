"""Blocks on a Dask cluster: an extra, ``pip install '.[cluster]'``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any

import distributed

from bench.engine.executors import ATTACKING, Executor, Work
from bench.engine.lost import attempt
from bench.engine.spawning import prepare, trim
from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import BenchError, LostWork, MachineError, UsageError, line

WAIT = 300.0
"""Seconds without any worker, or without the scheduler, after which a run stops."""


def connect(scheduler: str | None, workers: int, tell: Callable[[str], None] = lambda _: None) -> Executor:
    """An executor on a Dask cluster.

    A task whose worker is lost is given to another one. Dask cannot stop a running task, so time limits do not hold.

    Args:
        scheduler: ``tcp://host:port`` of a running scheduler, whose workers have one thread each; None starts a
            cluster of processes on this machine.
        workers: processes of that local cluster, at least 1.
        tell: called with what is waited for.

    Raises:
        UsageError: no scheduler answers, or a worker has several threads.
    """
    # It logs every lost connection with a traceback; what that means for the run, the run says.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        client = (
            distributed.Client(scheduler, timeout="15s")
            if scheduler is not None
            else distributed.Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--scheduler {scheduler} does not answer ({error}); start one with 'dask scheduler'"
        ) from error
    threads = {name: info["nthreads"] for name, info in client.scheduler_info(n_workers=-1)["workers"].items()}
    crowded = sorted(name for name, count in threads.items() if count != 1)
    if crowded:
        client.close()
        raise UsageError(
            f"Dask worker {crowded[0]} has {threads[crowded[0]]} threads; a block seeds its whole process, so start "
            "workers with 'dask worker --nthreads 1 --nworkers auto'"
        )
    client.register_plugin(_Prepared())
    return _DaskExecutor(client, tell)


class _Prepared(distributed.WorkerPlugin):
    """A Dask worker plugin: every worker, also one that comes later, is prepared before its first task."""

    name = "prepared"

    def setup(self, worker: Any) -> None:
        """Prepare the worker's process, or refuse it."""
        if worker.state.nthreads != 1:
            raise ValueError("start workers with --nthreads 1")
        prepare()


class _DaskExecutor(Executor):
    """Tasks on a Dask cluster, none of them taken for another with equal arguments."""

    def __init__(self, client: distributed.Client, tell: Callable[[str], None]) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._tell = tell
        self._address = str(getattr(client.scheduler, "address", "this machine"))
        self._lonely_since: float | None = None

    @property
    def workers(self) -> int:
        """As many as there are now."""
        return max(self._count(), 1)

    @property
    def ahead(self) -> int:
        """Two for each worker that there is now, and some for those to come."""
        return 2 * self._count() + 8

    def submit(self, work: Work, task: Task, *, alone: bool = False) -> Future[Part]:  # noqa: ARG002 - a worker is enough
        """Queue ``work(task)`` on the cluster."""
        self.revive()
        future: Future[Part] = Future()

        def came(done: Future[Part]) -> None:
            with suppress(InvalidStateError):
                try:
                    future.set_result(done.result())
                except BaseException as error:
                    future.set_exception(_reason(error))

        try:
            self._executor.submit(_compute, work, task).add_done_callback(came)
        except Exception as error:
            self.revive()
            future.set_exception(LostWork(line(error)))
        return future

    def revive(self) -> None:
        """See whether the scheduler and any worker are there, and say what is waited for."""
        now = time.monotonic()
        if self._client.status in ("closed", "closing"):
            raise MachineError(
                f"the Dask scheduler at {self._address} was lost; start it again, with workers, and go on with --resume"
            )
        connected = self._client.status == "running"
        if connected and self._count():
            if self._lonely_since is not None:
                self._tell(ATTACKING)
            self._lonely_since = None
            return
        begun = self._lonely_since is None
        self._lonely_since = self._lonely_since or now
        what = "workers at" if connected else "the scheduler at"
        if begun:
            self._tell(f"waiting for {what} {self._address}, at most {WAIT:.0f} seconds")
        if now - self._lonely_since > WAIT:
            raise MachineError(
                f"no {what.removeprefix('the ')} {self._address} for {WAIT:.0f} seconds; start 'dask worker "
                f"{self._address} --nthreads 1 --nworkers auto' and go on with --resume"
            )

    def shutdown(self, *, cancel: bool = False) -> None:
        """Leave the cluster; one that was started here ends."""
        # A client whose scheduler is gone raises whatever it likes, and there is nothing more to end.
        with suppress(Exception):
            self._executor.shutdown(wait=not cancel)
        with suppress(Exception):
            self._client.close(timeout=10)

    def _count(self) -> int:
        """How many workers there are."""
        try:
            return len(self._client.scheduler_info(n_workers=-1).get("workers", {}))
        except Exception:
            return 0


def _compute(work: Work, task: Task) -> Part:
    """Compute a task in a worker of the cluster."""
    try:
        return attempt(work, task)
    finally:
        trim()


def _reason(error: BaseException) -> BaseException:
    """Why a task has no part: what its work raised, or how it was lost."""
    if isinstance(error, BenchError | LostWork):
        return error
    if isinstance(error, distributed.KilledWorker):
        return LostWork("the Dask worker processes were lost")
    # What work raises of these kinds has become lost work already.
    if isinstance(error, CancelledError | OSError | MemoryError):
        return LostWork(f"the Dask cluster lost it ({line(error)})")
    return error if isinstance(error, Exception) else LostWork(line(error))
