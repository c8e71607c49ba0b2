"""Compiling Brendel-Bethge's solvers once per machine instead of once per process."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pickle
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

Array = NDArray[Any]


PATIENCE = 300.0
"""Seconds to wait for another process that compiles; one that was stopped never ends."""


class CachedSolver:
    """One of the solvers of Brendel-Bethge's trust-region step, compiled to a file.

    Both libraries write these solvers as numba classes, which numba cannot keep on disk: each process compiles each
    norm's for 20 to 60 seconds. A function that makes such a class and calls it can be kept; it is compiled when
    first called with arguments of new types, and read from the file, in half a second, from then on. The file lies
    in the ``__pycache__`` beside this module, or in numba's own folder if that cannot be written; where neither can,
    each process compiles for itself. Where it can, a process of its own compiles and ends, since a compiler leaves
    hundreds of MB behind in the process that used it.

    Args:
        optimizer: the library's numba class, whose ``solve`` is called.
    """

    def __init__(self, optimizer: type) -> None:
        self._optimizer = optimizer
        self._solve = _compiled(optimizer)

    def solve(self, *arguments: Array | float) -> Array:
        """The step of the library's ``Optimizer.solve``.

        Args:
            arguments: the clean image, the current point and the boundary's normal there, each (d,); the lowest and
                the highest value of an image; the distance to the boundary in logits; the radius of the trust region.

        Returns:
            (d,) float64, the step.
        """
        plain = [item if isinstance(item, np.ndarray) else float(item) for item in arguments]
        step: Array
        if self._solve.signatures:
            step = self._solve(*plain)
            return step
        try:
            with self._compiling():
                types = tuple(numba.typeof(item) for item in plain)
                if self._solve.stats.cache_path is not None and not _is_kept(self._solve, types):
                    _compile_apart(self._optimizer, types)
                step = self._solve(*plain)
        except (OSError, EOFError, NotImplementedError, pickle.UnpicklingError):
            # The folder cannot be written or locked after all, has no room, or holds something else: the solver itself
            # opens no file.
            self._solve = numba.njit(self._solve.py_func)
            step = self._solve(*plain)
        return step

    def _compiling(self) -> AbstractContextManager[Any]:
        """One process at a time compiles; the others read what it wrote."""
        kept_in = self._solve.stats.cache_path
        if kept_in is None:
            return nullcontext()
        folder = Path(kept_in)
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{self._solve.__name__}.lock", timeout=PATIENCE)


optimizer: Any
"""The global of each function made of ``_solve``; this module has none."""


def _solve(x0, x, b, min_, max_, c, r):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0917 - numba infers
    return optimizer().solve(x0, x, b, min_, max_, c, r)  # noqa: F821 - declared above


@cache
def _compiled(optimizer: type) -> Any:
    # numba does not keep a function that closes over a numba class, but keeps one that has it for a global. It calls
    # the file after the function: another version of the library gets another file.
    source = inspect.getsource(sys.modules[optimizer.__module__])
    version = hashlib.sha256(source.encode()).hexdigest()[:12]
    name = f"{optimizer.__module__.replace('.', '_')}_{optimizer.__name__}_{version}"
    function = FunctionType(_solve.__code__, {"__name__": __name__, "optimizer": optimizer}, name)
    function.__qualname__ = name
    try:
        return numba.njit(cache=True)(function)
    except (RuntimeError, OSError):  # there is no folder that can be written
        return numba.njit(function)


def _is_kept(function: Any, types: tuple[Any, ...]) -> bool:
    """Whether a file has the compiled function for arguments of these types."""
    return function._cache.load_overload(types, function.targetctx) is not None  # noqa: SLF001 - numba has no other way


def _compile_apart(optimizer: type, types: tuple[Any, ...]) -> None:
    """Compile to the file in a process that ends afterwards; where that fails, the caller compiles for itself."""
    command = [sys.executable, "-P", "-c", f"import {__name__} as m, sys; m.compile_to_file(sys.stdin.buffer.read())"]
    kept_in = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # set from the environment, or by a program
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - of this module, by this interpreter
            command,
            input=pickle.dumps((optimizer.__module__, optimizer.__qualname__, types)),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "NUMBA_CACHE_DIR": kept_in},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )


def compile_to_file(asked: bytes) -> None:
    """What the process does that compiles: ``asked`` is a pickled (module, class, types of the arguments)."""
    module, name, types = pickle.loads(asked)  # noqa: S301 - written by the process that started this one
    _compiled(getattr(importlib.import_module(module), name)).compile(types)
