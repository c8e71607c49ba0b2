"""Networks that libraries make: the models of torchvision and of timm. No code of a user's is executed."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from bench.errors import NetworkError, UsageError, line
from bench.networks.grammar import TIMM, TORCHVISION, values
from bench.networks.spec import NetworkSpec
from bench.usercode import kept

_OF_FILES = ("checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay")
"""Arguments of timm's that name files or addresses."""


def needs(package: str, extra: str, name: str) -> None:
    """Refuse a network whose package is not installed.

    Raises:
        NetworkError: says how to install it.
    """
    if find_spec(package) is None:
        raise NetworkError(f"network {name} needs {package}: pip install 'minimal-norm-bench[{extra}]'")


def torchvision(spec: NetworkSpec, *, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """A classifier of ``torchvision.models``.

    Args:
        spec: its source and arguments; where it has a file of weights, the model is made without trained weights.
        download: whether trained weights may be downloaded.

    Returns:
        The model, and which trained weights it has, in words.

    Raises:
        NetworkError: there is no such model, it does not take the arguments, or its trained weights are not on this machine.
    """
    from torchvision import models  # noqa: PLC0415 - takes two seconds

    name, arguments = _arguments(spec, TORCHVISION)
    if name.lower() not in (known := models.list_models(module=models)):
        raise _no_model(spec, "torchvision", name, known, "torchvision.models")
    wanted = arguments.pop("weights", "DEFAULT")
    trained = None
    if spec.weights is None and wanted is not None:
        choices = models.get_model_weights(name.lower())
        tag = str(wanted).rpartition(".")[2]
        if tag not in choices.__members__:
            raise NetworkError(
                f"network {spec.name}: {name} has no weights {wanted!r}; it has {', '.join(choices.__members__)}"
            )
        trained = choices[tag]
        if not download and not (file := _of_hub(trained.url)).is_file():
            raise _not_here(spec, file)
    module = _made(spec, lambda: models.get_model(name.lower(), weights=trained, **arguments))
    return module, () if trained is None else (f"weights: torchvision's {trained.name}",)


def timm(spec: NetworkSpec, *, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """A model of timm; as :func:`torchvision`."""
    needs("timm", "timm", spec.name)
    with kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm as library  # noqa: PLC0415 - an extra

    name, arguments = _arguments(spec, TIMM)
    if not library.is_model(name):
        raise _no_model(spec, "timm", name, library.list_models(), "timm.list_models()")
    for each in _OF_FILES:
        if each in arguments:
            raise NetworkError(f"network {spec.name}: argument {each} is not taken; give a file of weights behind '@'")
    wanted = bool(arguments.pop("pretrained", True)) and spec.weights is None
    try:
        config = library.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise NetworkError(f"network {spec.name}: {line(error)}; leave out what follows the dot in {name}") from error
    notes: tuple[str, ...] = ()
    if wanted:
        if config is None or not config.has_weights:
            raise NetworkError(
                f"network {spec.name}: timm has no trained weights for {name}; give @weights.safetensors"
            )
        file = _of_timm(config)
        if file is not None:
            arguments["pretrained_cfg_overlay"] = {"file": str(file)}
        elif not download:
            raise _not_here(spec, config.hf_hub_id or config.url)
        notes = (f"weights: timm's {config.tag or config.hf_hub_id or 'own'}",)
    return _made(spec, lambda: library.create_model(name, pretrained=wanted, **arguments)), notes


def _arguments(spec: NetworkSpec, prefix: str) -> tuple[str, dict[str, Any]]:
    """A model's name and its arguments."""
    placed, named = values(spec.arguments)
    name = str(spec.source).removeprefix(prefix)
    if placed:
        raise NetworkError(f"network {spec.name}: give the arguments of {name} by keyword, such as (num_classes=10)")
    return name, named


def _made(spec: NetworkSpec, make: Any) -> nn.Module:
    try:
        with kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: object = make()
    except (Exception, SystemExit) as error:
        advice = "; a model with another number of classes needs weights of its own: give @weights.safetensors"
        raise NetworkError(
            f"network {spec.name}: {spec.source}{spec.arguments} raises {line(error)}"
            f"{advice if spec.weights is None and 'num_classes' in spec.arguments else ''}"
        ) from error
    if not isinstance(made, nn.Module):
        raise NetworkError(f"network {spec.name}: {spec.source}{spec.arguments} is no single module")
    return made


def _no_model(spec: NetworkSpec, library: str, name: str, known: Iterable[str], where: str) -> UsageError:
    near = difflib.get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(f"network {spec.name}: {library} has no classifier {name!r}; {meant}{where} lists them")


def _of_hub(url: str) -> Path:
    """Where torch keeps what it downloads from an address."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def _of_timm(config: Any) -> Path | None:
    """The file of a model's trained weights on this machine; None where it is not here."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - with timm

    repository, _, revision = str(config.hf_hub_id or "").partition("@")
    for name in (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
        if repository and name:
            file = try_to_load_from_cache(repository, name, revision=revision or None)
            if isinstance(file, str) and Path(file).is_file():
                return Path(file)
    file = _of_hub(config.url) if config.url else None
    return file if file is not None and file.is_file() else None


def _not_here(spec: NetworkSpec, what: object) -> NetworkError:
    return NetworkError(
        f"network {spec.name}: its trained weights are not on this machine ({what}); add --download (download=True in Python) to "
        f"fetch them, or give a file: {spec.source}{spec.arguments}@weights.safetensors"
    )
