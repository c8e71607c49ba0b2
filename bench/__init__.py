"""The minimal-norm robustness bench: image by image, how small a change makes a classifier wrong?

From Python, ``bench.evaluate(network, images, labels, box=(0, 1))``; see :mod:`bench.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import Result, evaluate, open_run

__version__ = "0.2.0"

__all__ = ["Result", "evaluate", "open_run"]


def __getattr__(name: str) -> Any:
    """The names of :mod:`bench.api`, which imports torch, when first asked for."""
    if name in __all__:
        from bench import api  # noqa: PLC0415 - the command line answers sooner without it

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
