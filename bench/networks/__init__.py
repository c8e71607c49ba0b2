"""The networks under test: four trained on MNIST, and any that a user brings.

Importing this package, or :mod:`bench.networks.spec`, does not import torch; the first use of a name below does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.networks.spec import NetworkSpec, specs

if TYPE_CHECKING:
    from bench.networks.loading import (
        check_output,
        evaluate,
        fingerprint,
        live,
        load,
        pinned,
        sendable,
        source_files,
        source_sha256,
    )
    from bench.networks.mnist import CNN, MLP, CNN_d, MLP_d, Network

__all__ = [
    "CNN",
    "MLP",
    "CNN_d",
    "MLP_d",
    "Network",
    "NetworkSpec",
    "check_output",
    "evaluate",
    "fingerprint",
    "live",
    "load",
    "pinned",
    "sendable",
    "source_files",
    "source_sha256",
    "specs",
]


def __getattr__(name: str) -> Any:
    """The names of :mod:`bench.networks.loading` and :mod:`bench.networks.mnist`, imported when first asked for."""
    if name in __all__:
        for part in ("loading", "mnist"):
            module = importlib.import_module(f"bench.networks.{part}")
            globals().update({each: getattr(module, each) for each in __all__ if hasattr(module, each)})
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
