"""What belongs to the whole process, and is given back as it was after code of the user's has run."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter, eq
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, slots=True)
class _Part:
    """Something that the whole process has once.

    Attributes:
        words: what messages call it.
        get: its value now; None where it is not there.
        put: makes it that value.
        same: whether two values are equal.
    """

    words: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    same: Callable[[Any, Any], bool] = eq


@dataclass(frozen=True)
class Globals:
    """What the process had at one time: settings, folders, random generators."""

    parts: tuple[_Part, ...]
    values: tuple[Any, ...]

    @classmethod
    def now(cls, only: Collection[str] | None = None) -> Self:
        """What it has now: everything, or some parts by their words."""
        parts = _PARTS if only is None else tuple(part for part in _PARTS if part.words in only)
        return cls(parts, tuple(part.get() for part in parts))

    def changed(self) -> tuple[str, ...]:
        """What is different now, in words."""
        return tuple(part.words for part, value, now in self._compared() if not part.same(value, now))

    def restore(self) -> None:
        """Make everything what it was."""
        for part, value, now in self._compared():
            if not part.same(value, now):
                part.put(value)

    def _compared(self) -> Iterator[tuple[_Part, Any, Any]]:
        """Every part with its value then and now. What came with a library that was imported meanwhile has its usual value."""
        for part, value in zip(self.parts, self.values, strict=True):
            now = part.get()
            before = _usual(part.words) if value is None else value
            if now is not None and before is not None:
                yield part, before, now


@contextmanager
def kept(only: Collection[str] | None = None) -> Iterator[None]:
    """Give everything that belongs to the whole process back as it was, or some parts of it by their words."""
    before = Globals.now(only)
    try:
        with warnings.catch_warnings(), np.errstate():
            yield
    finally:
        before.restore()


def _torch() -> Any:
    """Torch, where it is imported."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "nn") else None


def _of_torch(words: str, getter: str, setter: str) -> _Part:
    get, put = attrgetter(getter), attrgetter(setter)

    def value() -> Any:
        torch = _torch()
        return None if torch is None else get(torch)()

    def make(value: Any) -> None:
        put(_torch())(value)

    return _Part(words, value, make)


def _attribute(words: str, path: str) -> _Part:
    """An attribute of something in torch that is a setting."""
    place, _, name = path.rpartition(".")
    get = attrgetter(path)

    def value() -> Any:
        torch = _torch()
        return None if torch is None else get(torch)

    return _Part(words, value, lambda value: setattr(attrgetter(place)(_torch()), name, value))


def _device() -> Any:
    torch = _torch()
    return None if torch is None else str(torch.get_default_device())


def _flushes() -> Any:
    """Whether torch takes the smallest numbers for 0."""
    torch = _torch()
    return None if torch is None else bool(torch.full((1,), 1e-310, dtype=torch.float64, device="cpu").mul_(1.0) == 0)


def _put_device(value: str) -> None:
    _torch().set_default_device(None if value == "cpu" else value)


def _hooks() -> Any:
    """The hooks of all modules there are."""
    torch = _torch()
    if torch is None:
        return None
    found = vars(torch.nn.modules.module)
    return {name: dict(found[name]) for name in found if name.startswith("_global_") and isinstance(found[name], dict)}


def _put_hooks(value: dict[str, dict[Any, Any]]) -> None:
    module = _torch().nn.modules.module
    for name, hooks in value.items():
        getattr(module, name).clear()
        getattr(module, name).update(hooks)


def _autocast() -> Any:
    torch = _torch()
    return None if torch is None else {device: torch.is_autocast_enabled(device) for device in ("cpu", "cuda")}


def _put_autocast(value: dict[str, bool]) -> None:
    for device, enabled in value.items():
        _torch().set_autocast_enabled(device, enabled)


def _numbers_of_torch() -> Any:
    """The states of torch's generators: the CPU's first, then those of CUDA devices."""
    torch = _torch()
    if torch is None:
        return None
    # A CUDA that is not in use yet is left alone: nothing has drawn from it.
    on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.default_generator.get_state(), *on_devices]


