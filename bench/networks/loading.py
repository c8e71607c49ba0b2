"""Loading networks from where they come, and their first call."""

from __future__ import annotations

import hashlib
import json
import os
import pickletools
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cloudpickle
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from bench import guard
from bench.domain import Domain
from bench.errors import BenchError, NetworkError, line, no_room, unknown
from bench.guard import IMPORTS, Guarded, Within, device_of, frozen
from bench.networks import makers, onnxfile, outputs, standard, weights
from bench.networks.grammar import ONNX, TIMM, TORCHVISION, values
from bench.networks.identity import Identity, identify
from bench.networks.spec import LIVE, NETWORKS, ZOO, NetworkSpec
from bench.problem import Standardised
from bench.usercode import UserFile, kept

BATCH = 1_000
"""Images in a forward pass when a whole split is evaluated."""

WEIGHTS = Path(__file__).parent / "weights"

_LIVE: dict[str, nn.Module] = {}
"""Modules of the calling program, by name, while a run of theirs goes on."""

_LIVE_FILES = "MINIMAL_NORM_BENCH_LIVE"
"""The environment variable by which worker processes find the live modules of the program that started them.

It holds JSON: a module's name -> the path of its file, which is called by the SHA-256 of its content.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A network as it was loaded.

    Attributes:
        spec: where it is from.
        module: in eval mode, its parameters frozen; nothing else refers to it.
        code: the user's file that made it; None for a network of the zoo, of a module or of the program.
        files: SHA-256 of the content of every file it was made from, by absolute path, the first one first.
        notes: what was done to take it, in words; empty where it was taken as it is.
    """

    spec: NetworkSpec
    module: nn.Module
    code: UserFile | None
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def within(self) -> AbstractContextManager[None]:
        """What its calls are made within: its neighbours are found, and the process is given back as it was."""
        return kept() if self.code is None else self.code.among_neighbours()

    def guard(self, changes: Collection[str]) -> Within | None:
        """What each call has to be made within, where a call changes the process.

        Args:
            changes: what a call changes, from :func:`bench.guard.touched`.
        """
        if not changes:
            return None
        return self.within if IMPORTS in changes else partial(kept, frozenset(changes))

    def identity(self, domain: Domain) -> Identity:
        """What it is known by; ask before it is called."""
        return identify(self.module, domain, self.files, self.within)


def source(
    network: NetworkSpec | str,
    device: str | torch.device = "cpu",
    domain: Domain | None = None,
    *,
    download: bool = False,
) -> Source:
    """A network ready to be attacked, the files it was made from, and what was done to take it.

    Args:
        network: a spec, or the name of one of the zoo.
        device: where to put it.
        domain: of its inputs; None leaves its outputs as they are, and can standardise nothing.
        download: whether trained weights that a library brings may be downloaded.

    Raises:
        NetworkError: its file or its weights are not what they must be.
        UsageError: it is to be standardised by another number of values than its inputs have.
    """
    spec = NetworkSpec(network) if isinstance(network, str) else network
    made = _made(spec, domain, download=download)
    module, notes = made.module, made.notes
    lazy = [name for name, value in module.named_parameters() if isinstance(value, UninitializedParameter)]
    if lazy:
        raise NetworkError(
            f"network {spec.name} has lazy layers without weights ({', '.join(lazy[:3])}); call it once on an image in its "
            "factory, or give --weights"
        )
    if spec.normalize is not None:
        if domain is None:
            raise NetworkError(f"network {spec.name} is standardised inside; say the domain of its inputs")
        module = nn.Sequential(
            OrderedDict(standardised=Standardised(*standard.shaped(spec.normalize, domain)), network=module)
        )
        notes = (*notes, standard.words(spec.normalize))
    try:
        with kept():
            module = frozen(module.to(device))
    except Exception as error:
        raise NetworkError(
            f"network {spec.name} cannot be put on device {str(device)!r} in eval mode: {line(error)}"
        ) from error
    found = Source(spec, module, made.code, made.files, notes)
    if domain is None or spec.source is None:
        return found
    module, more = outputs.logits_of(module, domain, spec.name, found.within)
    return replace(found, module=module, notes=(*notes, *more))


def load(network: NetworkSpec | str, device: str | torch.device = "cpu", domain: Domain | None = None) -> nn.Module:
    """A network ready to be attacked: in eval mode, its parameters frozen.

    Args:
        network: a spec, or the name of one of the zoo.
        device: where to put it.
        domain: of its inputs; None leaves its outputs as they are.

    Returns:
        A module from (n, *shape) float32 images to (n, classes) float32 logits.

    Raises:
        NetworkError: its file or its weights are not what they must be.
    """
    return source(network, device, domain).module


