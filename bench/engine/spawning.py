"""The worker processes of this machine: how they are started, prepared, and kept small."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import popen_spawn_posix, resource_tracker, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bench.engine import devices
from bench.errors import MachineError, line
from bench.process import tolerate_streams

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

KERNELS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""How many compiled convolutions torch keeps, each with memory of its own: 1,024 where nothing is said."""

MALLOC = {-3: 8 * 2**20, -1: 64 * 2**20}
"""Settings of glibc's ``mallopt``: blocks of this size are given back when they are freed (M_MMAP_THRESHOLD), and the end
of the heap when so much of it is free (M_TRIM_THRESHOLD). Both grow with what a program frees where they are not set."""

STDERR = "BENCH_STDERR"
"""Says to a worker process where its standard error goes once it has started."""


def track_resources() -> None:
    """Start the process in which multiprocessing counts what is shared, so that no signal of a terminal ends it early."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    except OSError as error:
        raise MachineError(f"no process can be started: {line(error)}; see that limits (ulimit) leave room") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def prepare() -> None:
    """Give this process one thread for torch's and for NumPy's arithmetic, little memory to keep, and silence the libraries.

    Every core has a process of its own, and sums round alike on machines with other numbers of cores. What the libraries
    warn of, the judge sees in what they return.
    """
    os.environ["TQDM_DISABLE"] = "1"
    # tqdm shares a lock between processes, which one that is ended from outside would leave behind, with a warning.
    tqdm.set_lock(threading.RLock())
    warnings.simplefilter("ignore")
    # Loaded libraries get the setting by a call, those that come later read it from the environment.
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


def prepare_worker(folder: Path, workers: int, cuda: int) -> None:
    """Make a process a local worker, which leaves Ctrl-C to the main process and ends with it.

    Args:
        folder: the workers' own.
        workers: how many there are.
        cuda: how many CUDA devices they share; 0 for none.
    """
    tolerate_streams()
    prepare()
    if cuda:
        devices.take(folder, workers, cuda)
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


def code(exitcode: int) -> int:
    """A worker's exit code as the system has it."""
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


class Context(SpawnContext):
    """Spawned, not forked: a forked copy of torch's and numba's thread pools may deadlock."""

    def __init__(self, stderr: Path, kernels: int) -> None:
        """Make a context.

        Args:
            stderr: file for what processes say until they have started: where they cannot, the error has it in a line.
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
