"""The logits of networks that return them inside something else, or one logit for two classes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from bench.domain import Domain
from bench.errors import NetworkError
from bench.guard import Guarded, Within, copied, device_of, frozen
from bench.networks.identity import points

LOGITS = "logits"
"""The key, or the attribute, that holds logits wherever it is there."""

PROBED = 3
"""So many points are looked at together: another number than one, and than two classes."""

ONE_LOGIT = "one logit z read as two: (0, z)"


class Picked(nn.Module):
    """A network of whose output one tensor is taken.

    Attributes:
        network: from (n, *shape) images to whatever it returns.
        key: of the tensor in a mapping or a sequence, or its attribute; None where the output is the tensor.
        column: whether the tensor is (n, 1), (n,) or, of one image, (), and (n, 1) is wanted.
    """

    def __init__(self, network: nn.Module, key: str | int | None, *, column: bool) -> None:
        super().__init__()
        self.network = network
        self.key = key
        self.column = column

    def extra_repr(self) -> str:
        """What is taken."""
        return f"key={self.key!r}, column={self.column}"

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes), or (n, 1), of (n, *shape) images."""
        output: Tensor = _at(self.network(images), self.key)
        return output.reshape(images.shape[0], 1) if self.column else output


def logits_of(network: nn.Module, domain: Domain, name: str, within: Within) -> tuple[nn.Module, tuple[str, ...]]:
    """A network that returns logits alone.

    A copy is called once, on points of the domain. What fails there stays as it is, for the checks before a run to tell.

    Args:
        network: in eval mode.
        domain: of its inputs.
        name: what messages call it.
        within: what its call is made within.

    Returns:
        The network itself where it returns a tensor of logits, else one that takes them from what it returns; and what was
        done, in words.

    Raises:
        NetworkError: it returns several tensors that may be the logits.
    """
    output: object = None
    with suppress(Exception), torch.no_grad():
        inputs = torch.from_numpy(points(domain)[:PROBED]).to(device_of(network))
        output = Guarded(copied(network), within)(inputs)
    found = _found(output, domain, name)
    if found is None:
        return network, ()
    key, words = found
    value = _at(output, key)
    one = domain.classes == 2 and _is_one(value)
    notes = () if key is None else (words,)
    made = network
    if key is not None or (one and value.ndim == 1):
        made = Picked(network, key, column=one)
    if one:
        made = nn.Sequential(made, _two(value))
        notes = (*notes, ONE_LOGIT)
    return (made if made is network else frozen(made)), notes


def _found(output: object, domain: Domain, name: str) -> tuple[str | int | None, str] | None:
    """The key of the logits in an output and how a note calls it; None where nothing is to be taken or there are none."""
    if isinstance(output, Tensor):
        return (None, "") if domain.classes == 2 and _is_one(output) else None
    kind = type(output).__name__
    if isinstance(output, Mapping):
        values: dict[Any, Any] = dict(output)
        keys = "key"
    elif isinstance(getattr(output, LOGITS, None), Tensor):
        return LOGITS, f"output: attribute '{LOGITS}' of a {kind}"
    elif isinstance(output, tuple | list):
        values, keys = dict(enumerate(output)), "entry"
    else:
        return None
    tensors = {key: value for key, value in values.items() if _is_floating(value)}
    if LOGITS in tensors:
        return LOGITS, f"output: key '{LOGITS}' of a {kind}"
    if not tensors:
        return None
    exact = [key for key, value in tensors.items() if value.ndim == 2 and value.shape[1] == domain.classes]
    single = [key for key, value in tensors.items() if domain.classes == 2 and _is_one(value)]
    more = [key for key, value in tensors.items() if value.ndim == 2 and value.shape[1] > domain.classes]
    chosen = exact or single or more
    shapes = ", ".join(f"{key!r} {tuple(value.shape)}" for key, value in tensors.items())
    if len(chosen) != 1 or not isinstance(chosen[0], str | int):
        raise NetworkError(
            f"network {name} returns a {kind} with {shapes} for {PROBED} inputs, and "
            f"{'several of them' if chosen else 'none of them'} may be the logits of {domain.classes} classes; return them alone, or "
            f"under the key '{LOGITS}'"
        )
    return chosen[0], f"output: {keys} {chosen[0]!r} of a {kind}"


def _at(output: Any, key: str | int | None) -> Any:
    """The tensor of an output."""
    if key is None:
        return output
    if isinstance(output, Mapping) or isinstance(key, int):
        return output[key]
    return getattr(output, key)


def _is_floating(value: object) -> bool:
    """Whether a value holds numbers for each of the points."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout is torch.strided
        and value.ndim > 0
        and len(value) == PROBED
    )


def _is_one(value: Tensor) -> bool:
    """Whether a tensor has one number for each of the points."""
    return _is_floating(value) and tuple(value.shape) in ((PROBED,), (PROBED, 1))


def _two(like: Tensor) -> nn.Linear:
    """From one logit to two: (n, 1) to (n, 2), exactly."""
    layer = nn.Linear(1, 2, bias=False, device=like.device, dtype=like.dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0], [1.0]]))
    return layer
