"""Blocks on a Dask cluster: an extra, ``pip install '.[cluster]'``."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import distributed

from bench.engine.executors import Executor, Work, prepare
from bench.engine.task import Task
from bench.engine.worker import Part
from bench.errors import UsageError


def connect(scheduler: str | None, workers: int) -> Executor:
    """An executor on a Dask cluster.

    A task whose worker is lost is given to another one. Dask cannot stop a running task, so time limits do not hold.

    Args:
        scheduler: ``tcp://host:port`` of a running scheduler, whose workers have one thread each; None starts a
            cluster of processes on this machine.
        workers: processes of that local cluster, at least 1.

    Raises:
        UsageError: no scheduler answers, or a worker has several threads.
    """
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
    return _DaskExecutor(client)


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

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)

    @property
    def ahead(self) -> int:
        """Two for each worker that there is now, and some for those to come."""
        return 2 * len(self._client.scheduler_info(n_workers=-1)["workers"]) + 8

    def submit(self, work: Work, task: Task) -> Future[Part]:
        """Queue ``work(task)`` on the cluster."""
        future: Future[Part] = self._executor.submit(work, task)
        return future

    def shutdown(self, *, cancel: bool = False) -> None:
        """Leave the cluster; one that was started here ends."""
        self._executor.shutdown(wait=not cancel)
        self._client.close()
