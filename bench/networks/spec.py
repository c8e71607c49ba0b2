"""Where a network comes from: pure data, so that a worker process, or a later run, can load it again. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.errors import UsageError
from bench.networks import grammar, standard
from bench.networks.grammar import NAME, ONNX, TIMM, TORCHVISION, Parts
from bench.networks.standard import Pair
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

LIBRARIES = (TORCHVISION, TIMM)
"""How the sources begin of models whose trained weights a library brings."""

NO_CODE = (*LIBRARIES, ONNX)
"""How the sources begin for which no code of a user's is executed."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Where a network comes from.

    Attributes:
        name: how records and plots call it.
        source: ``/path/to/file.py:factory``, ``module:factory``, an entry point's name, ``torchvision:model``, ``timm:model``,
            ``onnx:/path/to/file.onnx``, or ``live:name`` for a module of the calling program; None for a network of the zoo.
        weights: a file with the network's state dict, an absolute path; None for the zoo's own weights, for those that the
            factory sets itself, and for those that a library brings.
        arguments: of the factory: Python literals in parentheses, such as ``(width=32)``; empty for none.
        normalize: means and deviations by which inputs are standardised inside the network; None for none.
    """

    name: str
    source: str | None = None
    weights: str | None = None
    arguments: str = ""
    normalize: Pair | None = None

    @property
    def live(self) -> bool:
        """Whether it is a module of the calling program."""
        return self.source is not None and self.source.startswith(LIVE)

    @property
    def pretrained(self) -> bool:
        """Whether a library brings its weights, which may have to be downloaded."""
        return self.source is not None and self.source.startswith(LIBRARIES) and self.weights is None

    @property
    def text(self) -> str:
        """What :func:`specs` reads back, without the standardisation, which all networks of a run share."""
        if self.source is None:
            return self.name
        return f"{self.name}={self.source}{self.arguments}{'' if self.weights is None else f'@{self.weights}'}"


def specs(texts: Iterable[str], weights: str | None = None, normalize: Pair | None = None) -> tuple[NetworkSpec, ...]:
    """The specs of what a user typed. No file is opened.

    Args:
        texts: one for each network, ``[name=]SOURCE[(arguments)][@weights]``: a name of the zoo, ``path/to/file.py:factory``,
            ``module:factory``, the name of an entry point, ``torchvision:model``, ``timm:model`` or ``onnx:file.onnx``; see
            :func:`bench.networks.grammar.split`.
        weights: a file of weights for the one user's network among them.
        normalize: means and deviations by which every user's network standardises its inputs.

    Returns:
        One spec for each text, in the order given; a user's network is called after its factory, its model or its file
        unless it has a name.

    Raises:
        UsageError: a text is none of these, two networks have one name, or ``weights`` or ``normalize`` has no network to go to.
    """
    found = [_spec(text) for text in texts]
    own = [spec for spec in found if spec.source is not None]
    if weights is not None:
        found = _filled(found, own, weights)
    if normalize is not None:
        pair = standard.checked(*normalize)
        if not own:
            raise UsageError(
                f"{standard.FLAG} is for networks of one's own; those of the bench take the data as they are: leave it out"
            )
        found = [replace(spec, normalize=pair) if spec.source is not None else spec for spec in found]
    names = [spec.name for spec in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        example = next(spec for spec in found if spec.name == twice[0])
        advice = f", such as {replace(example, name='first').text}" if example.source else ""
        raise UsageError(f"network {', '.join(twice)} is named twice; give each a name of its own{advice}")
    return tuple(found)


def _filled(found: list[NetworkSpec], own: list[NetworkSpec], weights: str) -> list[NetworkSpec]:
    """The specs, of which the only user's network takes its weights from a file."""
    if len(own) != 1:
        raise UsageError(
            f"--weights {weights} needs exactly one path/to/file.py:factory in --networks; there are {len(own)}. Several take "
            "theirs as path/to/file.py:factory@weights"
        )
    if own[0].weights is not None:
        raise UsageError(
            f"network {own[0].name} takes its weights from {own[0].weights}; leave out --weights {weights}"
        )
    if str(own[0].source).startswith(ONNX):
        raise UsageError(f"network {own[0].name} has its weights in its ONNX file; leave out --weights {weights}")
    path = str(file_path(weights, "--weights"))
    return [replace(spec, weights=path) if spec.source is not None else spec for spec in found]


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise UsageError(
            f"{text!r} cannot name a network; use up to 64 letters, digits, '_', '.' and '-', beginning with a letter"
        )
    return text


def _spec(text: str) -> NetworkSpec:
    front, live, back = text.partition(f"={LIVE}")
    if live or text.startswith(LIVE):
        name, source = (front, LIVE + back) if live else (text.removeprefix(LIVE), text)
        return NetworkSpec(_name(name), source)
    parts = grammar.split(text, NETWORKS.names)
    if parts.source in ZOO:
        if parts.arguments or parts.weights is not None:
            raise UsageError(
                f"{text!r}: a network of the zoo has its own weights and takes no arguments; give {parts.source} alone, or "
                f"{ZOO[parts.source]} for its layers"
            )
        if parts.name and parts.name != parts.source:
            raise UsageError(f"{text!r}: a network of the zoo keeps its name; give {parts.source}")
        return NetworkSpec(parts.source)
    source, called = _placed(parts, text)
    weights = None if parts.weights is None else str(file_path(parts.weights, f"network {text!r}"))
    spec = NetworkSpec(parts.name or (f"{called}_own" if called in ZOO else called), source, weights, parts.arguments)
    if grammar.split(spec.text, NETWORKS.names) != Parts(spec.name, source, parts.arguments, weights):
        raise UsageError(
            f"network {text!r}: {source} can be read in two ways; use folders without ':', '@' and '(' in their names"
        )
    return spec


def _placed(parts: Parts, text: str) -> tuple[str, str]:
    """A source as it is found from any folder, and what its network is called without a name."""
    source = parts.source
    if source.startswith(ONNX):
        path = source.removeprefix(ONNX)
        if not path.lower().endswith(".onnx"):
            raise UsageError(
                f"network {text!r}: an ONNX file's name ends with .onnx; give onnx:path/to/file.onnx, without arguments and "
                "weights, which are in the file"
            )
        absolute = file_path(path, f"network {text!r}")
        if not parts.name and not re.fullmatch(NAME, absolute.stem):
            raise UsageError(f"network {text!r}: {absolute.stem!r} cannot name a network; give name={source}")
        return f"{ONNX}{absolute}", absolute.stem
    place, colon, factory = source.rpartition(":")
    if not colon:
        return source, source
    if source.startswith(LIBRARIES) and len(factory) > 64 and not parts.name:
        raise UsageError(f"network {text!r}: {factory!r} cannot name a network; give name={source}")
    if place.endswith(".py"):
        return f"{file_path(place, f'network {text!r}')}:{factory}", factory
    return source, factory
