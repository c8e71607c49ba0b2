"""What a network is known by: its weights and other state, what it computes, and the files it was made from."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.domain import Domain
from bench.guard import Within
from bench.guard.forward import Guarded
from bench.judge import Judge
from bench.usercode import kept

POINTS = 8
"""How many fixed points a network's behaviour is looked at."""

AGREEMENT = 1e-5
"""The logits of one network, in float64, differ by less from machine to machine, in units of the largest logit."""

_COLUMNS = 32
"""The most numbers that are kept of a point; of more logits, so many random sums."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a network from others.

    Attributes:
        state: SHA-256 of its parameters, buffers and printed structure, see :func:`fingerprint`.
        behaviour: (points, numbers) float64 logits on fixed points of the domain; empty where it cannot be called there.
        files: SHA-256 of every file it was made from, by its path from the folder of the first.
    """

    state: str
    behaviour: tuple[tuple[float, ...], ...]
    files: Mapping[str, str] = field(default_factory=dict)

    def difference(self, other: Identity) -> str:
        """Why another network is not this one, in words; empty where it is. Files count where both have them."""
        for name in sorted(self.files.keys() & other.files.keys()):
            if self.files[name] != other.files[name]:
                return f"file {name} has another content"
        if self.state != other.state:
            return f"its weights, buffers or layers are others: SHA-256 {other.state[:12]}, expected {self.state[:12]}"
        if not self.behaviour:
            return ""
        here, there = (np.array(one.behaviour, dtype=np.float64) for one in (self, other))
        if here.shape != there.shape:
            return f"it has logits of shape {there.shape} on fixed points, expected {here.shape}"
        with np.errstate(invalid="ignore"):
            apart = np.where(_alike(here, there), 0.0, np.abs(here - there))
        largest = max(1e-30, float(np.abs(here[np.isfinite(here)]).max(initial=0.0)))
        if not (apart <= AGREEMENT * largest).all():
            return f"its logits on fixed points differ by up to {np.nanmax(apart):.3g}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """For the manifest; :meth:`from_json` reads it."""
        return {"sha256": self.state, "behaviour": [[repr(number) for number in row] for row in self.behaviour]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What :meth:`to_json` wrote; runs of older versions have no behaviour.

        Raises:
            ValueError: it is something else.
        """
        rows = content.get("behaviour") or []
        return cls(str(content["sha256"]), tuple(tuple(float(number) for number in row) for row in rows))


def identify(
    network: nn.Module, domain: Domain, files: Mapping[str, str] | None = None, within: Within = kept
) -> Identity:
    """What a network is known by.

    Args:
        network: as it was loaded, before its first call; it is not called, a copy is.
        domain: of its inputs.
        files: SHA-256 by absolute path of the files it was made from, the first one first.
        within: what its calls are made within.
    """
    found = dict(files or {})
    folder = Path(next(iter(found), "/")).parent
    return Identity(
        state=fingerprint(network),
        behaviour=_behaviour(network, domain, within),
        files={os.path.relpath(path, folder): sha256 for path, sha256 in found.items()},
    )


def fingerprint(network: nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a network's parameters and buffers, and its printed structure.

    Memory addresses in the printed structure do not count. What is no dense tensor counts by its serialised bytes.
    """
    digest = hashlib.sha256(_without_addresses(printed(network)).encode())
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(_bytes(value))
        else:
            digest.update(f"{name} {type(value).__name__}".encode())
            digest.update(_serialised(value))
    return digest.hexdigest()


def points(domain: Domain) -> NDArray[np.float32]:
    """The fixed points of a domain: half of them spread over the box, half of them corners of it, some at few values."""
    random = np.random.default_rng(0)
    spread = random.random((POINTS // 2, *domain.shape))
    parts = np.linspace(0.1, 0.7, POINTS - len(spread)).reshape(-1, *[1] * len(domain.shape))
    corners = random.random((len(parts), *domain.shape)) < parts
    unit = np.concatenate([spread, corners])
    low, high = domain.ends
    return np.asarray(domain.clip(low + (high - low) * unit), dtype=np.float32)


def _behaviour(network: nn.Module, domain: Domain, within: Within) -> tuple[tuple[float, ...], ...]:
    with kept():
        # Sums round alike whatever the number of threads.
        torch.set_num_threads(1)
        try:
            judge = Judge(Guarded(network, within), domain)
            logits = np.concatenate([judge.logits(point[None]) for point in points(domain)])
        except Exception:
            # Why it cannot be called there is for the checks before a run to say.
            return ()
    logits = logits.reshape(len(logits), -1)
    if logits.shape[1] > _COLUMNS:
        logits = logits @ np.random.default_rng(0).standard_normal((logits.shape[1], _COLUMNS))
    return tuple(tuple(float(number) for number in row) for row in logits)


def _alike(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Equal, or not numbers both."""
    return np.isclose(here, there, rtol=0.0, atol=0.0, equal_nan=True)


def printed(network: nn.Module) -> str:
    """A network as it prints itself; its class where it cannot."""
    try:
        return repr(network)
    except Exception:
        return type(network).__qualname__


def _without_addresses(text: str) -> str:
    return re.sub(r"\b0x[0-9a-f]+\b", "0x", text)


def _bytes(value: Tensor) -> bytes:
    try:
        plain = value.detach().cpu().contiguous()
        # NumPy lacks some dtypes; their bytes are the same.
        raw = plain.view(torch.uint8) if plain.ndim else plain.reshape(1).view(torch.uint8)
        return raw.numpy().tobytes()
    except (RuntimeError, TypeError):
        return _serialised(value)


def _serialised(value: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
    except Exception:
        # What cannot be serialised is known by how it prints.
        return _without_addresses(repr(value)).encode()
    return buffer.getvalue()
