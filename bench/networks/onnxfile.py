"""Networks from ONNX files: converted to torch, and taken only where they compute what onnxruntime does."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.domain import Domain
from bench.errors import NetworkError, line
from bench.guard import copied, frozen
from bench.networks.grammar import ONNX
from bench.networks.identity import points
from bench.networks.makers import needs
from bench.networks.spec import NetworkSpec
from bench.networks.standard import shaped
from bench.usercode import kept

AGREEMENT = 1e-4
"""By how much of the largest value torch and onnxruntime may differ, both in float32."""

OLDEST = 13
"""An operator without a converter of its version is read as one of an older set, of this one or a later."""

_PLAIN = (nn.Linear, nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten, nn.Dropout, nn.Identity)  # fmt: skip
"""Layers of which a chain is written as ``nn.Sequential``."""


class OneByOne(nn.Module):
    """A network of single images, called with one image after the other.

    Attributes:
        network: from (1, *shape) images to (1, classes) logits.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of (n, *shape) images."""
        return torch.cat([self.network(image) for image in images.split(1)])


def load(spec: NetworkSpec, domain: Domain | None) -> tuple[nn.Module, Mapping[str, str], tuple[str, ...]]:
    """The network of a file.

    Args:
        spec: its source.
        domain: of its inputs; None for the unit box of the shape that the file says.

    Returns:
        The module in eval mode; SHA-256 of the file and of the files beside it that hold its weights, by absolute path; and what
        was done, in words.

    Raises:
        NetworkError: a package is missing, the file cannot be read or converted, or torch and onnxruntime disagree.
    """
    for package in ("onnx", "onnxruntime", "onnx2torch"):
        needs(package, "onnx", spec.name)
    path = Path(str(spec.source).removeprefix(ONNX))
    with kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, files = _read(path, spec.name)
        batch, shape = _inputs(model, spec.name)
        domain = domain or _domain(shape, spec.name)
        if shape is not None and not _fits(shape, domain.shape):
            raise NetworkError(
                f"network {spec.name}: {path} takes inputs of shape {_words(shape)}, this dataset's have {domain.shape}"
            )
        expected, inputs = _run(path, batch, _points(spec, domain), spec.name)
        module, notes = _converted(model, spec.name)
        module, more = _agreeing(module, batch, inputs, expected, spec.name)
        plain = _sequential(module)
        if plain is not None and _apart(_outputs(plain, inputs), expected) <= AGREEMENT:
            module = plain
    taken = f"converted from ONNX to torch; onnxruntime agrees within {AGREEMENT:g} of the largest output"
    return module, files, (taken, *notes, *more)


def _read(path: Path, name: str) -> tuple[Any, dict[str, str]]:
    """The file's model, and the SHA-256 of all its files."""
    import onnx  # noqa: PLC0415 - an extra
    from onnx import external_data_helper as beside  # noqa: PLC0415 - as above

    if not path.is_file():
        raise NetworkError(f"network {name}: there is no file {path}")
    try:
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
        tensors = [each for each in model.graph.initializer if beside.uses_external_data(each)]
        names = dict.fromkeys(beside.ExternalDataInfo(each).location for each in tensors)
        files = {str(path): hashlib.sha256(content).hexdigest()}
        beside.load_external_data_for_model(model, str(path.parent))
        files |= {
            str(path.parent / each): hashlib.sha256((path.parent / each).read_bytes()).hexdigest() for each in names
        }
    except MemoryError:
        raise
    except Exception as error:
        raise NetworkError(f"network {name}: {path} cannot be read as an ONNX file: {line(error)}") from error
    return model, files


def _inputs(model: Any, name: str) -> tuple[int | None, tuple[int | None, ...] | None]:
    """How many images a call takes, and their shape; None for what the file leaves open."""
    import onnx  # noqa: PLC0415 - an extra

    filled = {each.name for each in model.graph.initializer}
    taken = [each for each in model.graph.input if each.name not in filled]
    if len(taken) != 1:
        raise NetworkError(f"network {name}: its ONNX file takes {len(taken)} inputs; a network takes images alone")
    kind = taken[0].type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(kind.elem_type).lower()
        raise NetworkError(f"network {name}: its ONNX file takes {found} images; export it for float (float32) images")
    if not kind.HasField("shape"):
        return None, None
    batch, *shape = [each.dim_value if each.HasField("dim_value") else None for each in kind.shape.dim] or [None]
    if batch is not None and batch != 1:
        raise NetworkError(
            f"network {name}: its ONNX file takes {batch} images at a time, no more and no fewer; export it with a free first "
            "axis (dynamic_shapes, dynamic_axes), or for 1 image"
        )
    return batch, tuple(shape)


def _domain(shape: tuple[int | None, ...] | None, name: str) -> Domain:
    lengths = [each for each in shape or () if each is not None]
    if not shape or len(lengths) != len(shape):
        raise NetworkError(f"network {name}: its ONNX file leaves the shape of images open; give domain=")
    return Domain(shape=tuple(lengths), classes=2, low=0.0, high=1.0)


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(one in (None, other) for one, other in zip(shape, wanted, strict=True))


def _words(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if each is None else str(each) for each in shape)})"


def _points(spec: NetworkSpec, domain: Domain) -> NDArray[np.float32]:
    """Fixed points of the domain as the file's network gets them: standardised, where it is to be."""
    found = points(domain)
    if spec.normalize is None:
        return found
    mean, std = shaped(spec.normalize, domain)
    return np.asarray((found - mean) / std, dtype=np.float32)