@contextmanager
def live(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Let :func:`load` find modules of this program by name, here and in worker processes that are started meanwhile.

    They are written to a temporary folder that only this user can read, and that worker processes find through the
    environment. The modules themselves stay as they are.

    Args:
        modules: by name; each that cannot be written (see :func:`sendable`) is found in this process alone.

    Raises:
        MachineError: the temporary folder cannot be written.
    """
    if not modules:
        yield
        return
    found_before, files_before = dict(_LIVE), os.environ.get(_LIVE_FILES)
    with _folder() as folder:
        files: dict[str, str] = json.loads(files_before or "{}")
        for name, module in modules.items():
            try:
                content = _dumped(module)
            except Exception:
                files.pop(name, None)
            else:
                files[name] = str(_kept(content, folder))
        try:
            _LIVE.update(modules)
            os.environ[_LIVE_FILES] = json.dumps(files)
            yield
        finally:
            _LIVE.clear()
            _LIVE.update(found_before)
            if files_before is None:
                os.environ.pop(_LIVE_FILES, None)
            else:
                os.environ[_LIVE_FILES] = files_before


def sendable(module: nn.Module) -> str:
    """Why a module cannot be sent to worker processes; empty if it can be written, and read back in this process."""
    try:
        _through_bytes(module)
    except Exception as error:
        return line(error)
    return ""


def check_output(network: nn.Module, domain: Domain, name: str) -> None:
    """Check that a network takes inputs of a domain and returns logits for its classes, one image or several at a time.

    Args:
        network: in eval mode.
        domain: of its inputs.
        name: what the message calls it.

    Raises:
        NetworkError: it does not.
    """
    guarded = Guarded.of(network, kept)
    for n in (2, 1):
        inputs = torch.as_tensor(domain.clip(torch.zeros((n, *domain.shape))), dtype=torch.float32)
        try:
            with torch.no_grad():
                output = guarded(inputs.to(device_of(network)))
        except Exception as error:
            raise NetworkError(
                f"network {name} fails on a {tuple(inputs.shape)} float32 input: {line(error)}; inputs of this dataset "
                f"have shape {domain.shape}"
            ) from error
        images = "1 image" if n == 1 else f"{n} images"
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != n or output.shape[1] < 2:
            raise NetworkError(
                f"network {name} returns {shape} for {images}; it must return logits of shape ({n}, classes), classes >= 2"
            )
        if output.is_complex() or not output.is_floating_point() or output.layout is not torch.strided:
            raise NetworkError(f"network {name} returns {output.dtype}, {output.layout}; it must return float logits")
        if output.shape[1] < domain.classes:
            raise NetworkError(f"network {name} has {output.shape[1]} classes; the dataset has {domain.classes}")


def evaluate(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy in [0, 1] of a network in eval mode.

    Args:
        network: logits out.
        images: (n, *shape) float32, on any device.
        labels: (n,) int64.
    """
    device = device_of(network)
    guarded = Guarded.of(network.eval(), kept)
    layout = torch.channels_last if images.ndim == 4 else torch.contiguous_format
    loss, correct = 0.0, 0
    # Not in inference mode: a module may take gradients inside.
    with torch.no_grad():
        for x, y in zip(images.split(BATCH), labels.to(device).split(BATCH), strict=True):
            logits = guarded(x.to(device, memory_format=layout))
            loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(1) == y).sum())
    return loss / len(labels), correct / len(labels)


def pinned(name: str) -> dict[str, object]:
    """What was recorded when a network of the zoo was trained: its SHA-256 and its accuracies.

    Raises:
        NetworkError: no such record is shipped, or it cannot be read.
    """
    path = WEIGHTS / f"{name}.json"
    try:
        content: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NetworkError(f"{path}: the record of the trained {name} cannot be read ({error})") from error
    return content


@dataclass(frozen=True, slots=True)
class _Made:
    """A network as its source gives it, and what a :class:`Source` says of it."""

    module: nn.Module
    code: UserFile | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _made(spec: NetworkSpec, domain: Domain | None, *, download: bool) -> _Made:
    """The network of a spec, with its weights."""
    place = spec.source
    if place is None:
        return _Made(_from_zoo(spec))
    if spec.live:
        return _Made(_from_program(spec))
    if place.startswith(ONNX):
        module, files, notes = onnxfile.load(spec, domain)
        return _Made(module, files=files, notes=notes)
    if place.startswith((TORCHVISION, TIMM)):
        maker = makers.torchvision if place.startswith(TORCHVISION) else makers.timm
        module, notes = maker(spec, download=download)
        made = _Made(module, notes=notes)
    else:
        made = _from_factory(spec, place)
    if spec.weights is None:
        return made
    path = Path(spec.weights)
    return replace(made, notes=(*made.notes, *weights.fill(made.module, weights.read(path), path)))


