"""Where a run computes: CUDA devices shared out among workers, and kernels that give the same numbers every time."""

from __future__ import annotations

import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.errors import UsageError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS reads before its first product; with this setting its sums are the same every time."""


def usable(name: str) -> str:
    """The device of a name; ``auto`` is ``cuda`` where there is a CUDA device, else the CPU.

    ``cuda`` is all of them: each worker has one. ``cuda:1`` is that one.

    Raises:
        UsageError: it cannot be used here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not name:
        raise UsageError("--device is empty; give auto, cpu, cuda, or cuda:1")
    try:
        # A device without values, such as ``meta``, cannot give one back.
        torch.zeros(1, device=torch.device(name)).item()
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}; cpu always can") from error
    return name


def shared_out(device: str) -> int:
    """How many CUDA devices the workers of a run share: all of them for ``cuda``; 0 for any other device.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
    """
    where = torch.device(device)
    return torch.cuda.device_count() if where.type == "cuda" and where.index is None else 0


def workers(device: str, cores: int) -> int:
    """How many workers a run has where nobody says it: one for each core, or for each device that is no CPU.

    Args:
        device: where they compute.
        cores: of this machine.
    """
    return cores if torch.device(device).type == "cpu" else max(1, shared_out(device))


def take(folder: Path, places: int, devices: int) -> int:
    """Take the first free place among those of the workers, and its CUDA device, until this process ends.

    ``cuda`` then means that device in this process. A worker that comes for one that ended takes its place.

    Args:
        folder: the same for all workers of a run.
        places: how many workers there are.
        devices: how many CUDA devices they share, at least 1.

    Returns:
        The index of the device. Where all places are taken, as while a process ends, that of any.

    Raises:
        OSError: nothing can be written to the folder.
    """
    chosen = os.getpid()
    for place in range(places):
        # Never closed: the system frees the place when the process ends, however that happens.
        file = os.open(folder / f"place-{place}", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        chosen = place
        break
    torch.cuda.set_device(chosen % devices)
    return chosen % devices


def now(device: torch.device | str) -> float:
    """The time in seconds, when all that the device was asked to do is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Let CUDA compute with kernels that give the same numbers every time, and with all bits of float32.

    Where there is no such kernel for an operation, another one computes it. On other devices nothing changes.

    Args:
        device: where is computed.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
        try:
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
