"""Networks built so that their minimal distances are known, and small random ones against a MILP: no bound is above the truth."""

from __future__ import annotations

import milp
import numpy as np
import pytest
import torch
from certified import Instance, dense, every_norm, instance
from torch import nn

from bench.norms import FloatArray, Norm
from bench.specs import Kind


def half_space(normal: FloatArray, missing: float, room: FloatArray, norm: Norm) -> float:
    """The least move d >= 0, d <= room, with ``normal . d >= missing``, for normal >= 0 and missing > 0; inf for none."""
    if normal @ room < missing:
        return np.inf
    if norm is Norm.L0:
        gains = np.sort(normal * room)[::-1]
        return float(np.searchsorted(np.cumsum(gains), missing * (1 - 1e-12)) + 1)
    if norm is Norm.L1:
        order = np.argsort(-normal, kind="stable")
        gains = np.cumsum(normal[order] * room[order])
        at = int(np.searchsorted(gains, missing))
        before = gains[at - 1] if at else 0.0
        return float(room[order][:at].sum() + (missing - before) / normal[order][at])
    slope = normal if norm is Norm.L2 else np.ones_like(normal)
    low, high = 0.0, float((room / np.where(normal > 0, slope, np.inf)).max())
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if normal @ np.minimum(room, middle * slope) < missing else (low, middle)
    return float(norm.of((np.minimum(room, high * slope) * (normal > 0))[None])[0])


