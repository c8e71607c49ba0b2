"""Networks with a forward of their own: every function that is read, what passes through stages, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import milp
import numpy as np
import pytest
import torch
from certified import GAP, NORMS, SEEDS, bound, every_norm, excess, in_ball, spec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from bench.certify import cost, regions
from bench.certify.dense import cuts, propagation
from bench.certify.reading import in_double, known, read, stages
from bench.domain import Domain
from bench.networks.outputs import Picked
from bench.norms import Norm
from bench.problem import Standardised, Unsupported, in_unit_box
from bench.specs import Kind


class Own(nn.Module):
    """A network whose forward is a function of its layers and its input."""

    def __init__(self, forward: Callable[[Any, Any], Any], *layers: nn.Module, **named: nn.Module) -> None:
        super().__init__()
        self.steps = forward
        for name, layer in (*((f"layer{number}", layer) for number, layer in enumerate(layers)), *named.items()):
            self.add_module(name, layer)
        self.register_buffer("mean", torch.tensor([0.25, 0.5]).reshape(2, 1, 1))
        self.factor = nn.Parameter(torch.tensor([2.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.steps(self, images)  # type: ignore[no-any-return]  # whatever the function returns


def own(forward: Callable[[Any, Any], Any], *layers: nn.Module) -> nn.Module:
    return Own(forward, *layers).eval().requires_grad_(False)


SHAPE = (2, 4, 4)


def conv() -> nn.Conv2d:
    torch.manual_seed(3)
    return nn.Conv2d(2, 2, 3, padding=1)


def head(size: int = 32) -> nn.Linear:
    torch.manual_seed(4)
    return nn.Linear(size, 3)


def _unpacked(net: Any, x: Any) -> Any:
    images, channels, height, width = x.shape
    return net.layer0(x.reshape(images, channels * height * width))


def _added(net: Any, x: Any) -> Any:
    out = net.layer0(x)
    out += x
    out -= 0.5
    out *= 2
    out /= 4
    return net.layer1(out.relu_().flatten(1))


def _methods_that_overwrite(net: Any, x: Any) -> Any:
    out = net.layer0(x).add_(x).sub_(0.5).mul_(2).div_(4)
    return net.layer1(functional.relu_(torch.relu_(out)).flatten(1))


F = functional
ALIKE: dict[str, tuple[Callable[[Any, Any], Any], tuple[nn.Module, ...], nn.Sequential]] = {
    "F.relu": (
        lambda net, x: net.layer1(F.relu(net.layer0(x)).flatten(1)),
        (conv(), head()),
        nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head()),
    ),
    "torch.relu, torch.flatten": (
        lambda net, x: net.layer1(torch.flatten(torch.relu(net.layer0(x)), 1)),
        (conv(), head()),
        nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head()),
    ),
    "relu, view": (
        lambda net, x: net.layer1(net.layer0(x).relu().view(x.size(0), -1)),
        (conv(), head()),
        nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head()),
    ),
    "view of -1": (
        lambda net, x: net.layer1(net.layer0(x).relu().contiguous().view(-1, 32)),
        (conv(), head()),
        nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head()),
    ),
    "shape unpacked": (_unpacked, (head(),), nn.Sequential(nn.Flatten(), head())),
    "torch.reshape": (
        lambda net, x: net.layer0(torch.reshape(x, (x.shape[0], -1))),
        (head(),),
        nn.Sequential(nn.Flatten(), head()),
    ),
    "dim": (
        lambda net, x: net.layer0(x.flatten(1) if x.dim() > 2 else x),
        (head(),),
        nn.Sequential(nn.Flatten(), head()),
    ),
    "F.max_pool2d": (
        lambda net, x: net.layer1(F.max_pool2d(F.relu(net.layer0(x)), 2, stride=1, padding=1).flatten(1)),
        (conv(), head(50)),
        nn.Sequential(conv(), nn.ReLU(), nn.MaxPool2d(2, 1, 1), nn.Flatten(), head(50)),
    ),
    "torch.max_pool2d": (
        lambda net, x: net.layer1(torch.max_pool2d(net.layer0(x), 2).relu().flatten(1)),
        (conv(), head(8)),
        nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), head(8)),
    ),
    "F.avg_pool2d": (
        lambda net, x: net.layer1(F.avg_pool2d(net.layer0(x), 2, padding=1, count_include_pad=False).flatten(1)),
        (conv(), head(18)),
        nn.Sequential(conv(), nn.AvgPool2d(2, padding=1, count_include_pad=False), nn.Flatten(), head(18)),
    ),
    "F.adaptive_avg_pool2d": (
        lambda net, x: net.layer1(F.adaptive_avg_pool2d(net.layer0(x).relu(), (2, None)).flatten(1)),
        (conv(), head(16)),
        nn.Sequential(conv(), nn.ReLU(), nn.AvgPool2d((2, 1)), nn.Flatten(), head(16)),
    ),
    "AdaptiveAvgPool2d, squeeze": (
        lambda net, x: net.layer2(torch.squeeze(net.layer1(net.layer0(x).relu()).squeeze(-1), 2)),
        (conv(), nn.AdaptiveAvgPool2d(1), head(2)),
        nn.Sequential(conv(), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), head(2)),
    ),
    "dropouts": (
        lambda net, x: net.layer2(
            F.dropout1d(
                F.dropout2d(F.dropout(net.layer1(net.layer0(x)), 0.2, net.training), 0.0).view(x.size(0), 2, 16),
                0.2,
                net.training,
            ).flatten(1)
        ),
        (conv(), nn.Dropout(), head()),
        nn.Sequential(conv(), nn.Dropout(), nn.Flatten(), head()),
    ),
    "every layer": (
        lambda net, x: net.layer6(net.layer5(net.layer4(net.layer3(net.layer2(net.layer1(net.layer0(x))))))),
        (conv(), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Identity(), nn.Flatten(), head(8)),
        nn.Sequential(conv(), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head(8)),
    ),
    "nested": (
        lambda net, x: net.layer1(net.layer0(x)),
        (own(lambda net, x: F.relu(net.layer0(x)).flatten(1), conv()), nn.Sequential(nn.Sequential(head()))),
        nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), head()),
    ),
    "layer by its name": (
        lambda net, x: net.layer1(net.layer0(input=x).flatten(start_dim=1)),
        (conv(), head()),
        nn.Sequential(conv(), nn.Flatten(), head()),
    ),
}
"""Forwards that read as the same arrays as a Sequential."""

OTHERS: dict[str, tuple[Callable[[Any, Any], Any], tuple[nn.Module, ...]]] = {
    "constants": (
        lambda net, x: net.layer0(((2 * (x - net.mean) / 0.5 + 1) * net.factor - torch.tensor(0.25)).flatten(1)),
        (head(),),
    ),
    "constants first": (lambda net, x: net.layer0((1 - (0.5 + (-x))).flatten(1)), (head(),)),
    "constants of constants": (
        lambda net, x: net.layer0((x * net.factor.exp() + (net.mean + 1)).flatten(1)),
        (head(),),
    ),
    "methods": (
        lambda net, x: net.layer0(x.sub(net.mean).div(0.5).mul(2).add(x, alpha=3).neg().relu().flatten(1)),
        (head(),),
    ),
    "functions": (
        lambda net, x: net.layer0(
            torch.neg(torch.mul(torch.div(torch.sub(torch.add(x, 1, alpha=2), x, alpha=0.5), 2), 3)).relu().flatten(1)
        ),
        (head(),),
    ),
    "overwritten": (_added, (conv(), head())),
    "overwritten by methods": (_methods_that_overwrite, (conv(), head())),
    "clones": (lambda net, x: net.layer0(torch.clone(x.clone()).flatten(1)), (head(),)),
    "means": (
        lambda net, x: net.layer0(x.mean((2, 3)) + torch.mean(torch.mean(x, -1, keepdim=True), dim=[2, 3])),
        (head(2),),
    ),
    "a residual": (lambda net, x: net.layer1((net.layer0(x.relu()).relu() + x).flatten(1)), (conv(), head())),
    "a difference of branches": (
        lambda net, x: net.layer1((net.layer0(x).relu() - net.layer0(-x).relu()).flatten(1)),
        (conv(), head()),
    ),
    "twice the same": (lambda net, x: net.layer1((net.layer0(x) + net.layer0(x)).relu().flatten(1)), (conv(), head())),
    "past a max-pool": (
        lambda net, x: net.layer1((F.max_pool2d(net.layer0(x), 2) + F.avg_pool2d(x, 2)).relu().flatten(1)),
        (conv(), head(8)),
    ),
    "maxima with ReLU and without": (
        lambda net, x: net.layer1((F.max_pool2d(net.layer0(x), 2) + F.avg_pool2d(net.layer0(x).relu(), 2)).flatten(1)),
        (conv(), head(8)),
    ),
    "logits behind a ReLU": (lambda net, x: F.relu(net.layer0(x.flatten(1))), (head(),)),
}
"""Forwards that no Sequential is."""

ALL = {name: own(forward, *layers) for name, (forward, layers, _) in ALIKE.items()} | {
    name: own(forward, *layers) for name, (forward, layers) in OTHERS.items()
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_forward_reads_as_the_sequential_of_the_same_layers(name: str) -> None:
    forward, layers, sequential = ALIKE[name]
    images = torch.rand(3, *SHAPE)
    assert read(own(forward, *layers), images).digest == read(sequential.eval(), images).digest


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("boxed", [False, True])
def test_a_forward_reads_as_what_it_computes(name: str, boxed: bool) -> None:
    module: nn.Module = ALL[name]
    images = torch.rand(5, *SHAPE, dtype=torch.float64)
    if boxed:
        module = in_unit_box(module, Domain(shape=SHAPE, classes=3, low=-1.0, high=255.0))
    expected = in_double(module)(images.clone()).numpy()
    found = read(module, images.float()).logits(images.flatten(1).numpy())
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


class Asked(Mapping[object, Any]):
    """A table that knows what it was asked for."""

    def __init__(self, table: Mapping[Any, Any], seen: set[object]) -> None:
        self.table, self.seen = table, seen

    def __getitem__(self, key: object) -> Any:
        self.seen.add(key)
        return self.table[key]

    def __iter__(self) -> Iterator[object]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)


def test_every_function_that_is_known_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[object] = set()
    monkeypatch.setattr(known, "FUNCTIONS", Asked(known.FUNCTIONS, seen))
    for module in ALL.values():
        read(module, torch.rand(1, *SHAPE))
    assert set(known.FUNCTIONS) - seen == set()


# What passes through stages


class Residual(nn.Module):
    """A residual network on features: blocks ``x + b(relu(a(x)))``, each with a ReLU behind it or without."""

    def __init__(self, inputs: int, width: int, blocks: int, *, rectified: bool) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(inputs, width), nn.Linear(width, 3)
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.rectified = rectified

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.enter(images))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(functional.relu(first(x)))
            if self.rectified:
                x = functional.relu(x)
        logits: Tensor = self.leave(x)
        return logits


class Block(nn.Module):
    """Two convolutions beside a path of one, or beside nothing."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.normal = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.beside = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, images: Tensor) -> Tensor:
        out = self.normal(self.second(self.relu(self.first(images))))
        out += self.beside(images)
        rectified: Tensor = self.relu(out)
        return rectified


