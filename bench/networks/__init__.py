"""The networks under test: four trained on MNIST, and any a user brings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from bench.data import CLASSES, SHAPE
from bench.errors import NetworkError, UsageError, unknown

BATCH = 1_000
"""Images in a forward pass when a whole split is evaluated."""

WEIGHTS = Path(__file__).parent / "weights"


class Network(nn.Sequential):
    """A trained network of the bench: logits out, and the hyperparameters it is trained with.

    Inputs are (n, 1, 28, 28) float32 in [0, 1], outputs (n, 10) float32 logits.
    """

    epochs: ClassVar[int] = 30
    batch_size: ClassVar[int] = 32
    lr: ClassVar[float] = 3e-4
    optimizer: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    loss: ClassVar[Callable[[], nn.Module]] = nn.CrossEntropyLoss


def _mlp(dropout: float | None) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, inputs in ((1, 784), (2, 128)):
        layers[f"hidden{number}"] = nn.Linear(inputs, 128)
        layers[f"relu{number}"] = nn.ReLU()
        if dropout is not None:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(128, CLASSES)
    return layers


def _cnn(dropout: float | None) -> OrderedDict[str, nn.Module]:
    # ReLU and max-pooling commute; pooling first leaves a quarter of the values to rectify.
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, 20, kernel_size=5),
        pool1=nn.MaxPool2d(2),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(20, 40, kernel_size=3),
        pool2=nn.MaxPool2d(2),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
    )
    if dropout is not None:
        layers["dropout1"] = nn.Dropout(dropout)
    layers["hidden"] = nn.Linear(1000, 120)
    layers["relu3"] = nn.ReLU()
    if dropout is not None:
        layers["dropout2"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(120, CLASSES)
    return layers


class MLP(Network):
    """784-128-128-10, ReLU."""

    def __init__(self) -> None:
        super().__init__(_mlp(dropout=None))


class MLP_d(Network):  # noqa: N801 - the name is fixed by the project
    """784-128-128-10, ReLU, dropout 0.4 after each hidden layer."""

    def __init__(self) -> None:
        super().__init__(_mlp(dropout=0.4))


class CNN(Network):
    """Conv 5x5 1->20, max-pool 2, conv 3x3 20->40, max-pool 2, 1000-120-10, ReLU."""

    def __init__(self) -> None:
        super().__init__(_cnn(dropout=None))


class CNN_d(Network):  # noqa: N801 - the name is fixed by the project
    """The CNN with dropout 0.4 before both fully connected layers."""

    def __init__(self) -> None:
        super().__init__(_cnn(dropout=0.4))


NETWORKS: dict[str, type[Network]] = {cls.__name__: cls for cls in (MLP, MLP_d, CNN, CNN_d)}


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Where a network comes from: pure data, so that a worker process can load it again.

    Attributes:
        name: how records and plots call it.
        factory: ``path/to/file.py:function`` for a user's own network; None for one of ``NETWORKS``.
        weights: a safetensors file with the network's state dict; None for the shipped weights, or for the
            weights that the factory sets itself.
    """

    name: str
    factory: str | None = None
    weights: str | None = None


def specs(names: Iterable[str], weights: str | None = None) -> tuple[NetworkSpec, ...]:
    """The specs for what a user typed: names of ``NETWORKS`` or ``path/to/file.py:factory``.

    Args:
        names: one entry per network.
        weights: a safetensors file for the one user's network among them.

    Returns:
        One spec per entry, in the order given; a user's network is called after its factory.

    Raises:
        UsageError: an entry is neither, occurs twice, or ``weights`` has no network to go to.
    """
    found = [_spec(name) for name in names]
    own = [spec for spec in found if spec.factory is not None]
    if weights is not None:
        if len(own) != 1:
            raise UsageError(
                f"--weights {weights} needs exactly one path/to/file.py:factory in --networks; there are {len(own)}"
            )
        found = [NetworkSpec(spec.name, spec.factory, weights) if spec.factory else spec for spec in found]
    twice = sorted({spec.name for spec in found if sum(other.name == spec.name for other in found) > 1})
    if twice:
        raise UsageError(f"network {', '.join(twice)} is named twice; give every network a name of its own")
    return tuple(found)


def _spec(name: str) -> NetworkSpec:
    if name in NETWORKS:
        return NetworkSpec(name)
    path, colon, factory = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise unknown("network", name, [*NETWORKS, "path/to/file.py:factory"])
    if not re.fullmatch(r"[^\W\d]\w{0,63}", factory):
        raise UsageError(f"{name!r}: {factory!r} is not a Python function's name of at most 64 characters")
    called = f"{factory}_own" if factory in NETWORKS else factory
    return NetworkSpec(called, str(Path(path).resolve()) + ":" + factory)