def _put_numbers_of_torch(value: Any) -> None:
    _torch().default_generator.set_state(value[0])
    if value[1:]:
        _torch().cuda.set_rng_state_all(value[1:])


def _same_arrays(one: Any, other: Any) -> bool:
    return all(bool((a == b).all()) for a, b in zip(one, other, strict=False))


def _same_numbers(one: Any, other: Any) -> bool:
    return bool(one[2:] == other[2:]) and bool((one[1] == other[1]).all())


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a path object costs ten times as much
    except OSError:
        return None


def _put_folder(value: str) -> None:
    with suppress(OSError):
        os.chdir(value)


def _put_environment(value: dict[str, str]) -> None:
    for name in set(os.environ) - set(value):
        del os.environ[name]
    os.environ.update(value)


def _signals() -> Any:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}


def _put_signals(value: dict[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in value.items():
            if handler is not None:
                signal.signal(number, handler)


def _put_path(value: list[str]) -> None:
    sys.path[:] = value


_GRADIENTS = "torch's gradient mode"
_DTYPE = "torch's default dtype"
_DEVICE = "torch's default device"
_DETERMINISTIC = "torch's deterministic mode"
_ANOMALY = "torch's anomaly detection"
_PRECISION = "torch's matmul precision"

_PARTS: tuple[_Part, ...] = (
    _of_torch(_GRADIENTS, "is_grad_enabled", "set_grad_enabled"),
    _of_torch(_DTYPE, "get_default_dtype", "set_default_dtype"),
    _Part(_DEVICE, _device, _put_device),
    _of_torch("torch's number of threads", "get_num_threads", "set_num_threads"),
    _of_torch(_DETERMINISTIC, "get_deterministic_debug_mode", "set_deterministic_debug_mode"),
    _of_torch(_ANOMALY, "is_anomaly_enabled", "autograd.set_detect_anomaly"),
    _of_torch(_PRECISION, "get_float32_matmul_precision", "set_float32_matmul_precision"),
    _Part("torch's autocast", _autocast, _put_autocast),
    _of_torch("oneDNN in torch", "_C._get_mkldnn_enabled", "_C._set_mkldnn_enabled"),
    _of_torch("cuDNN in torch", "_C._get_cudnn_enabled", "_C._set_cudnn_enabled"),
    _of_torch("cuDNN's benchmark mode", "_C._get_cudnn_benchmark", "_C._set_cudnn_benchmark"),
    _of_torch("cuDNN's deterministic mode", "_C._get_cudnn_deterministic", "_C._set_cudnn_deterministic"),
    _attribute("torch's quantised engine", "backends.quantized.engine"),
    _Part("torch's flushing of small numbers", _flushes, lambda value: _torch().set_flush_denormal(value)),
    _Part("the hooks of all torch modules", _hooks, _put_hooks),
    _Part("torch's random numbers", _numbers_of_torch, _put_numbers_of_torch, _same_arrays),
    _Part("NumPy's random numbers", np.random.get_state, np.random.set_state, _same_numbers),
    _Part("Python's random numbers", random.getstate, random.setstate),
    _Part("NumPy's treatment of errors", np.geterr, lambda value: np.seterr(**value)),
    _Part("the filters of warnings", lambda: list(warnings.filters), lambda _value: None),
    _Part("the working directory", _folder, _put_folder),
    _Part("the environment", lambda: dict(os.environ), _put_environment),
    _Part("sys.path", lambda: list(sys.path), _put_path),
    _Part(
        "standard output",
        lambda: (sys.stdout, sys.stderr),
        lambda value: vars(sys).update(stdout=value[0], stderr=value[1]),
    ),
    _Part("Python's depth of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    _Part("Python's garbage collection", gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    _Part("the handling of signals", _signals, _put_signals),
)

_USUAL: dict[str, Any] = {_GRADIENTS: True, _ANOMALY: False, _DEVICE: "cpu", _PRECISION: "highest", _DETERMINISTIC: 0}
"""What torch begins with, for where a user's file is the first to import it."""


def _usual(words: str) -> Any:
    return _torch().float32 if words == _DTYPE and _torch() is not None else _USUAL.get(words)