class Images(nn.Module):
    """A residual network on images, its ends as those of ResNets; ``pooled`` with a max-pool that a path goes past."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 2, 3, padding=1)
        self.blocks = nn.Sequential(Block(2, 2, 1), Block(2, 4, 2))
        self.leave = nn.Linear(4, 3)
        self.pooled = pooled

    def forward(self, images: Tensor) -> Tensor:
        x = self.enter(images)
        x = functional.max_pool2d(functional.relu(x), 2) + functional.avg_pool2d(x, 2) if self.pooled else x.relu()
        logits: Tensor = self.leave(functional.adaptive_avg_pool2d(self.blocks(x), 1).flatten(1))
        return logits


def residual(seed: int, *, inputs: int = 4, width: int = 5, blocks: int = 2) -> tuple[nn.Module, Tensor, int]:
    """A random residual network on features with an image that it puts in class ``label``."""
    torch.manual_seed(seed)
    return labelled(Residual(inputs, width, blocks, rectified=bool(seed % 2)), (inputs,))


def labelled(module: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, int]:
    """A network with an image that it puts, by a margin of 1, in class ``label``; all classes have the same mean logit."""
    module = module.eval().requires_grad_(False)
    images = (torch.rand(200, *shape) * 1.6 - 0.3).clamp(0, 1)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.mul_(2.0)
    leave = module.leave
    assert isinstance(leave, nn.Linear)
    leave.bias.copy_(leave.bias - module(images).mean(0))
    logits = module(images)
    first, second = logits.topk(2, dim=1).values.T
    chosen = int((first - second).argsort()[150])
    margin = float((first - second)[chosen])
    leave.weight.div_(margin)
    leave.bias.div_(margin)
    return module, images[chosen], int(logits[chosen].argmax())


@settings(max_examples=25)
@given(seed=SEEDS, pooled=st.booleans(), low=st.sampled_from([0.0, -2.0, 100.0]))
def test_what_passes_is_exact_over_the_whole_box(seed: int, pooled: bool, low: float) -> None:
    torch.manual_seed(seed)
    module = Images(pooled=pooled).eval().requires_grad_(False)
    module.blocks[0].normal.running_var.fill_(0.3)  # type: ignore[union-attr, operator]  # a BatchNorm2d of the Block
    network_ = in_unit_box(module, Domain(shape=(1, 6, 6), classes=3, low=low, high=low + 2.0))
    points = torch.rand(200, 1, 6, 6, dtype=torch.float64)
    points[:100] = points[:100].round()
    plain = read(network_, points[:4].float())
    expected = in_double(network_)(points).numpy()
    assert plain.logits(points.flatten(1).numpy()) == pytest.approx(expected, abs=1e-10 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("seed", range(6))
def test_units_that_pass_are_seen_to_be_always_active(seed: int) -> None:
    """Otherwise each would be relaxed and branched on like any other."""
    module, image, _ = residual(seed)
    plain = read(module, image[None])
    region = regions.Region.ball(Norm.LINF, image.double().numpy(), 1.0)
    dense = propagation.DenseNetwork.of(plain)
    low, _ = cuts.first_bounds(dense, region)
    widths = [len(stage.bias) for stage in plain.stages]
    # Two layers a block and the first; with a ReLU behind each block the path passes through every second.
    assert widths == ([5, 10, 5, 10, 5] if seed % 2 else [5, 10, 10])
    for stage, at in zip(plain.stages, dense.layers, strict=True):
        assert stage.is_relu
        assert (low[at][5:] > 0).all()


def test_only_what_is_needed_passes() -> None:
    """A sum passes in place of its terms, the smaller of two equal values, and nothing past its last use."""
    torch.manual_seed(0)
    chain = Residual(4, 5, 6, rectified=False).eval()
    assert [len(stage.bias) for stage in read(chain, torch.rand(1, 4)).stages] == [5, *[10] * 6]
    images = Images(pooled=False).eval()
    sizes = [len(stage.bias) for stage in read(images, torch.rand(1, 1, 6, 6)).stages]
    # The second block's path is a convolution with half as many outputs as inputs.
    assert sizes == [72, 72 + 72, 72, 36 + 36, 36]


def test_values_move_up_by_no_more_than_the_box_asks_for() -> None:
    """Large constants would cost digits: a ReLU's output moves by what bounds see, at most by 1024, and images by nothing more."""
    torch.manual_seed(0)
    module = Residual(4, 5, 6, rectified=True).eval()
    with torch.no_grad():
        for layer in (*module.first, *module.second):
            layer.weight.mul_(30.0)
    plain = read(module, torch.rand(1, 4))
    assert max(float(np.abs(stage.bias[5:]).max(initial=0.0)) for stage in plain.stages) <= 1024