def load(network: NetworkSpec | str, device: str | torch.device = "cpu") -> nn.Module:
    """A network ready to be attacked: in eval mode, its parameters frozen.

    Args:
        network: a spec, or the name of one of ``NETWORKS``.
        device: where to put it.

    Returns:
        A module from (n, 1, 28, 28) float32 in [0, 1] to (n, classes) float32 logits.

    Raises:
        NetworkError: its file, its weights or its output is not what it must be.
    """
    spec = NetworkSpec(network) if isinstance(network, str) else network
    module = _shipped(spec) if spec.factory is None else _own(spec, spec.factory)
    try:
        module = module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise NetworkError(f"network {spec.name} cannot be moved to device {str(device)!r}: {error}") from error
    return module.eval().requires_grad_(False)


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of a network in eval mode.

    Args:
        network: logits out.
        images: (n, 1, 28, 28) float32.
        labels: (n,) int64.
    """
    network.eval()
    loss, correct = 0.0, 0
    with torch.inference_mode():
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            logits = network(x.to(memory_format=torch.channels_last))
            loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(1) == y).sum())
    return loss / len(labels), correct / len(labels)


def fingerprint(network: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a network's parameters and buffers, and its printed structure."""
    digest = hashlib.sha256(repr(network).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def pinned(name: str) -> dict[str, object]:
    """What was recorded when a shipped network was trained: its SHA-256 and its accuracies.

    Raises:
        NetworkError: no such record is shipped, or it cannot be read.
    """
    path = WEIGHTS / f"{name}.json"
    try:
        content: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NetworkError(f"{path}: the record of the trained {name} cannot be read ({error})") from error
    return content


def _shipped(spec: NetworkSpec) -> nn.Module:
    if spec.name not in NETWORKS:
        raise unknown("network", spec.name, NETWORKS)
    module = NETWORKS[spec.name]()
    path = WEIGHTS / f"{spec.name}.safetensors"
    content = _read(path)
    found, expected = hashlib.sha256(content).hexdigest(), pinned(spec.name)["sha256"]
    if found != expected:
        raise NetworkError(
            f"weights {path} are not those that were shipped: SHA-256 {found}, expected {expected}; "
            f"install the package again, or train with 'python -m bench.train {spec.name} --save'"
        )
    _fill(module, content, path)
    return module


def _own(spec: NetworkSpec, factory: str) -> nn.Module:
    path, _, function = factory.rpartition(":")
    module = _call(Path(path), function)
    if not isinstance(module, nn.Module):
        raise NetworkError(f"{factory} returned {type(module).__name__}; it must return a torch.nn.Module")
    if spec.weights is not None:
        weights = Path(spec.weights)
        _fill(module, _read(weights), weights)
    module.eval()
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            output = module(torch.zeros((2, *SHAPE), device=device))
    except Exception as error:
        raise NetworkError(
            f"{factory}: the network fails on a (2, 1, 28, 28) float32 input: {type(error).__name__}: {error}"
        ) from error
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 2 or output.shape[1] < 2:
        raise NetworkError(
            f"{factory}: for 2 images the network returns {shape}; it must return logits of shape (2, classes), classes >= 2"
        )
    return module


def _call(path: Path, function: str) -> object:
    name = f"user_network_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise NetworkError(f"{path} is not a Python file; give --networks path/to/file.py:factory")
    source = importlib.util.module_from_spec(specification)
    # Dataclasses, copies and pickles look their module up by its name.
    sys.modules[name] = source
    try:
        specification.loader.exec_module(source)
    except (Exception, SystemExit) as error:
        raise NetworkError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(getattr(source, function, None)):
        raise NetworkError(f"{path} has no function {function!r}")
    try:
        return getattr(source, function)()
    except (Exception, SystemExit) as error:
        raise NetworkError(f"{path}:{function}() raises {type(error).__name__}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NetworkError(f"weights {path} cannot be read: {error.strerror}") from error


def _fill(module: nn.Module, content: bytes, path: Path) -> None:
    try:
        module.load_state_dict(load_safetensors(content))
    except SafetensorError as error:
        raise NetworkError(f"weights {path} are not a safetensors file: {error}") from error
    except RuntimeError as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise NetworkError(f"weights {path} do not fit the network: {reason}") from error
