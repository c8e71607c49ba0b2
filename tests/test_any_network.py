"""Networks that hypothesis makes, of any shape, dtype, wrapper and hook: a result, or one line that says why there is none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import bench
from bench.errors import BenchError


class Step(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Any:
        return self.function(values)


def _half(values: Tensor) -> Tensor:
    return values.half().to(values.dtype)


def _raises(values: Tensor) -> Tensor:
    raise KeyError("lost")


@torch.no_grad()
def _without_gradients(values: Tensor) -> Tensor:
    return values * 1.0


def _seeding(values: Tensor) -> Tensor:
    torch.manual_seed(3)
    return values


STEPS: tuple[Callable[[Tensor], Any], ...] = (
    lambda v: v,
    torch.relu,
    torch.sign,
    torch.round,
    torch.sqrt,
    torch.log,
    lambda v: v.relu_(),
    lambda v: v.mul_(0.5),
    lambda v: v / v.norm(),
    lambda v: v - v.mean(),
    lambda v: v / 0.0,
    lambda v: v * 1e30,
    lambda v: v.softmax(-1),
    lambda v: v.squeeze(),
    lambda v: v[0],
    lambda v: v.flatten(),
    lambda v: v.detach(),
    lambda v: v.double(),
    lambda v: v.to(torch.bfloat16),
    lambda v: v.long(),
    lambda v: v.numpy(force=True),
    lambda v: (v, v),
    lambda v: {"logits": v},
    lambda v: None,
    lambda v: nn.functional.dropout(v, 0.5, training=True),
    lambda v: v + torch.ones(1),
    lambda v: torch.zeros(len(v), 3),
    lambda v: v.to_sparse(),
    _half,
    _raises,
    _without_gradients,
    _seeding,
)


class Sub(nn.Sequential):
    """A class of the user's."""


def _hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda _m, _a, output: output)
    return module


def _refusing(module: nn.Module) -> nn.Module:
    module.register_forward_pre_hook(_raises)  # type: ignore[arg-type]
    return module


def _training(module: nn.Module) -> nn.Module:
    return module.train()


def _odd_copy(module: nn.Module) -> nn.Module:
    class Uncopied(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Any:
            return self.inner(images)

        def __deepcopy__(self, memo: object) -> nn.Module:
            return self

    return Uncopied(module)


WRAPPERS: tuple[Callable[[nn.Module], nn.Module], ...] = (
    lambda m: m,
    nn.DataParallel,
    Sub,
    lambda m: nn.Sequential(nn.Identity(), m),
    lambda m: m.double(),
    lambda m: m.half(),
    lambda m: m.to("meta"),
    _hooked,
    _refusing,
    _training,
    _odd_copy,
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """A network, and a few images with labels."""
    shape = draw(st.sampled_from([(3,), (1,), (2, 3), (1, 5, 5), (3, 4, 4), (2, 1, 2, 2)]))
    classes = draw(st.integers(2, 5))
    torch.manual_seed(draw(st.integers(0, 9)))
    layers: list[nn.Module] = []
    size = math.prod(shape)
    if len(shape) == 3 and draw(st.booleans()):
        layers.append(nn.Conv2d(shape[0], 2, 3, padding=1, padding_mode=draw(st.sampled_from(["zeros", "reflect"]))))
        size = 2 * shape[1] * shape[2]
        layers.append(
            draw(st.sampled_from([nn.ReLU(), nn.BatchNorm2d(2), nn.BatchNorm2d(2, track_running_stats=False)]))
        )
    layers.append(nn.Flatten())
    if draw(st.booleans()):
        layers.append(Step(draw(st.sampled_from(STEPS))))
    layers.append(nn.Linear(size, 6))
    layers.append(
        draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.LayerNorm(6)]))
    )
    layers.append(draw(st.sampled_from([nn.Linear(6, classes), nn.Linear(6, classes), nn.LazyLinear(classes)])))
    if draw(st.booleans()):
        layers.append(Step(draw(st.sampled_from(STEPS))))
    network = draw(st.sampled_from(WRAPPERS))(nn.Sequential(*layers).eval())
    random = np.random.default_rng(draw(st.integers(0, 9)))
    images = random.random((4, *shape)).astype(draw(st.sampled_from([np.float32, np.float64])))
    return network, images, random.integers(0, classes, 4)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(problem=problems(), attack=st.sampled_from(["foolbox-ddn-l2", "art-deepfool-l2", "certify-lower-linf"]))
def test_any_network_is_a_result_or_a_line(problem: tuple[nn.Module, np.ndarray, np.ndarray], attack: str) -> None:
    network, images, labels = problem
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = bench.evaluate(
                network, images, labels, box=(0, 1), suite="minimal_norm", attacks=[attack], workers=0, progress=False
            )
    except BenchError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - the other outcome is allowed as well
    else:
        assert len(result.records) == 4
        assert not result.records["message"].str.contains("\n").any()
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (dtype, threads)