@every_norm
@pytest.mark.parametrize("seed", range(4))
def test_residual_networks_are_closed_exactly(norm: Norm, seed: int) -> None:
    module, image, label = residual(seed)
    plain = read(module, image[None])
    assert cost.is_dense(plain)
    truth = milp.minimal_distance(plain, image.double().numpy(), label, norm)
    bounds = bound(spec(norm), module, image[None], torch.tensor([label]))
    lower = float(bounds.lower[0])
    slack = 1e-6 + (2e-6 / truth if norm is Norm.L2 else 0.0)
    assert truth * (1 - 10 * GAP) - slack <= lower <= truth * (1 + GAP) + slack
    assert excess(module, torch.from_numpy(bounds.candidates), label)[0] > 0


@pytest.mark.parametrize("pooled", [False, True])
@every_norm
def test_residual_networks_on_images_are_bounded(norm: Norm, pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the engine of large networks: nothing adversarial is nearer, and what it finds is not much further."""
    monkeypatch.setattr(cost, "MOST_DENSE_UNITS", 0)
    torch.manual_seed(7)
    module, image, label = labelled(Images(pooled=pooled), (1, 6, 6))
    assert not cost.is_dense(read(module, image[None]))
    bounds = bound(spec(norm, Kind.LOWER), module, image[None], torch.tensor([label]))
    lower, centre = float(bounds.lower[0]), image.double().numpy().ravel()
    upper = float(norm.of((bounds.candidates[0].ravel() - centre)[None])[0])
    nearer = in_ball(norm, centre, lower - 1 if norm is Norm.L0 else lower, 4000)
    assert (excess(module, torch.from_numpy(nearer).reshape(-1, *image.shape), label) <= 0).all()
    assert (1 if norm is Norm.L0 else 0.2 * upper) <= lower <= upper


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, norm=st.sampled_from(NORMS))
def test_no_bound_of_a_residual_network_is_above_a_known_distance(seed: int, norm: Norm) -> None:
    module, image, label = residual(seed, inputs=3, width=4, blocks=1 + seed % 3)
    lower = float(bound(spec(norm, Kind.LOWER), module, image[None], torch.tensor([label])).lower[0])
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 21)] * 3), axis=-1).reshape(-1, 3)
    centre = image.double().numpy()
    if norm is Norm.L0:
        # Points that leave some values where they are.
        kept = (np.arange(8)[:, None] >> np.arange(3)) & 1
        grid = np.concatenate([np.where(row, centre, grid) for row in kept])
    wrong = grid[excess(module, torch.from_numpy(grid), label) > 0]
    assert not len(wrong) or lower <= norm.of(wrong - centre).min()


def test_intervals_have_the_slack_of_bounds() -> None:
    assert stages._SLACK == regions.SLACK


def test_the_slack_covers_the_rounding_of_what_moves_up() -> None:
    """The same network without moving anything: bounds differ by less than a thousandth of the slack."""
    torch.manual_seed(1)
    module = Residual(30, 60, 4, rectified=True).eval().requires_grad_(False)
    image = torch.rand(30)
    plain = read(module, image[None])
    assert max(stage.bias[60:].max(initial=0.0) for stage in plain.stages) > 10
    dense = propagation.DenseNetwork.of(plain)
    region = regions.Region.ball(Norm.LINF, image.double().numpy(), 0.01)
    low, high = cuts.first_bounds(dense, region)
    lines = [propagation.Lines.around(low[at], high[at]) for at in dense.layers]
    row, constant = plain.margin(0, 1)
    found, offset = propagation.backwards(dense, lines, row[None], np.array([constant]))
    wide: Any = row.astype(np.longdouble)
    base: Any = np.longdouble(constant)
    for stage, line in zip(plain.stages[::-1], lines[::-1], strict=True):
        above = np.maximum(wide, 0)
        base += above @ line.intercept
        slopes = above * line.slope + (wide - above) * line.alpha
        base += slopes @ stage.bias
        wide = slopes @ np.asarray(stage.weight).astype(np.longdouble)
    rounding = abs(float(found[0] @ region.centre + offset[0]) - float(wide @ region.centre + base))
    rounding += float(np.abs(found[0] - wide).sum())
    assert rounding <= 1e-3 * regions.slack(found, offset)[0]


@pytest.mark.parametrize("key", ["logits", None])
def test_logits_in_a_container_are_read(key: str | None) -> None:
    """As :mod:`bench.networks.outputs` takes them out."""
    inner = own(lambda net, x: {"logits": net.layer0(x.flatten(1))} if key else net.layer0(x.flatten(1)), head())
    picked = Picked(inner, key, column=False).eval()
    images = torch.rand(2, *SHAPE)
    expected = nn.Sequential(nn.Flatten(), head()).eval()
    assert read(picked, images).digest == read(expected, images).digest
    one = nn.Sequential(Picked(own(lambda net, x: net.layer0(x.flatten(1)), head(32)), None, column=False)).eval()
    assert read(one, images).digest == read(expected, images).digest


def test_one_logit_is_read() -> None:
    inner = own(lambda net, x: net.layer0(x.flatten(1)).squeeze(1), nn.Linear(32, 1))
    picked = Picked(inner, None, column=True).eval()
    images = torch.rand(3, *SHAPE)
    assert read(picked, images).logits(images.double().flatten(1).numpy()) == pytest.approx(
        picked(images).numpy(), abs=1e-6
    )


def test_the_page_names_everything_that_is_read() -> None:
    page = (Path(__file__).parent.parent / "docs" / "certify.md").read_text()
    section = page[page.index("## Which networks") : page.index("### Residual networks")]
    assert [kind.__name__ for kind in known.LAYERS if kind is not Standardised and kind.__name__ not in section] == []
    symbols = {"truediv": "/ constant", "itruediv": "/=", "iadd": "+=", "isub": "-=", "imul": "*=", "fn": "max_pool2d"}
    names = {getattr(function, "__name__") for function in known.FUNCTIONS}  # noqa: B009 - functions of torch and of Python alike
    assert [name for name in names if symbols.get(name, f"`{name}") not in section] == []


# What is refused


def _aliased(net: Any, x: Any) -> Any:
    out = net.layer0(x)
    before = out
    out += 1
    return net.layer1((out + before).flatten(1))


def _aliased_by_a_view(net: Any, x: Any) -> Any:
    out = net.layer0(x)
    row = out.flatten(1)
    return net.layer1(row + functional.relu(out, inplace=True).flatten(1))


def _returned_after_overwriting(net: Any, x: Any) -> Any:
    out = net.layer1(x.flatten(1)) + 100.0  # so large that no logit shows it
    out.relu_()
    return out


def _overwrites_a_constant(net: Any, x: Any) -> Any:
    return net.layer1(torch.zeros(1, *SHAPE).add_(x).flatten(1))


def _decides(net: Any, x: Any) -> Any:
    return net.layer1((net.layer0(x) if x.relu() else x).flatten(1))


CALLS: list[int] = []


def _counts(net: Any, x: Any) -> Any:
    CALLS.append(1)
    return net.layer1((len(CALLS) * net.layer0(x)).flatten(1))


REFUSED: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "a function": (lambda net, x: net.layer1(torch.sigmoid(net.layer0(x)).flatten(1)), "calls sigmoid: possible are .*max_pool2d.*relu"),
    "a method": (lambda net, x: net.layer1(net.layer0(x).tanh().flatten(1)), r"calls .tanh\(\): possible are"),
    "a product": (lambda net, x: net.layer1((x * net.layer0(x)).flatten(1)), "a product of two values .*: possible is"),
    "a division": (lambda net, x: net.layer1((1 / (x + 1)).flatten(1)), "a division by a value .*: possible is x / constant"),
    "a branch": (_decides, "its forward depends on the values .*; possible is"),
    "few images": (lambda net, x: net.layer1(x.flatten(1)) if x.shape[0] == 1 else x, "calls eq"),
    "the number of images": (lambda net, x: net.layer1(x.flatten(1)) * x.size(0), "a constant of shape"),
    "images joined": (lambda net, x: net.layer1(x.view(-1, 16)), "a reshape of inputs of shape"),
    "images flattened": (lambda net, x: net.layer1(torch.flatten(x)), "Flatten that keeps .* or joins images"),
    "a mean of all": (lambda net, x: net.layer1(x.flatten(1)) + x.mean(), "mean over all dimensions .*: possible is"),
    "a mean of images": (lambda net, x: net.layer1(x.flatten(1)) + x.mean(0).mean(), "mean over all dimensions or over images"),
    "other shapes": (lambda net, x: net.layer1((x + x.mean(1, keepdim=True)).flatten(1)), "a sum of inputs of shapes"),
    "a constant of images": (lambda net, x: net.layer1((x + torch.ones(3, 2, 4, 4)).flatten(1)), "a constant of shape"),
    "random dropout": (lambda net, x: net.layer1(functional.dropout(x).flatten(1)), "dropout in training mode; give"),
    "unequal parts": (lambda net, x: net.layer1(functional.adaptive_avg_pool2d(x, 3).flatten(1)), "adaptive average pooling to 3 x 3"),
    "overwritten": (_aliased, "add reads what iadd has overwritten; possible without"),
    "overwritten through a view": (_aliased_by_a_view, "reads what relu has overwritten"),
    "returned and overwritten": (_returned_after_overwriting, r"return reads what \.relu_\(\) has overwritten"),
    "a constant overwritten": (_overwrites_a_constant, "overwrites a constant with what depends on the image"),
    "a dict": (lambda net, x: {"logits": net.layer1(x.flatten(1))}, "does not return a tensor of logits alone"),
    "images": (lambda net, x: net.layer0(x), "a network whose logits have shape"),
    "two arguments": (lambda net, x: net.layer1(x.flatten(1), x), "calls layer1 with anything but one tensor|cannot be followed"),
    "an exception": (lambda net, x: net.nothing(x), "its forward cannot be followed"),
    "indices": (lambda net, x: net.layer1(x[:, :, ::2].flatten(1)), "calls getitem: possible are"),
    "its own calls": (_counts, "does not compute what its layers say"),
    "a cast": (lambda net, x: net.layer1(x.float().flatten(1)), r"calls .float\(\)"),
    "arguments": (lambda net, x: net.layer1(functional.max_pool2d(x, 2, 1, 9).flatten(1)), "with these arguments: "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_with_the_reason(name: str) -> None:
    forward, reason = REFUSED[name]
    with pytest.raises(Unsupported, match=f"no verifier for .*{reason}"):
        read(own(forward, conv(), head()), torch.rand(2, *SHAPE))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda module: module.layer0.register_forward_hook(lambda *_: None), "Conv2d with a hook"),
        (lambda module: module.register_forward_hook(lambda *_: None), "Own with a hook"),
        (lambda module: module.layer1.train(), "in training mode"),
        (lambda module: setattr(module, "training", True), "in training mode"),
        (lambda module: setattr(module, "forward", lambda x: x), "Own with a forward of its own"),
        (lambda module: setattr(module, "layer0", nn.Tanh().eval()), "no verifier for Tanh"),
        (lambda module: nn.utils.parametrizations.weight_norm(module.layer1), "Linear with a parametrisation"),
    ],
)
def test_modules_inside_a_forward_are_held_to_the_same_rules(change: Callable[[Any], Any], reason: str) -> None:
    module = own(lambda net, x: net.layer1(net.layer0(x).flatten(1)), conv(), head())
    assert read(module, torch.rand(2, *SHAPE)).inputs == 32
    change(module)
    with pytest.raises(Unsupported, match=reason):
        read(module, torch.rand(2, *SHAPE))


def test_a_subclass_of_a_layer_is_refused_inside_a_forward() -> None:
    class Mine(nn.ReLU):
        pass

    module = own(lambda net, x: net.layer1(net.layer0(x).flatten(1)), Mine(), head())
    with pytest.raises(Unsupported, match="Mine: it is a ReLU that may compute something else"):
        read(module, torch.rand(2, *SHAPE))


def test_tracing_changes_neither_the_network_nor_the_process() -> None:
    module = Images(pooled=True).eval()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    read(module, torch.full((1, 1, 6, 6), 0.5))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert module.blocks[0].relu.inplace  # type: ignore[union-attr]  # a Block