def linear(weight: FloatArray, bias: FloatArray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def hidden_linear(seed: int, inputs: int, depth: int) -> tuple[nn.Sequential, torch.Tensor, int, dict[Norm, float]]:
    """A deep network that is linear in truth: every value v is carried as relu(v) - relu(-v).

    Some units are twice there (ties), some never rise above 0 (dead), some are never below it.
    """
    random = np.random.default_rng(seed)
    classes, dead = 4, 3
    weight = np.round(random.standard_normal((classes, inputs)) * 16) / 16
    image = np.round(random.random(inputs) * 16) / 16
    image[: inputs // 4] = np.round(image[: inputs // 4])
    bias = np.round((-weight @ image + random.uniform(-1, 1, classes)) * 16) / 16
    first = np.vstack([weight, weight, -weight, -weight, np.zeros((dead, inputs))])
    offsets = np.concatenate([bias, bias, -bias, -bias, [-50.0, -1.0, 2.0]])
    half = 0.5 * np.eye(classes)
    back = np.hstack([half, half, -half, -half, np.zeros((classes, dead))])
    layers: list[nn.Module] = [linear(first, offsets), nn.ReLU()]
    for _ in range(depth - 1):
        again = np.vstack([back, back, -back, -back, np.zeros((dead, back.shape[1]))])
        layers += [linear(again, np.concatenate([np.zeros(4 * classes), [-50.0, 0.0, 2.0]])), nn.ReLU()]
    network = nn.Sequential(*layers, linear(back, np.zeros(classes))).eval().requires_grad_(False)
    logits = weight @ image + bias
    label = int(logits.argmax())
    truth = {}
    for norm in Norm:
        distances = []
        for other in (other for other in range(classes) if other != label):
            row = weight[other] - weight[label]
            room = np.where(row > 0, 1 - image, image)
            distances.append(half_space(np.abs(row), logits[label] - logits[other], room, norm))
        truth[norm] = min(distances)
    return network, torch.from_numpy(image).float(), label, truth


@every_norm
@pytest.mark.parametrize(("inputs", "depth"), [(20, 1), (20, 3), (300, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_linear_networks_in_disguise_have_their_closed_form(norm: Norm, inputs: int, depth: int, seed: int) -> None:
    network, image, label, truth = hidden_linear(seed, inputs, depth)
    case = Instance(network, image, label)
    for kind in (Kind.LOWER, Kind.EXACT):
        lower, upper = case.bound(norm, kind, 4.0)
        assert lower <= truth[norm] * (1 + 1e-9)
        assert upper >= truth[norm] * (1 - 1e-9)
    assert lower > 0


def maxima(seed: int, size: int, *, rectified: bool, deep: bool) -> tuple[nn.Sequential, FloatArray, dict[Norm, float]]:
    """A pooled network that asks for the sum of all windows' maxima: raising one largest value of each is best.

    Values are multiples of 1/4, so that ties are common.
    """
    random = np.random.default_rng(seed)
    image = np.round(random.random((size, size)) * 3) / 4
    tops = image.reshape(size // 2, 2, size // 2, 2).max(axis=(1, 3)).ravel()
    missing = float(random.choice([0.25, 0.5, 1.0]))
    copied = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        copied.weight.fill_(1.0)
        assert copied.bias is not None
        copied.bias.zero_()
    count = len(tops)
    last = linear(np.stack([np.zeros(count), np.ones(count)]), np.array([tops.sum() + missing, 0.0]))
    layers: list[nn.Module] = [copied, nn.MaxPool2d(2), *([nn.ReLU()] if rectified else [])]
    if deep:
        # A second convolution and pool that change nothing: each window holds the same value twice and a dead channel.
        second = nn.Conv2d(1, 3, 1)
        with torch.no_grad():
            second.weight.copy_(torch.tensor([1.0, 1.0, 0.0]).reshape(3, 1, 1, 1))
            assert second.bias is not None
            second.bias.copy_(torch.tensor([0.0, 0.0, -1.0]))
        layers += [second, nn.MaxPool2d(1), nn.ReLU()]
        last = linear(
            np.stack([np.zeros(3 * count), np.concatenate([0.5 * np.ones(2 * count), 5 * np.ones(count)])]),
            np.array([tops.sum() + missing, 0.0]),
        )
    network = nn.Sequential(*layers, nn.Flatten(), last).eval().requires_grad_(False)
    truth = {norm: half_space(np.ones(count), missing, 1 - tops, norm) for norm in Norm}
    return network, image, truth


@every_norm
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize(("seed", "size"), [(0, 4), (1, 4), (2, 8), (3, 16)])
def test_maxima_with_ties_have_their_closed_form(
    norm: Norm, seed: int, size: int, *, rectified: bool, deep: bool
) -> None:
    network, image, truth = maxima(seed, size, rectified=rectified, deep=deep)
    case = Instance(network, torch.from_numpy(image).float()[None], 0)
    lower, upper = case.bound(norm, Kind.LOWER, 60.0)
    # The judge asks for more than equality, which costs L0 a pixel where the last one ends exactly on it.
    assert 0 < lower <= truth[norm] * (1 + 1e-9) + (norm is Norm.L0)
    assert upper >= truth[norm] * (1 - 1e-9)


def fuzz(seed: int) -> Instance:
    """A small random network: dense or pooled, of random sizes, some units dead and some tied."""
    random = np.random.default_rng(seed)
    if seed % 3:
        sizes = (int(random.integers(2, 6)), *random.integers(2, 6, int(random.integers(0, 3))).tolist(), 3)
        case = dense(seed, sizes, rank=int(random.integers(0, 200)))
    else:
        channels, classes = int(random.integers(1, 3)), 3

        def build() -> nn.Sequential:
            pool = nn.MaxPool2d(2) if random.random() < 0.7 else nn.AvgPool2d(2)
            after = [nn.ReLU()] if random.random() < 0.8 else []
            return nn.Sequential(nn.Conv2d(1, channels, 2), pool, *after, nn.Flatten(), nn.Linear(channels, classes))

        case = instance(build, (1, 3, 3), seed, rank=int(random.integers(0, 200)))
    layer = case.network[0]
    if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) > 2 and len(case.network) > 1:
        with torch.no_grad():
            assert layer.bias is not None
            if random.random() < 0.5:
                layer.bias[0] -= 20.0
            if random.random() < 0.5:
                layer.weight[1], layer.bias[1] = layer.weight[2], layer.bias[2]
    with torch.no_grad():
        label = int(case.network.double()(case.image[None].double()).argmax())
    case.network.float()
    return Instance(case.network, case.image, label)


def check_against_milp(seed: int, norm: Norm) -> None:
    case = fuzz(seed)
    if case.excess(case.centre[None])[0] > -0.01:
        return  # a margin that SCIP's tolerances do not tell from 0
    truth = milp.minimal_distance(case.plain, case.centre, case.label, norm)
    lower, upper = case.bound(norm, Kind.EXACT, 2.0)
    # SCIP keeps its constraints to 1e-6; in L2 that of the squared distance.
    slack = 1e-6 + (2e-6 / truth if norm is Norm.L2 else 0.0)
    assert lower <= truth * (1 + 1e-4) + slack
    assert upper >= truth * (1 - 1e-4) - slack
    if all(stage.is_relu for stage in case.plain.stages) and np.isfinite(truth) and norm is not Norm.L0:
        assert lower >= truth * (1 - 1e-3) - slack


@every_norm
@pytest.mark.parametrize("part", range(4))
def test_random_networks_agree_with_a_milp(norm: Norm, part: int) -> None:
    for seed in range(8 * part, 8 * part + 8):
        check_against_milp(seed, norm)


@pytest.mark.slow
@every_norm
@pytest.mark.long
@pytest.mark.parametrize("part", range(10))
def test_thousands_of_random_networks_agree_with_a_milp(norm: Norm, part: int) -> None:
    for seed in range(1000 + 100 * part, 1100 + 100 * part):
        check_against_milp(seed, norm)


def test_the_milp_reads_pooled_networks() -> None:
    """What it answers for a pooled network is the closed form."""
    network, image, truth = maxima(0, 4, rectified=True, deep=False)
    case = Instance(network, torch.from_numpy(image).float()[None], 0)
    for norm in Norm:
        assert milp.minimal_distance(case.plain, case.centre, 0, norm) == pytest.approx(truth[norm], abs=1e-5)
