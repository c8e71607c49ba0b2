"""Functions and classes of libraries that a user's file has replaced, for the file itself and for all others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

_OURS = ("bench", "adapters", "suites")
_WATCHED = ("torch", "numpy", "random", "math", "builtins", "copy", "art", "foolbox", *_OURS)
"""The packages whose functions every network of a process shares."""


class Originals:
    """The functions and classes of the watched packages, as they were when this was made."""

    def __init__(self) -> None:
        self._found = {name: (place, dict(vars(place))) for name, place in _places()}

    def put_back(self, theirs: Callable[[Any], bool]) -> list[str]:
        """Undo what was replaced.

        Args:
            theirs: whether a value was made by the code that is looked at; what libraries replace stays.

        Returns:
            What was replaced: ``torch.nn.functional.relu``.
        """
        replaced = []
        for name, (place, before) in self._found.items():
            for attribute, value in list(vars(place).items()):
                original = before.get(attribute, value)
                if original is not value and callable(value) and theirs(value):
                    setattr(place, attribute, original)
                    replaced.append(f"{name}.{attribute}")
        return replaced


def _places() -> Iterator[tuple[str, Any]]:
    """Modules, the classes of the bench, and the classes of torch that every network is made of, by name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _WATCHED and isinstance(getattr(module, "__dict__", None), dict):
            yield name, module
            if name.partition(".")[0] in _OURS:
                for key, value in list(vars(module).items()):
                    if isinstance(value, type) and value.__module__ == name:
                        yield f"{name}.{key}", value
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "nn"):
        yield "torch.Tensor", torch.Tensor
        for name, value in vars(torch.nn).items():
            if isinstance(value, type):
                yield f"torch.nn.{name}", value
