"""Reading networks: what is understood, what is refused, and what it would cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
import torch
from certified import Instance, bound, every_instance, spec, unit_domain, zoo
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from bench.certify import cost
from bench.certify.reading import in_double, read
from bench.domain import Domain
from bench.norms import Norm
from bench.problem import Unsupported
from bench.specs import Kind


@every_instance
def test_the_plain_network_computes_the_same(case: Instance) -> None:
    plain = case.plain
    images = torch.rand(50, *case.image.shape, dtype=torch.float64)
    expected = in_double(case.network)(images).numpy()
    assert plain.logits(images.flatten(1).numpy()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Tanh(), "no verifier for Tanh"),
        (nn.LeakyReLU(), "no verifier for LeakyReLU"),
        (nn.LayerNorm(6), "no verifier for LayerNorm"),
        (nn.BatchNorm1d(6, track_running_stats=False), "no verifier for BatchNorm1d without running statistics"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_layers_are_refused(layer: nn.Module, message: str) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), layer, nn.Linear(6, 2)).eval().requires_grad_(False)
    with pytest.raises(Unsupported, match=message):
        bound(spec(Norm.L2), network, torch.rand(1, 6), torch.tensor([0]), unit_domain((6,), 2))


def test_a_network_with_a_forward_of_its_own_is_refused() -> None:
    class Twice(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = 2 * super().forward(images)
            return output

    network = Twice(nn.Flatten(), nn.Linear(6, 2)).eval().requires_grad_(False)
    with pytest.raises(Unsupported, match="no verifier for Twice"):
        bound(spec(Norm.L2), network, torch.rand(1, 6), torch.tensor([0]), unit_domain((6,), 2))


class Clipped(nn.ReLU):
    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values).clamp(max=0.5)


class Plain(nn.ReLU):
    """Computes what ReLU does, which nobody can know."""


class Counted(nn.Sequential):
    def __iter__(self) -> Iterator[nn.Module]:
        return super().__iter__()


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval().requires_grad_(False)


def _hooked(network: nn.Sequential) -> nn.Module:
    network[2].register_forward_hook(lambda _module, _inputs, output: output.clamp(max=0.5))
    return network


def _hooked_before(network: nn.Sequential) -> nn.Module:
    network[2].register_forward_pre_hook(lambda _module, inputs: (2 * inputs[0],))
    return network


def _hooked_backwards(network: nn.Sequential) -> nn.Module:
    network[2].register_full_backward_hook(lambda *_: None)
    return network


def _hooked_as_a_whole(network: nn.Sequential) -> nn.Module:
    network.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return network


def _clipped(network: nn.Sequential) -> nn.Module:
    network[2] = Clipped().eval()
    return network


def _subclassed(network: nn.Sequential) -> nn.Module:
    network[2] = Plain().eval()
    return network


def _own_forward(network: nn.Sequential) -> nn.Module:
    network[2].forward = lambda values: values.clamp(0, 0.5)
    return network


def _parametrised(network: nn.Sequential) -> nn.Module:
    return nn.Sequential(network[0], parametrizations.weight_norm(network[1]), *network[2:]).eval()


def _weight_normed(network: nn.Sequential) -> nn.Module:
    return nn.Sequential(network[0], parametrizations.orthogonal(network[1]), *network[2:]).eval()


def _training(network: nn.Sequential) -> nn.Module:
    network[2].train()
    return network


def _iterated(network: nn.Sequential) -> nn.Module:
    return Counted(*network).eval()


def _wrapped(network: nn.Sequential) -> nn.Module:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images).sigmoid()
            return logits

    return Wrapper().eval()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_hooked, "ReLU with a hook"),
        (_hooked_before, "ReLU with a hook"),
        (_hooked_backwards, "ReLU with a hook"),
        (_hooked_as_a_whole, "Sequential with a hook"),
        (_clipped, "Clipped: it is a ReLU that may compute something else"),
        (_subclassed, "Plain: it is a ReLU that may compute something else"),
        (_own_forward, "ReLU with a forward of its own"),
        (_parametrised, "Linear with a parametrisation"),
        (_weight_normed, "Linear with a parametrisation"),
        (_training, "network in training mode"),
        (_iterated, "Counted: it has a __iter__ of its own"),
        (_wrapped, r"forward that calls \.sigmoid\(\)"),
    ],
)
@pytest.mark.parametrize("boxed", [False, True])
def test_what_may_compute_something_else_is_refused(
    change: Callable[[nn.Sequential], nn.Module], reason: str, boxed: bool
) -> None:
    domain = Domain(shape=(6,), classes=2, low=0.0, high=255.0 if boxed else 1.0)
    images = torch.rand(1, 6)
    assert bound(spec(Norm.L2), small(), images, torch.tensor([0]), domain).lower.shape == (1,)
    with pytest.raises(Unsupported, match=f"no verifier for (a )?.*{reason}"):
        bound(spec(Norm.L2), change(small()), images, torch.tensor([0]), domain)


def test_a_module_that_computes_something_else_at_some_points_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last line of defence: the class itself is changed, which no look at the layers shows."""
    forward = nn.ReLU.forward
    network, images = small(), torch.zeros(1, 6)
    top = float(network[:3](torch.rand(5000, 6).round()).max())
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, values: forward(self, values).clamp(max=0.95 * top))
    with pytest.raises(Unsupported, match="does not compute what its layers say"):
        bound(spec(Norm.L2), network, images, torch.tensor([0]))


