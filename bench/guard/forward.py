"""Calls of a user's network: they leave their argument and the process as they were."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from bench.guard.copies import copied
from bench.usercode import Globals

Within = Callable[[], AbstractContextManager[None]]
"""Makes what a call of a network is made within: :func:`bench.usercode.kept`, or a user's file among its neighbours."""


IMPORTS = "imports"
"""In place of a part of the process: a call imports modules that only the network's own file finds."""


class Guarded(nn.Module):
    """A network that is called with copies of the images, so that it may write into its argument.

    Attributes:
        network: (n, *shape) to (n, classes) logits.
        within: makes what each call is made within, where a call would change the process; else None.
    """

    def __init__(self, network: nn.Module, within: Within | None = None) -> None:
        super().__init__()
        self.network = network
        self.within = within
        # Not train(), which would set the flags of the network's own layers.
        self.training = network.training

    @classmethod
    def of(cls, network: nn.Module, within: Within | None = None) -> Guarded:
        """The network itself where it is guarded; else guarded, each call ``within`` something."""
        return network if isinstance(network, Guarded) else cls(network, within)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) images.

        Raises:
            RuntimeError: the network ends the process instead.
        """
        given = images.clone()
        try:
            if self.within is None:
                logits: Tensor = self.network(given)
            else:
                with self.within():
                    logits = self.network(given)
        except SystemExit as error:
            raise RuntimeError(f"its forward ends the process: SystemExit: {error}") from error
        return logits

    def __deepcopy__(self, memo: dict[int, Any]) -> Guarded:
        return Guarded(copied(self.network), self.within)


def touched(
    network: nn.Module, batches: Iterable[Tensor], within: Within, theirs: Iterable[str] = ()
) -> tuple[str, ...]:
    """What calls of a network, forwards and backwards, change of the process.

    Args:
        network: (n, *shape) to (n, classes); a copy, for the calls may change it.
        batches: (n, *shape) images each.
        within: what the calls are made within; it gives the process back as it was.
        theirs: names of modules that only the network's own file finds.

    Returns:
        In words: ``torch's random numbers``, ``sys.path``, :data:`IMPORTS`; empty where nothing is changed.
    """
    found: dict[str, None] = {}
    for batch in batches:
        with within():
            before = Globals.now()
            # What fails here fails in the checks before a run, which say so.
            with _imported() as names, torch.enable_grad(), suppress(Exception):
                logits = Guarded(network)(batch.clone().requires_grad_(batch.is_floating_point()))
                logits.sum().backward()
            found |= dict.fromkeys(before.changed())
            if names & {name.partition(".")[0] for name in theirs}:
                found[IMPORTS] = None
    return tuple(found)


@contextmanager
def _imported() -> Iterator[set[str]]:
    """The names of the packages that import statements ask for meanwhile."""
    names: set[str] = set()
    imports = builtins.__import__

    def noting(name: str, *arguments: Any, **named: Any) -> Any:
        names.add(name.partition(".")[0])
        return imports(name, *arguments, **named)

    builtins.__import__ = noting
    try:
        yield names
    finally:
        builtins.__import__ = imports
