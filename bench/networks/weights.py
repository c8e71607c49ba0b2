"""Files of weights: read without executing anything, and filled into modules whose names differ only in what wrappers add."""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from bench.errors import NetworkError, line

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
"""Endings of the files that ``torch.save`` writes; all other files are read as safetensors."""

ENTRIES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""Where checkpoints keep the weights among other things; the first of these counts."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What wrappers put before the names of weights: ``DataParallel``, ``torch.compile``, trainers."""

_LONGEST = 1_000
"""So many characters of torch's message about weights that do not fit are shown."""


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        NetworkError: it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NetworkError(f"weights {path} cannot be read: it is no regular file")
        return path.read_bytes()
    except MemoryError as error:
        raise NetworkError(f"weights {path} cannot be read: the file is larger than the memory") from error
    except OSError as error:
        raise NetworkError(f"weights {path} cannot be read: {error.strerror}") from error


def fill(module: nn.Module, content: bytes, path: Path) -> tuple[str, ...]:
    """Fill a module's parameters and buffers.

    Args:
        module: whose names and shapes the weights have to fit.
        content: of the file.
        path: of the file; its ending says how it is read.

    Returns:
        What was done to make the weights fit, in words.

    Raises:
        NetworkError: they cannot be read without executing code, or do not fit.
    """
    notes: list[str] = []
    if path.suffix.lower() in PICKLED:
        state = _unwrapped(_unpickled(content, path), path, notes)
    else:
        state = _safe(content, path)
    own = module.state_dict()
    state = _without_prefixes(state, own, notes)
    # Of tensors that share their memory, safetensors' ``save_model`` keeps one.
    places = {name: _memory(value) for name, value in own.items()}
    kept = {place: name for name, place in places.items() if place and name in state}
    tied = {name: state[kept[place]] for name, place in places.items() if name not in state and place in kept}
    changed = {
        (_dtype(state[name]), _dtype(value))
        for name, value in own.items()
        if isinstance(value, Tensor) and isinstance(state.get(name), Tensor) and state[name].dtype != value.dtype
    }
    try:
        module.load_state_dict(state | tied)
    except Exception as error:
        reason = " ".join(str(error).split())
        more = "..." if len(reason) > _LONGEST else ""
        raise NetworkError(f"weights {path} do not fit the network: {reason[:_LONGEST]}{more}") from error
    return (*notes, *(f"weights: {there} as {here}" for there, here in sorted(changed)))


def _safe(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return dict(load_safetensors(content))
    except SafetensorError as error:
        raise NetworkError(
            f"weights {path} are not a safetensors file: {error}; what torch.save writes is read from names that end with "
            f"{', '.join(PICKLED)}"
        ) from error
    except (AttributeError, KeyError) as error:
        raise NetworkError(f"weights {path} have a dtype that this torch cannot read: {line(error)}") from error


def _unpickled(content: bytes, path: Path) -> object:
    """What ``torch.save`` wrote, if it is made of tensors and plain data."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        plain = f"{path.stem}-weights.pt"
        if "TorchScript" in reason:
            raise NetworkError(
                f"weights {path} are a TorchScript archive, a whole program, which is not executed here; where you trust it, "
                f"write its weights once with these two lines: module = torch.jit.load({path.name!r}, map_location='cpu'); "
                f"torch.save(module.state_dict(), {plain!r})"
            ) from error
        if "Unsupported" in reason:
            found = reason[reason.index("Unsupported") :].split(" was not ")[0].split(". ")[0][:100]
            raise NetworkError(
                f"weights {path} hold Python objects beside tensors ({found}), and reading them would execute code of the file; "
                f"where you trust it, write its weights once with these two lines: module = torch.load({path.name!r}, "
                f"map_location='cpu', weights_only=False); torch.save(module.state_dict(), {plain!r}). Of a dict take the entry "
                "that holds the weights in place of module.state_dict()"
            ) from error
        raise NetworkError(f"weights {path} are no file of torch.save, or are damaged: {reason[:200]}") from error


def _unwrapped(found: object, path: Path, notes: list[str]) -> dict[str, Any]:
    """The state dict inside a checkpoint."""
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        entry = next((name for name in ENTRIES if isinstance(found.get(name), Mapping)), None)
        if entry is None:
            break
        notes.append(f"weights: entry {entry!r} of the file")
        found = found[entry]
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        what = f"a dict with {_some(found)}" if isinstance(found, Mapping) else f"a {type(found).__name__}"
        raise NetworkError(
            f"weights {path} hold {what}, and no state dict; save torch.save(network.state_dict(), {path.name!r}), or put it under "
            f"{ENTRIES[0]!r}"
        )
    return {str(name): value for name, value in found.items()}


def _some(found: Mapping[Any, Any]) -> str:
    names = [str(name)[:40] for name in list(found)[:8]]
    return f"the entries {', '.join(names)}{', ...' if len(found) > 8 else ''}" if names else "no entry"


def _without_prefixes(state: dict[str, Any], own: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """The weights by the module's own names, where all of them have a prefix that it lacks."""

    def fitting(names: Mapping[str, Any]) -> int:
        return sum(name in own for name in names)

    left = state
    taken = ""
    while left and not all(name in own for name in left):
        prefix = next((each for each in PREFIXES if all(name.startswith(each) for name in left)), None)
        if prefix is None:
            break
        left = {name.removeprefix(prefix): value for name, value in left.items()}
        taken += prefix
        if fitting(left) > fitting(state):
            notes.append(f"weights: prefix {taken!r} left out")
            return _without_prefixes(left, own, notes)
    return state


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _memory(value: object) -> tuple[Any, ...] | None:
    """Where a tensor lies in memory, and how; None for what shares none."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.numel() or value.is_meta:
        return None
    return value.data_ptr(), value.shape, value.stride(), value.dtype
