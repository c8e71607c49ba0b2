"""Where a network comes from: pure data, so that a worker process, or a later run, can load it again. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.errors import UsageError, unknown
from bench.plugins import Kind, file_path

ZOO = {
    name: f"bench.networks.{module}:{name}"
    for module, names in {
        "mnist": ("MLP", "MLP_d", "CNN", "CNN_d", "CNN_at_linf", "CNN_at_l2"),
        "scikit": ("MLP_digits", "MLP_cancer"),
    }.items()
    for name in names
}
"""The trained networks that the bench brings: name -> where its class lies."""

NETWORKS = Kind("network", "networks", lambda: ZOO)

LIVE = "live:"
"""How the source of a module begins that the calling program made and no file leads to."""

_NAME = r"[^\W\d][\w.-]{0,63}"


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Where a network comes from.

    Attributes:
        name: how records and plots call it.
        source: ``/path/to/file.py:factory``, ``module:factory``, an entry point's name, or ``live:name`` for a module of the
            calling program; None for a network of the zoo.
        weights: a safetensors file with the network's state dict, an absolute path; None for the zoo's own weights, or for
            those that the factory sets itself.
    """

    name: str
    source: str | None = None
    weights: str | None = None

    @property
    def live(self) -> bool:
        """Whether it is a module of the calling program."""
        return self.source is not None and self.source.startswith(LIVE)

    @property
    def text(self) -> str:
        """What :func:`specs` reads back, without the weights."""
        return self.name if self.source is None else f"{self.name}={self.source}"


def specs(texts: Iterable[str], weights: str | None = None) -> tuple[NetworkSpec, ...]:
    """The specs of what a user typed. No file is opened.

    Args:
        texts: one for each network: a name of the zoo, ``path/to/file.py:factory``, ``module:factory``, the name of an
            entry point, or one of these with ``name=`` in front.
        weights: a safetensors file for the one user's network among them.

    Returns:
        One spec for each text, in the order given; a user's network is called after its factory unless it has a name.

    Raises:
        UsageError: a text is none of these, two networks have one name, or ``weights`` has no network to go to.
    """
    found = [_spec(text) for text in texts]
    own = [spec for spec in found if spec.source is not None]
    if weights is not None:
        if len(own) != 1:
            raise UsageError(
                f"--weights {weights} needs exactly one path/to/file.py:factory in --networks; there are {len(own)}"
            )
        path = str(file_path(weights, "--weights"))
        found = [replace(spec, weights=path) if spec.source is not None else spec for spec in found]
    names = [spec.name for spec in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        example = next(spec for spec in found if spec.name == twice[0])
        advice = f", such as first={example.source}" if example.source else ""
        raise UsageError(f"network {', '.join(twice)} is named twice; give each a name of its own{advice}")
    return tuple(found)


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise UsageError(
            f"{text!r} cannot name a network; use up to 64 letters, digits, '_', '.' and '-', beginning with a letter"
        )
    return text


def _spec(text: str) -> NetworkSpec:
    front, live, back = text.partition(f"={LIVE}")
    name, equals, source = (_name(front), "=", LIVE + back) if live else text.partition("=")
    if not equals or not re.fullmatch(_NAME, name):
        name, source = "", text
    if source in ZOO:
        if name and name != source:
            raise UsageError(f"{text!r}: a network of the zoo keeps its name; give {source}")
        return NetworkSpec(source)
    if source.startswith(LIVE):
        return NetworkSpec(_name(name or source.removeprefix(LIVE)), source)
    place, colon, factory = source.rpartition(":")
    if not colon and source in NETWORKS.names():
        return NetworkSpec(name or source, source)
    file = place.endswith(".py")
    if source.endswith(".py"):
        raise UsageError(
            f"network {text!r} has no factory; give a function's or a class's name after a colon: {text}:make"
        )
    if not colon or not (file or re.fullmatch(r"[^\W\d][\w.]*", place)):
        raise unknown("network", text, [*NETWORKS.names(), "path/to/file.py:factory", "module:factory"])
    if not re.fullmatch(r"[^\W\d]\w{0,63}", factory):
        raise UsageError(f"{text!r}: {factory!r} is not a Python function's name of at most 64 characters")
    called = name or (f"{factory}_own" if factory in ZOO else factory)
    return NetworkSpec(called, f"{file_path(place, f'network {text!r}') if file else place}:{factory}")
