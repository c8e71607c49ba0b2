"""Compile kernels with numba, and keep them on disk as long as no source of a kernel has changed."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numba


@cache
def sources() -> str:
    """The SHA-256 of all files that hold kernels."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba in strict IEEE arithmetic; keep the result on disk where some folder can be written.

    numba reads a kept kernel as long as the kernel's own file is unchanged, whatever became of the kernels that it calls
    in other files: an old one could give bounds that do not hold. So kept kernels are stamped with all sources.
    """
    try:
        compiled: Any = numba.njit(cache=True)(function)
    except (RuntimeError, OSError):
        return numba.njit(function)  # type: ignore[no-any-return]  # numba has no types
    kept = getattr(compiled, "_cache", None)
    index = getattr(kept, "_cache_file", None)
    if not hasattr(index, "_source_stamp"):
        return numba.njit(function)  # type: ignore[no-any-return]
    index._source_stamp = sources()  # type: ignore[union-attr]  # noqa: SLF001 - numba offers no other way
    for name in ("load_overload", "save_overload"):
        setattr(kept, name, _tolerant(getattr(kept, name), index.flush))  # type: ignore[union-attr]
    return compiled  # type: ignore[no-any-return]  # numba has no types


def _tolerant(call: Callable[..., Any], forget: Callable[[], None]) -> Callable[..., Any]:
    """A call to the kept kernels that does without them where they cannot be read or written.

    Where they name a class that is no more they are forgotten.
    """

    @wraps(call)
    def tolerant(*arguments: Any) -> Any:
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            try:
                return call(*arguments)
            except (AttributeError, ImportError):
                forget()
        return None

    return tolerant