def test_layers_that_overwrite_their_input_are_read_and_change_nothing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)).eval()
    images = torch.rand(3, 6)
    before, labels = images.clone(), network(images.clone()).argmax(1)
    bounds = bound(spec(Norm.LINF), network, images, labels)
    assert torch.equal(images, before)
    assert network[0].inplace
    assert (bounds.lower > 0).all()


def test_subclasses_of_sequential_that_only_name_layers_are_read() -> None:
    class Named(nn.Sequential):
        epochs = 3

        def __init__(self) -> None:
            super().__init__(*small())

        def describe(self) -> str:
            return "small"

    assert read(Named().eval(), torch.rand(1, 6)).inputs == 6


@pytest.mark.parametrize("padded", [0, 1])
@pytest.mark.parametrize("counted", [True, False])
def test_average_pools_are_read_exactly(padded: int, counted: bool) -> None:
    layer = nn.AvgPool2d(3, stride=2, padding=padded, count_include_pad=counted)
    network = nn.Sequential(layer, nn.Flatten()).eval()
    images = torch.rand(4, 2, 9, 9, dtype=torch.float64)
    plain = read(network, images.float())
    assert plain.logits(images.flatten(1).numpy()) == pytest.approx(network(images).numpy(), abs=1e-12)


# What it would cost


def test_a_convolution_too_large_is_refused_before_it_takes_memory() -> None:
    layers = nn.Conv2d(3, 64, 7, padding=3), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()
    network = nn.Sequential(*layers, nn.AvgPool2d(224), nn.Flatten(), nn.Linear(64, 1000)).eval()
    tracemalloc.start()
    with pytest.raises(Unsupported, match=r"Conv2d on inputs of shape .* is a matrix of 472,055,808 numbers"):
        read(network, torch.zeros(1, 3, 224, 224))
    assert tracemalloc.get_traced_memory()[1] < 2e8
    tracemalloc.stop()


def test_many_margins_of_a_pooled_network_are_refused_by_their_cost() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 1000)),
    ).eval()
    with pytest.raises(Unsupported, match=r"bounding 999 margins of .* would take about .* minutes"):
        bound(spec(Norm.LINF, Kind.LOWER), network, torch.rand(1, 3, 32, 32), torch.tensor([0]))


@pytest.mark.parametrize("hidden", [None, 32])
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
def test_a_thousand_classes_are_bounded_where_it_is_cheap(norm: Norm, hidden: int | None) -> None:
    torch.manual_seed(0)
    inner = (nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 1000)) if hidden else (nn.Linear(784, 1000),)
    network = nn.Sequential(nn.Flatten(), *inner).eval().requires_grad_(False)
    images = torch.rand(1, 1, 28, 28)
    started = time.process_time()
    bounds = bound(spec(norm, Kind.LOWER), network, images, network(images).argmax(1))
    assert bounds.lower[0] > 0
    assert time.process_time() - started < 60


def test_the_networks_of_the_bench_cost_little() -> None:
    for name in ("MLP", "CNN"):
        plain = read(zoo(name), torch.rand(1, 1, 28, 28))
        for norm in (Norm.L0, Norm.L2, Norm.LINF):
            assert cost.forecast(plain, norm).seconds < 60
            assert cost.forecast(plain, norm).memory < 2**30
