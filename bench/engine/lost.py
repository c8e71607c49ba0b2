"""Lost work: what the machine, not the attack, kept from being computed. It is no result, and is computed again."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from bench.engine.task import Task
from bench.errors import BenchError, LostWork, cause, line

OWN_FAULTS = frozenset({signal.SIGSEGV, signal.SIGILL, signal.SIGFPE})
"""Signals that a process gets for what it did itself; the others may have been sent by anyone."""

TICK, ASLEEP = 1.0, 3.0
"""Seconds between two looks at the clock, and how much later than that a look may be in a process that was not stopped."""


class Crash(Exception):  # noqa: N818 - the error is the process's
    """The process ended by a fault of what it computed; the message says how."""


class OutOfTime(Exception):  # noqa: N818 - a limit is reached
    """The work was not finished within its time limit of ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not finished within the limit of {seconds} seconds")


Result = TypeVar("Result")


def attempt(work: Callable[[Task], Result], task: Task) -> Result:
    """``work(task)``, with what was no fault of the task's as :class:`LostWork`.

    Raises:
        LostWork: memory, disk, handles or modules were lacking.
        RuntimeError: the work tried to end the program.
        BenchError: the work's own.
    """
    try:
        return work(task)
    except SystemExit as error:
        raise RuntimeError(f"it tried to end the program: {line(error)}") from error
    except BenchError as error:
        if (reason := cause(error)) is not None:
            raise LostWork(reason) from error
        raise
    except Exception as error:
        # What attacks raise has become their record; this was raised round them.
        if (reason := cause(error)) is not None or isinstance(error, OSError | ImportError):
            raise LostWork(reason or line(error)) from error
        raise


def ended(code: int | None, *, at_work: bool) -> LostWork | Crash:
    """Why a worker process ended before its task.

    A signal that anyone may have sent, and any end under a limit of memory, is no fault of the task's.

    Args:
        code: the exit code; the negative number of a signal; None where it is not known.
        at_work: whether the task was being computed, and not taken or handed back.
    """
    if code is None:
        return LostWork("the worker process was lost")
    if code >= 0:
        how, own = f"the worker process ended itself with exit code {code}", at_work
    else:
        how, own = f"the worker process was ended by {_name(-code)}", at_work and -code in OWN_FAULTS
    return Crash(how) if own and not _memory_is_limited() else LostWork(how)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _memory_is_limited() -> bool:
    """Whether ``ulimit`` limits memory: libraries that get none seldom check it, and crash."""
    limits = (resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return any(limit != resource.RLIM_INFINITY for limit in limits)


class Absences:
    """How long this process did not run though time went on: the machine slept, the process was stopped, a clock was set.

    Time limits are of wall time; such a stretch is nobody's.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin to look at the clock, until :meth:`stop`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._last, self._missed = clock(), 0.0
        threading.Thread(target=self._watch, name="absences", daemon=True).start()

    @property
    def seconds(self) -> float:
        """All of them until now."""
        with self._lock:
            now = self._clock()
            late = now - self._last - TICK
            self._missed += late if late > ASLEEP else 0.0
            self._last = now
            return self._missed

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(TICK):
            _ = self.seconds