def _from_zoo(spec: NetworkSpec) -> nn.Module:
    if spec.name not in ZOO:
        raise unknown("network", spec.name, ZOO)
    module: nn.Module = NETWORKS.find(spec.name).value()
    path = WEIGHTS / f"{spec.name}.safetensors"
    content = weights.read(path)
    found, expected = hashlib.sha256(content).hexdigest(), pinned(spec.name)["sha256"]
    if found != expected:
        raise NetworkError(
            f"weights {path} are not those that were shipped: SHA-256 {found}, expected {expected}; "
            f"install the package again, or train with 'python -m bench.train {spec.name} --save'"
        )
    weights.fill(module, content, path)
    return module


def _from_factory(spec: NetworkSpec, place: str) -> _Made:
    try:
        found = NETWORKS.find(place)
    except BenchError as error:
        raise NetworkError(str(error)) from error
    call = f"{place}{spec.arguments or '()'}"
    if isinstance(found.value, nn.Module):
        if spec.arguments:
            raise NetworkError(f"{place} is a module and takes no arguments; leave out {spec.arguments}")
        made: object = found.value
    elif callable(found.value):
        placed, named = values(spec.arguments)
        try:
            made = found.call(*placed, **named)
        except (Exception, SystemExit) as error:
            raise NetworkError(f"{call} raises {line(error)}") from error
    else:
        raise NetworkError(
            f"{place} is a {type(found.value).__name__}; it must be a function that returns a torch.nn.Module"
        )
    if not isinstance(made, nn.Module):
        raise NetworkError(f"{place} returned {type(made).__name__}; it must return a torch.nn.Module")
    # Whatever keeps the module that was returned, a later call of the factory included, is not this one's concern.
    return _Made(_copied(made, spec.name), found.code, found.files)


def _from_program(spec: NetworkSpec) -> nn.Module:
    name = str(spec.source).removeprefix(LIVE)
    if name in _LIVE:
        return _copied(_LIVE[name], spec.name)
    file = json.loads(os.environ.get(_LIVE_FILES, "{}")).get(name)
    if file is None or not Path(file).is_file():
        raise NetworkError(f"network {spec.name} is a module of another program; run it from there")
    content = Path(file).read_bytes()
    if hashlib.sha256(content).hexdigest() != Path(file).name:
        raise NetworkError(f"network {spec.name}: {file} is not what was written there; start the run again")
    try:
        module: nn.Module = cloudpickle.loads(content)
    except Exception as error:
        raise NetworkError(f"network {spec.name} cannot be read back in this process: {line(error)}") from error
    return module


def _dumped(module: nn.Module) -> bytes:
    """A module as bytes that a new process of this program can read.

    What lies in modules that a new process cannot import by name, such as a file that was loaded by its path, goes along by
    value.
    """
    content: bytes = cloudpickle.dumps(module)
    named = {argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)}
    lost = [sys.modules[name] for name in sorted(named) if name in sys.modules and not _importable(name)]
    for each in lost:
        cloudpickle.register_pickle_by_value(each)
    try:
        return cloudpickle.dumps(module) if lost else content
    finally:
        for each in lost:
            cloudpickle.unregister_pickle_by_value(each)


def _importable(name: str) -> bool:
    """Whether a new process with this one's ``sys.path`` finds the package that a module's name begins with."""
    top = name.partition(".")[0]
    if top == "__main__":
        return True  # cloudpickle sends what lies there by value of its own accord
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path if hasattr(finder, "find_spec"))


def _copied(module: nn.Module, name: str) -> nn.Module:
    """A copy that has no part in common with the module, so that nothing done to it reaches the user's."""
    try:
        copied = guard.copied(module)
    except Exception as error:
        try:
            copied = _through_bytes(module)
        except Exception:
            raise NetworkError(f"network {name} cannot be copied: {line(error)}") from error
    if not _parts(copied).keys().isdisjoint(_parts(module)):
        raise NetworkError(
            f"network {name} cannot be copied: its copy shares modules or weights with it; mend its __deepcopy__"
        )
    return copied


def _through_bytes(module: nn.Module) -> nn.Module:
    copied: nn.Module = cloudpickle.loads(_dumped(module))
    return copied


def _parts(module: nn.Module) -> dict[int, object]:
    """A module's modules, parameters and buffers by identity; they are kept, so that no identity is used twice."""
    return {id(part): part for parts in (module.modules(), module.parameters(), module.buffers()) for part in parts}


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder, gone afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="bench-networks-", ignore_cleanup_errors=True)
    except OSError as error:
        raise no_room(error) from error
    with folder as path:
        yield Path(path)


def _kept(content: bytes, folder: Path) -> Path:
    """A file of a folder, called by its content's SHA-256."""
    path = folder / hashlib.sha256(content).hexdigest()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise no_room(error) from error
    return path