def _run(path: Path, batch: int | None, inputs: NDArray[np.float32], name: str) -> tuple[NDArray[Any], Tensor]:
    """What onnxruntime computes of points, the outputs of a point side by side: (n, numbers); and the points."""
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    together = None
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        key = session.get_inputs()[0].name
        single = np.concatenate([_flat(session.run(None, {key: point[None]}), 1) for point in inputs])
        if batch is None:
            together = _flat(session.run(None, {key: inputs}), len(inputs))
    except Exception as error:
        raise NetworkError(f"network {name}: onnxruntime cannot run {path}: {line(error)}") from error
    if together is not None and _apart(together, single) > AGREEMENT:
        raise NetworkError(
            f"network {name}: its ONNX file gives other values for images together than one by one; export it again, with a "
            "free first axis throughout (dynamic_shapes, dynamic_axes)"
        )
    return single, torch.from_numpy(inputs)


def _flat(outputs: Any, n: int) -> NDArray[Any]:
    parts = [np.asarray(each, dtype=np.float64) for each in outputs]
    return np.concatenate([each.reshape(n, -1) for each in parts], axis=1)


def _converted(model: Any, name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """A file's model as a torch module in eval mode."""
    import onnx2torch  # noqa: PLC0415 - an extra

    usual = next((each for each in model.opset_import if each.domain in ("", "ai.onnx")), None)
    written = usual.version if usual is not None else 0
    first: Exception | None = None
    for node in model.graph.node:
        # Lengths of 0 are read otherwise without it; whether there are any, the comparison with onnxruntime shows.
        for attribute in [each for each in node.attribute if each.name == "allowzero"]:
            node.attribute.remove(attribute)
    for version in [written, *range(written - 1, OLDEST - 1, -1)]:
        if usual is not None:
            usual.version = version
        try:
            module: nn.Module = frozen(onnx2torch.convert(model))
        except NotImplementedError as error:
            first = first or error
        except Exception as error:
            raise NetworkError(f"network {name}: onnx2torch cannot convert its ONNX file: {line(error)}") from error
        else:
            return module, () if version == written else (
                f"ONNX operators of set {written} read as those of set {version}",
            )
    raise NetworkError(
        f"network {name}: onnx2torch cannot convert its ONNX file: {line(first) if first else ''}; give the network as file.py:factory"
    ) from first


def _agreeing(
    module: nn.Module, batch: int | None, inputs: Tensor, expected: NDArray[Any], name: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """A module that computes what onnxruntime does, of images alone and together.

    Raises:
        NetworkError: there is none.
    """
    alone = _apart(_outputs(OneByOne(module), inputs), expected)
    together = _apart(_outputs(module, inputs), expected)
    if max(alone, together) <= AGREEMENT:
        return module, ()
    if batch == 1 and alone <= AGREEMENT:
        return OneByOne(module), ("ONNX file of one image at a time: images are computed one by one",)
    by = alone if alone > AGREEMENT else together
    figure = "cannot be compared" if not np.isfinite(by) else f"differ by up to {by:.3g} of the largest value"
    raise NetworkError(
        f"network {name}: converted to torch it is another network: its outputs and onnxruntime's {figure}, "
        f"{AGREEMENT:g} is allowed; give the network as file.py:factory"
    )


def _outputs(module: nn.Module, inputs: Tensor) -> NDArray[Any] | None:
    """What a copy of a module computes, all its outputs side by side: (n, numbers); None where it fails."""
    try:
        with torch.no_grad():
            found = copied(module)(inputs.clone())
        return _flat([each.numpy() for each in ([found] if isinstance(found, Tensor) else found)], len(inputs))
    except Exception:
        return None


def _apart(found: NDArray[Any] | None, expected: NDArray[Any]) -> float:
    """The largest difference, as a fraction of the largest value; infinite where the shapes differ or there is nothing."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    largest = max(float(np.abs(expected).max(initial=0.0)), 1e-30)
    apart = float(np.abs(found - expected).max(initial=0.0)) / largest
    return apart if np.isfinite(apart) else float("inf")


def _sequential(module: nn.Module) -> nn.Sequential | None:
    """A converted network as ``nn.Sequential``, where it is a chain of plain layers; None where it is not."""
    if not isinstance(module, torch.fx.GraphModule):
        return None
    layers = list(_chain(module))
    known = [each for each in layers if each is not None]
    return nn.Sequential(*known).eval() if len(known) == len(layers) else None


def _chain(module: torch.fx.GraphModule) -> Iterator[nn.Module | None]:
    """The layers of a chain in their order; None where it is none."""
    nodes = [node for node in module.graph.nodes if node.op != "get_attr"]
    if not nodes or nodes[0].op != "placeholder":
        yield None
        return
    for before, node in pairwise(nodes):
        layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        plain = None if layer is None else _plain(layer, module, node)
        linked = bool(node.args) and node.args[0] is before and len(before.users) == 1
        if not linked or (plain is None and node.op != "output"):
            yield None
            return
        if plain is not None:
            yield plain


def _plain(layer: nn.Module, module: torch.fx.GraphModule, node: Any) -> nn.Module | None:
    """A layer as torch's own; None where it is none."""
    if type(layer) in _PLAIN:
        return layer
    if type(layer).__name__ == "OnnxReshape" and len(node.args) == 2 and node.args[1].op == "get_attr":
        # Two lengths are the batch and the rest; where they are not, the values differ and the chain is not taken.
        return nn.Flatten() if module.get_buffer(str(node.args[1].target)).numel() == 2 else None
    return None
