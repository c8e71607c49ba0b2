"""Whether a network is a function of its image: the same logits every time, whatever it saw before."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from bench.findings import CheckName, Finding, Level
from bench.guard import Guarded, copied
from bench.preflight.probe import Probe
from bench.usercode import Globals, kept

IMAGES = 32
"""How many images are looked at."""


def repeats(probe: Probe) -> Iterator[Finding]:
    """The logits of an image are the same to the bit, whatever random numbers there are and whatever came before it.

    Every cause that is named was tested: fresh copies of the network differ by it alone.
    """
    images = probe.images[:IMAGES]
    first, second = _Copy(probe), _Copy(probe)
    logits = first.logits(images, seed=0)
    if (difference := _apart(logits, second.logits(images, seed=1))) > 0:
        yield _stop(difference, "two forward passes of the same images", _cause(probe, images, logits))
        return
    for others in _others(probe, images):
        first.logits(others, seed=0)
        if (difference := _apart(logits, first.logits(images, seed=0))) > 0:
            changed = (
                ", ".join(_changed(_Copy(probe).network, first.network)[:3]) or "something that no attribute shows"
            )
            cause = f"what it keeps between calls changes with the images it sees: {changed}"
            yield _stop(difference, "the same images, before and after other ones,", cause)
            return
    training = [name or type(module).__name__ for name, module in first.network.named_modules() if module.training]
    if training:
        message = f"it repeats exactly, but these modules stay in training mode: {', '.join(training[:5])}"
        yield Finding(CheckName.REPEATS, Level.WARN, 0.0, message)
    else:
        yield Finding(CheckName.REPEATS, Level.PASS, 0.0, "two forward passes of the same images are equal to the bit")


class _Copy:
    """A copy of a network, as fresh as it was loaded, with every call's random numbers from a seed.

    Attributes:
        network: the copy.
        drew: which random numbers of the process its last call changed, in words.
    """

    def __init__(self, probe: Probe) -> None:
        guarded = Guarded.of(probe.network)
        self.network = copied(guarded.network)
        self._within = guarded.within or kept
        self.drew: list[str] = []

    def logits(self, images: Tensor, *, seed: int) -> Tensor:
        with self._within(), torch.no_grad():
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - what networks may draw from
            torch.manual_seed(seed)
            before = Globals.now()
            logits: Tensor = Guarded(self.network)(images)
            self.drew = [words for words in before.changed() if words.endswith("random numbers")]
        return logits


def _cause(probe: Probe, images: Tensor, logits: Tensor) -> str:
    """Why two fresh copies with different random numbers gave different logits."""
    third = _Copy(probe)
    if _apart(logits, third.logits(images, seed=0)) > 0:
        return "it does so with the same random numbers, too: the time, or a source of random numbers of its own"
    drawn = ", ".join(third.drew) or "random numbers"
    training = [name or type(module).__name__ for name, module in third.network.named_modules() if module.training]
    modes = f"; modules in training mode: {', '.join(training[:5])}" if training else ""
    return f"it draws random numbers ({drawn}): with the same ones it repeats{modes}"


def _stop(difference: float, what: str, cause: str) -> Finding:
    message = (
        f"{what} differ by up to {difference:.3g} in their logits ({cause}); a minimal norm is not defined for such a "
        "classifier. Return network.eval(), fix the randomness, or freeze what changes"
    )
    return Finding(CheckName.REPEATS, Level.STOP, difference, message)


def _others(probe: Probe, images: Tensor) -> Iterator[Tensor]:
    """Other images, and the ends of the box."""
    low, high = (
        torch.as_tensor(np.broadcast_to(end, probe.domain.shape).copy(), dtype=images.dtype, device=images.device)
        for end in probe.domain.ends
    )
    yield images.flip(0)[: max(1, len(images) // 2)]
    yield torch.stack([low, high])


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference; infinite where the shapes differ or one is a number and the other none."""
    if one.shape != other.shape:
        return float("inf")
    same = (one == other) | (one.isnan() & other.isnan())
    return float(torch.where(same, 0.0, (one - other).abs().nan_to_num(float("inf"))).max()) if one.numel() else 0.0


def _changed(fresh: nn.Module, used: nn.Module) -> list[str]:
    """The buffers, parameters and plain attributes that differ between two copies."""
    names = []
    others = dict(used.named_modules())
    for name, layer in fresh.named_modules():
        prefix = f"{name}." if name else ""
        pairs = [(layer._parameters, others[name]._parameters), (layer._buffers, others[name]._buffers)]  # noqa: SLF001 - values of every kind
        for before, after in [*pairs, (_plain(layer), _plain(others[name]))]:
            names += [
                prefix + key for key in dict.fromkeys([*before, *after]) if not _same(before.get(key), after.get(key))
            ]
    return names


def _plain(layer: nn.Module) -> dict[str, object]:
    return {key: value for key, value in vars(layer).items() if not key.startswith("_") or isinstance(value, Tensor)}


def _same(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and _apart(one.detach().float(), other.detach().float()) == 0
    if isinstance(one, int | float | str | list | dict | tuple | set | None) or type(one) is not type(other):
        try:
            return bool(one == other)
        except Exception:
            return repr(one) == repr(other)
    return True
