"""Which modules compute what their types say."""

from __future__ import annotations

from collections.abc import Container

from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.utils import parametrize

from bench.problem import Unsupported

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

_HARMLESS = frozenset(
    ("__init__", "__doc__", "__module__", "__annotations__", "__dict__", "__weakref__", "__repr__", "extra_repr")
)
"""What a subclass of Sequential may define and still compute what Sequential does; names of its own as well."""


def check(module: nn.Module, known: Container[type]) -> bool:
    """Whether a module is a layer of a known type; else its forward says what it computes.

    Args:
        module: called on the way from the image to the logits.
        known: types of layers, exactly.

    Raises:
        Unsupported: it may compute something else than its type or its forward says, or it is a layer that is not known.
    """
    kind = type(module)
    if changed := _changed(module):
        raise Unsupported(f"no verifier for {kind.__name__} with {changed}")
    if module.training:
        raise Unsupported("no verifier for a network in training mode; call network.eval() first")
    if kind in known:
        return True
    if isinstance(module, nn.Sequential):
        bases = kind.__mro__[: kind.__mro__.index(nn.Sequential)]
        own = {name for base in bases for name in vars(base) if hasattr(nn.Sequential, name)} - _HARMLESS
        if own:
            raise Unsupported(f"no verifier for {kind.__name__}: it has a {min(own)} of its own")
        return False
    base = next(
        (base for base in kind.__mro__[1:] if base.__module__.startswith("torch.nn.") and base is not nn.Module), None
    )
    if base is not None:
        raise Unsupported(f"no verifier for {kind.__name__}: it is a {base.__name__} that may compute something else")
    if kind.__module__.startswith("torch.nn."):
        raise Unsupported(f"no verifier for {kind.__name__}")
    return False


def _changed(module: nn.Module) -> str:
    """What makes a module compute something else than its type does; empty for nothing."""
    if any(getattr(module, name, None) for name in _HOOKS) or any(
        getattr(torch_module, f"_global{name}", None) for name in _HOOKS
    ):
        return "a hook"
    if parametrize.is_parametrized(module):
        return "a parametrisation"
    for name in vars(module):
        if callable(getattr(type(module), name, None)):
            return f"a {name} of its own"
    for name, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
        if type(value) not in (Tensor, nn.Parameter) or value.is_complex() or value.is_quantized:
            return f"a {name} that is no plain tensor"
    return ""
