"""Attacks of one's own: a Python function as a row of a suite, without a library around it.

In a file of one's own::

    from adapters import own
    from bench.specs import Suite

    def shrink(network, images, labels, *, steps=10):
        ...
        return candidates

    SUITE = Suite(name="mine", description="My attack.", rows=(own.row(shrink, norm="l2"),), samples=100)

The function is called as ``shrink(network, images, labels, **params)``: ``network`` is a ``torch.nn.Module`` from
(n, *shape) float32 images in [0, 1] to (n, classes) logits, ``images`` are correctly classified images in [0, 1],
whatever the data's own box is, and ``labels`` their (n,) int64 classes. It returns (n, *shape) candidates, one for each
image; what they are worth, the judge decides. It gets copies, and every global source of random numbers is seeded
before it is called and put back afterwards. A row with a ``start`` is called with ``starts=`` as well: (n, *shape)
adversarial images.

A targeted attack takes (n,) int64 classes to reach: ``attack(network, images, labels, targets, **params)``. It is called
once for each class, of more than ten once for each of the ten with the largest logits of the clean image; of what is
adversarial the nearest is the candidate.

:func:`bench.testing.check_attack` tests a function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UsageError
from bench.libraries import Library
from bench.norms import Norm
from bench.plugins import Kind
from bench.specs import Access, AttackSpec, Coupling, Family, Method, Start, Value

LIBRARY = Library(name="own", label="own", attacker="adapters.own.attacker:ATTACKER", ours=True, marker="P")

ATTACKS = Kind("attack", "attacks", dict)
"""Where a row's function is found: entry points, ``file.py:function``, ``module:function``."""

LIVE_PREFIX = "live:"
LIVE: dict[str, Callable[..., Any]] = {}
"""Functions of this process that no file has, by a row's target: ``live:name``."""


def row(
    attack: Callable[..., Any] | str,
    *,
    norm: Norm | str,
    name: str = "",
    params: Mapping[str, Value] | None = None,
    access: Access | str = Access.GRADIENT,
    start: Start | str = Start.IMAGE,
    coupling: Coupling | str = Coupling.NONE,
    block: int = 10,
    batch: int | None = None,
    cap: int | None = None,
) -> AttackSpec:
    """A function as a row of a suite.

    Args:
        attack: the function, or where it lies: ``file.py:function`` or ``module:function``. One that no file has, such
            as a function of a notebook, runs in this process only.
        norm: the distance it minimises: ``l0``, ``l1``, ``l2`` or ``linf``.
        name: what to call it; the function's own name unless given.
        params: arguments by name, beside network, images and labels.
        access: ``gradient`` or ``decision``: what it may see of the network.
        start, coupling, block, batch, cap: as in :class:`bench.specs.AttackSpec`.

    Raises:
        UsageError: a value is none of those that are possible.
    """
    called = (
        attack.rpartition(":")[2] if isinstance(attack, str) else getattr(attack, "__name__", type(attack).__name__)
    )
    title = name or called.strip("<>")
    try:
        method = Method(
            slug=_slug(title),
            title=title,
            family=Family.REFERENCE,
            access=Access(access),
            paper="",
            idea="",
            formula="",
        )
        return AttackSpec(
            method=method,
            library=LIBRARY.name,
            norm=Norm(norm),
            target=_target(attack, f"{LIVE_PREFIX}{method.slug}-{Norm(norm)}"),
            params=dict(params or {}),
            start=Start(start),
            coupling=Coupling(coupling),
            block=block,
            batch=batch,
            cap=cap,
        )
    except ValueError as error:
        raise UsageError(f"attack {title!r}: {error}") from error


def _target(attack: Callable[..., Any] | str, live: str) -> str:
    """Where a function is found from any process; where none can find it, it is kept here under the name ``live``.

    A script that runs is not imported a second time: it would start what it does again.
    """
    if isinstance(attack, str):
        path, colon, function = attack.rpartition(":")
        return f"{Path(path).expanduser().resolve()}{colon}{function}" if path.endswith(".py") else attack
    name = str(getattr(attack, "__qualname__", ""))
    module = sys.modules.get(getattr(attack, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is not None and module.__name__ != "__main__" and file and vars(module).get(name) is attack:
        return f"{module.__name__ if _importable(module) else file}:{name}"
    LIVE[live] = attack
    return live


def _importable(module: ModuleType) -> bool:
    """Whether its name leads to a module from any process, and not only to one that this process has loaded."""
    parent = sys.modules.get(module.__name__.rpartition(".")[0])
    path = getattr(parent, "__path__", None)
    if "." in module.__name__ and path is None:
        return False
    specifications = (finder.find_spec(module.__name__, path) for finder in sys.meta_path)
    found = next((one for one in specifications if one is not None), None)
    return found is not None and found.origin == module.__file__


def _slug(title: str) -> str:
    """A title as a part of a row's name: lower case, words joined by hyphens."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.lower()).split()
    if not words:
        raise UsageError(f"an attack cannot be called {title!r}; give it a name of letters and digits")
    return "-".join(words)
