"""A module's forward as steps, by symbolic tracing (torch.fx, arXiv:2112.08429)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from bench.certify.reading import known, trust
from bench.certify.reading.steps import Steps, Value
from bench.problem import Unsupported
from bench.usercode import kept


def trace(network: nn.Module, shape: tuple[int, ...]) -> tuple[Steps, Value]:
    """The steps from an image to what a network gives.

    Args:
        network: in float64 on the CPU, in the mode that it is used in; each module that is called is checked.
        shape: of an image.

    Raises:
        Unsupported: it may compute something else than can be read.
    """
    # Inside a Sequential the network itself is called like any of its modules, so that it is checked like them.
    root = nn.Sequential(network).eval() if not network.training else nn.Sequential(network)
    try:
        with kept(), torch.no_grad():
            graph = _Tracer().trace(root)
    except Unsupported:
        raise
    except fx.proxy.TraceError as error:
        raise Unsupported(
            f"no verifier for {type(network).__name__}: its forward depends on the values or the number of images "
            f"({_line(error)}); possible is one that does the same for all, and passes shapes on to view and reshape"
        ) from error
    except Exception as error:
        raise Unsupported(
            f"no verifier for {type(network).__name__}: its forward cannot be followed ({_line(error)})"
        ) from error
    reading = _Reading(root, shape)
    for node in graph.nodes:
        reading.take(node)
    if not isinstance(reading.output, Value):
        raise Unsupported(
            f"no verifier for {type(network).__name__}: its forward returns a {type(reading.output).__name__}, not logits alone"
        )
    return reading.steps, reading.output


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _Proxy(fx.Proxy):
    """What stands for a value while a forward is followed; ``+=`` and the like stay what they are."""

    def _overwritten(self, function: Callable[..., Any], other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: Any) -> Any:
        return self._overwritten(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return self._overwritten(operator.isub, other)

    def __imul__(self, other: Any) -> Any:
        return self._overwritten(operator.imul, other)

    def __itruediv__(self, other: Any) -> Any:
        return self._overwritten(operator.itruediv, other)


class _Tracer(fx.Tracer):
    """Follows the forward of every module that is no known layer."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch names them
        return trust.check(m, known.LAYERS)


class _Reading:
    """Takes the nodes of a graph in their order.

    Attributes:
        root: the module traced.
        steps: so far.
        output: what the graph gives, once it is there.
    """

    def __init__(self, root: nn.Module, shape: tuple[int, ...]) -> None:
        self.root, self.shape = root, shape
        self.steps = Steps()
        self.output: object = None
        self._found: dict[fx.Node, Any] = {}
        self._overwritten: dict[int, str] = {}

    def take(self, node: fx.Node) -> None:
        """Read one node."""
        arguments = fx.node.map_arg(node.args, self._found.__getitem__)
        named = dict(fx.node.map_arg(node.kwargs, self._found.__getitem__))
        name = _name(node)
        self._check_memory(name, (*arguments, *named.values()))
        found: Any
        if node.op == "placeholder":
            found = self.steps.image(self.shape)
        elif node.op == "output":
            found = self.output = arguments[0]
        elif node.op == "get_attr":
            found = operator.attrgetter(str(node.target))(self.root)
        elif node.op == "call_module":
            layer = self.root.get_submodule(str(node.target))
            found = self._layer(name, layer, arguments, named)
        else:
            found = self._function(name, node, arguments, named)
        self._found[node] = found

    def _check_memory(self, name: str, arguments: tuple[Any, ...]) -> None:
        for argument in arguments:
            if isinstance(argument, Value) and argument.step in self._overwritten:
                raise Unsupported(
                    f"no verifier for a forward in which {name} reads what {self._overwritten[argument.step]} has overwritten; "
                    "possible without overwriting: x = x + y in place of x += y, inplace=False"
                )

    def _layer(self, name: str, layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Value:
        (value,) = (*arguments, *named.values())
        if not isinstance(value, Value):
            raise Unsupported(f"no verifier for a forward that calls {name} with a {type(value).__name__}")
        found = known.LAYERS[type(layer)](self.steps, layer, value)
        if getattr(layer, "inplace", False) and found.step != value.step:
            self._overwritten[value.step] = name
        return found

    def _function(self, name: str, node: fx.Node, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        function: Any = getattr(Tensor, str(node.target), None) if node.op == "call_method" else node.target
        if not any(isinstance(part, Value) for part in _parts((*arguments, *named.values()))):
            return self._of_constants(name, node, arguments, named)
        if function is getattr and arguments[1:] == ("shape",):
            return known.size(self.steps, arguments[0])
        if function not in known.FUNCTIONS:
            raise Unsupported(
                f"no verifier for a forward that calls {name}: possible are layers, and the functions {_possible()}"
            )
        overwrites = named.pop("inplace", False) or function in known.OVERWRITE
        try:
            found = known.FUNCTIONS[function](self.steps, *arguments, **named)
        except (TypeError, ValueError, IndexError) as error:
            raise Unsupported(
                f"no verifier for a forward that calls {name} with these arguments: {_line(error)}"
            ) from error
        changed = arguments[0]
        if overwrites and isinstance(changed, Value) and not (isinstance(found, Value) and found.step == changed.step):
            self._overwritten[changed.step] = name
        return found

    def _of_constants(self, name: str, node: fx.Node, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What does not depend on the image is computed."""
        try:
            with kept(), torch.no_grad():
                if node.op == "call_method":
                    return getattr(arguments[0], str(node.target))(*arguments[1:], **named)
                function: Any = node.target
                return function(*arguments, **named)
        except Exception as error:
            raise Unsupported(
                f"no verifier for a forward that calls {name}: it cannot be computed ({_line(error)})"
            ) from error


def _name(node: fx.Node) -> str:
    """What messages call a node."""
    return (
        str(getattr(node.target, "__name__", node.target)).removeprefix("0.")
        if node.op != "call_method"
        else f".{node.target}()"
    )


def _parts(arguments: Any) -> list[Any]:
    """What stands in nested arguments."""
    if isinstance(arguments, tuple | list):
        return [part for argument in arguments for part in _parts(argument)]
    return [arguments]


def _possible() -> str:
    names = {getattr(function, "__name__", "") for function in known.FUNCTIONS}
    return ", ".join(
        sorted(name for name in names if name.isidentifier() and not name.startswith("_") and name != "fn")
    )
