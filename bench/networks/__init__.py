"""The networks under test: those of the zoo, trained here, and any that a user brings.

Importing this package, or :mod:`bench.networks.spec`, does not import torch; the first use of a name below does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bench.networks.spec import NetworkSpec, specs

if TYPE_CHECKING:
    from bench.networks.identity import Identity, fingerprint, identify
    from bench.networks.loading import Source, check_output, evaluate, live, load, pinned, sendable, source
    from bench.networks.mnist import CNN, MLP, CNN_at_l2, CNN_at_linf, CNN_d, MLP_d, Network
    from bench.networks.scikit import MLP_cancer, MLP_digits

__all__ = [
    "CNN",
    "MLP",
    "CNN_at_l2",
    "CNN_at_linf",
    "CNN_d",
    "Identity",
    "MLP_cancer",
    "MLP_d",
    "MLP_digits",
    "Network",
    "NetworkSpec",
    "Source",
    "check_output",
    "evaluate",
    "fingerprint",
    "identify",
    "live",
    "load",
    "pinned",
    "sendable",
    "source",
    "specs",
]


def __getattr__(name: str) -> Any:
    """The names of the modules of this package that need torch, imported when first asked for."""
    if name in __all__:
        for part in ("identity", "loading", "mnist", "scikit"):
            module = importlib.import_module(f"bench.networks.{part}")
            globals().update({each: getattr(module, each) for each in __all__ if hasattr(module, each)})
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
