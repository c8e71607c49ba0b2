"""A module's forward as steps, by symbolic tracing (torch.fx, arXiv:2112.08429).

What stands for a value that depends on the image is a proxy; shapes and constants are what they are.
"""

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
    name = type(network).__name__
    tracer = _Tracer(shape)
    # Inside a Sequential the network itself is called like any of its modules, so that it is checked like them.
    root = nn.Sequential(network)
    try:
        with kept(), torch.no_grad():
            graph = tracer.trace(root)
    except Unsupported:
        raise
    except fx.proxy.TraceError as error:
        raise Unsupported(
            f"no verifier for {name}: its forward depends on the values of its input ({_line(error)}); possible is one that "
            "calls the same layers and functions for all inputs"
        ) from error
    except Exception as error:
        raise Unsupported(f"no verifier for {name}: its forward cannot be followed ({_line(error)})") from error
    (output,) = (node.args[0] for node in graph.nodes if node.op == "output")
    found = tracer.found.get(output) if isinstance(output, fx.Node) else None
    if not isinstance(found, Value):
        raise Unsupported(f"no verifier for {name}: its forward does not return a tensor of logits alone")
    tracer.check_kept("return", found)
    return tracer.steps, found


class _Proxy(fx.Proxy):
    """What stands for a value; ``+=`` and the like stay what they are."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """The number of images, then the shape of one."""
        tracer: Any = self.tracer
        return (tracer.images(self), *tracer.found[self.node].shape)

    @property
    def ndim(self) -> int:
        """How many dimensions it has, that of images included."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its entries."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """How many dimensions it has, that of images included."""
        return self.ndim

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
    """Follows the forward of every module that is no known layer, and reads what it calls on the way.

    Attributes:
        steps: so far.
        found: the values of the graph's nodes; of one, how many images there are.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.steps = Steps()
        self.found: dict[fx.Node, Any] = {}
        self._shape = shape
        self._overwritten: dict[int, str] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """What stands for the value of a node."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch names them
        """Whether a module is a known layer; refused where it may compute something else."""
        return trust.check(m, known.LAYERS)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:  # noqa: ARG002 - torch names them
        """Parameters are the constants that they are."""
        return attr_val

    def images(self, proxy: fx.Proxy) -> fx.Proxy:
        """What stands for the number of images."""
        found = super().create_proxy("call_function", len, (proxy,), {})
        self.found[found.node] = known.IMAGES
        return found

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **named: Any) -> Any:
        """What a call gives: a proxy where it depends on the image, else what it is."""
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **named)
        found = self._read(proxy.node)
        if isinstance(found, Value):
            self.found[proxy.node] = found
            return proxy
        return found

    def check_kept(self, name: str, *arguments: Any) -> None:
        """See that what is read is still what it was when it was computed.

        Args:
            name: of what reads it.
            arguments: of that, values among them.

        Raises:
            Unsupported: one of them was overwritten since.
        """
        for argument in arguments:
            if isinstance(argument, Value) and argument.step in self._overwritten:
                raise Unsupported(
                    f"no verifier for a forward in which {name} reads what {self._overwritten[argument.step]} has "
                    "overwritten; possible without overwriting: x = x + y in place of x += y, inplace=False"
                )

    def _read(self, node: fx.Node) -> Any:
        arguments: Any = fx.node.map_arg(node.args, self._argument)
        named: dict[str, Any] = dict(fx.node.map_arg(node.kwargs, self._argument))
        if node.op == "placeholder":
            return self.steps.image(self._shape)
        name = _name(node)
        self.check_kept(name, *arguments, *named.values())
        if node.op == "call_module":
            layer = self.root.get_submodule(str(node.target))
            overwrites = getattr(layer, "inplace", False)
            found = self._of_layer(name, layer, (*arguments, *named.values()))
        else:
            function: Any = getattr(Tensor, str(node.target), None) if node.op == "call_method" else node.target
            overwrites = named.pop("inplace", False) or function in known.OVERWRITE
            found = self._of_function(name, function, arguments, named)
        if overwrites:
            self._overwrite(name, arguments[0], found)
        return found

    def _overwrite(self, name: str, operand: Any, found: Any) -> None:
        """Remember that an operand is now what was found; where it is the same, nothing has changed."""
        if not isinstance(operand, Value):
            raise Unsupported(
                f"no verifier for a forward in which {name} overwrites a constant with what depends on the image; possible "
                "without overwriting: x = constant + x"
            )
        if operand.step != getattr(found, "step", None):
            self._overwritten[operand.step] = name

    def _argument(self, node: fx.Node) -> Any:
        return self.found[node] if node in self.found else operator.attrgetter(str(node.target))(self.root)

    def _of_layer(self, name: str, layer: nn.Module, arguments: tuple[Any, ...]) -> Value:
        if len(arguments) != 1 or not isinstance(arguments[0], Value):
            raise Unsupported(f"no verifier for a forward that calls {name} with anything but one tensor")
        return known.LAYERS[type(layer)](self.steps, layer, arguments[0])

    def _of_function(self, name: str, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if function not in known.FUNCTIONS:
            raise Unsupported(
                f"no verifier for a forward that calls {name}: possible are layers, and the functions {_possible()}"
            )
        try:
            return known.FUNCTIONS[function](self.steps, *arguments, **named)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            raise Unsupported(
                f"no verifier for a forward that calls {name} with these arguments: {_line(error)}"
            ) from error


def _name(node: fx.Node) -> str:
    """What messages call a node."""
    if node.op == "call_method":
        return f".{node.target}()"
    return str(getattr(node.target, "__name__", node.target)).removeprefix("0.")


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _possible() -> str:
    names = {getattr(function, "__name__", "") for function in known.FUNCTIONS}
    return ", ".join(
        sorted(name for name in names if name.isidentifier() and not name.startswith("_") and name != "fn")
    )
