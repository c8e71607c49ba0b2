"""Networks that are not of the bench: a file with a factory, its weights, and ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import networks
from bench.domain import Domain
from bench.networks import specs

MAKE = """
import torch
from torch import nn

def make(width=4, *, classes=3, act="relu"):
    torch.manual_seed(width)
    acts = {"relu": nn.ReLU, "tanh": nn.Tanh}
    return nn.Sequential(nn.Linear(4, width), acts[act](), nn.Linear(width, classes))

instance = make()
"""

POINTS = Domain(shape=(4,), classes=3, low=0.0, high=1.0)
BINARY = Domain(shape=(4,), classes=2, low=0.0, high=1.0)


def loaded(text: str, domain: Domain | None = POINTS, **how: Any) -> networks.Source:
    (spec,) = specs([text], how.pop("weights", None), how.pop("normalize", None))
    return networks.source(spec, "cpu", domain, **how)


def layers() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def written(
    path: Path, *, batch: int | str = "n", opset: int = 18, rows: int = -1, beside: bool = False
) -> nn.Sequential:
    """An ONNX file of (batch, 2, 2) inputs: reshaped, two linear layers; and the network that it is."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx2torch")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    network = nn.Sequential(nn.Flatten(), *layers()).eval()
    with torch.no_grad():
        # So that several classes occur.
        list(network.parameters())[-1].sub_(network(torch.rand(50, 2, 2)).mean(0))
    named = {name.replace(".", "_"): value.numpy() for name, value in network.state_dict().items()}
    nodes = [
        helper.make_node("Reshape", ["x", "lengths"], ["flat"], allowzero=1),
        helper.make_node("Gemm", ["flat", "1_weight", "1_bias"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "3_weight", "3_bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, [batch, 2, 2])],
        [helper.make_tensor_value_info("logits", kind, [batch, 3])],
        [
            *(numpy_helper.from_array(value, name) for name, value in named.items()),
            numpy_helper.from_array(np.array([rows, 4]), "lengths"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    where = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 60} if beside else {}
    onnx.save_model(model, str(path), **where)
    return network
