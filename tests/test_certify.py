"""Certified bounds against networks whose minimal distances are known, an independent solver, and attacks."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from certified import (
    GAP,
    Instance,
    bound,
    convolutional,
    dense,
    every_instance,
    every_norm,
    excess,
    in_ball,
    mnist,
    solved,
    spec,
    unit_domain,
    zoo,
)
from torch import Tensor, nn

from bench.certify import verifier
from bench.certify.incumbent import Incumbent, attack
from bench.certify.reading import in_double
from bench.certify.verifier import VERIFIER
from bench.domain import Domain
from bench.norms import FloatArray, Norm
from bench.problem import problem
from bench.specs import Kind
from bench.testing.closed_form import CASES, Case


@every_norm
@pytest.mark.parametrize("case", CASES, ids=str)
def test_linear_networks_have_their_closed_form(norm: Norm, case: Case) -> None:
    bounds = bound(spec(norm), case.network, case.images, case.labels)
    optimum = case.optimum(norm)
    assert (bounds.lower <= optimum * (1 + 1e-9)).all()
    assert (bounds.lower >= optimum * (1 - 2 * GAP)).all()
    root = bound(spec(norm, Kind.LOWER), case.network, case.images, case.labels)
    assert (root.lower <= optimum * (1 + 1e-9)).all()
    assert (root.lower >= optimum * 0.9).all()


@every_norm
@pytest.mark.parametrize("seed", range(6))
def test_an_independent_solver_agrees(norm: Norm, seed: int) -> None:
    case, optimum = dense(seed), solved(seed, norm)
    assert 0.01 < optimum < np.inf
    lower, upper = case.bound(norm)
    # SCIP's own tolerance is 1e-6, on margins; distances follow it more or less steeply.
    assert lower <= optimum * (1 + 1e-4)
    assert upper >= optimum * (1 - 1e-4)
    assert lower >= upper * (1 - 1.01 * GAP)
    root, _ = case.bound(norm, Kind.LOWER)
    assert 0 < root <= optimum * (1 + 1e-4)


@every_norm
@pytest.mark.parametrize("seed", [2, 5])
def test_a_bad_incumbent_changes_nothing(norm: Norm, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = dense(seed, (60, 16, 16, 4), rank=180)
    lower, upper = case.bound(norm)
    starts = []

    def far(incumbent: Incumbent, *_: object, **__: object) -> None:
        points = in_ball(Norm.LINF, case.centre, 1.0, 500)
        wrong = points[case.excess(points) > 0]
        incumbent.propose(wrong[:1], shrink=False)
        starts.append(incumbent.distance)

    for name in ("attack", "greedy"):
        monkeypatch.setattr(verifier, name, far)
    monkeypatch.setattr("bench.certify.dense.search.attack", lambda *_: None)
    again, _ = case.bound(norm)
    assert 1.08 * upper < starts[0] < np.inf
    assert again == pytest.approx(lower, rel=1.1 * GAP)


def test_at_the_limit_the_interval_holds() -> None:
    case = dense(3, (20, 40, 40, 4))
    early, found = case.bound(Norm.LINF, seconds=0.0)
    late, exact = case.bound(Norm.LINF, seconds=20.0)
    assert 0 <= early <= late <= exact <= found
    assert late >= exact * (1 - 1.01 * GAP)


@every_norm
@every_instance
def test_nothing_in_a_certified_ball_is_adversarial(norm: Norm, case: Instance) -> None:
    lower, upper = case.bound(norm, Kind.LOWER)
    assert 0 < lower <= upper < np.inf
    inside = lower - 1 if norm is Norm.L0 else lower
    points = in_ball(norm, case.centre, inside, 4000)
    assert norm.of(points - case.centre).max() <= inside * (1 + 1e-12)
    assert case.excess(points).max() < 0
    # The same points can be adversarial: further out some are.
    assert case.excess(in_ball(norm, case.centre, 1.0 if norm is Norm.LINF else len(case.centre), 4000)).max() > 0


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
@every_instance
def test_attacks_from_inside_a_certified_ball_end_outside(norm: Norm, case: Instance) -> None:
    lower, _ = case.bound(norm, Kind.LOWER)
    network = in_double(case.network)
    points = torch.from_numpy(in_ball(norm, case.centre, lower, 300))
    centre = torch.from_numpy(case.centre)
    for _ in range(30):
        points.requires_grad_()
        logits = network(points.reshape(-1, *case.image.shape))
        others = logits.clone()
        others[:, case.label] = -torch.inf
        margin = others.max(1).values - logits[:, case.label]
        (gradient,) = torch.autograd.grad(margin.sum(), points)
        assert margin.max() < 0
        points = points.detach()
        if norm is Norm.LINF:
            moves = (points + 0.3 * lower * gradient.sign() - centre).clamp(-lower, lower)
        else:
            moves = points + 0.3 * lower * gradient / (gradient.norm(dim=1, keepdim=True) + 1e-12) - centre
            sizes = torch.from_numpy(norm.of(moves.numpy()))[:, None]
            moves = moves * (lower / (sizes + 1e-12)).clamp(max=1)
        points = (centre + moves).clamp(0, 1)


def test_equal_patches_make_ties_and_stay_sound() -> None:
    torch.manual_seed(0)
    case = convolutional(1)
    flat = replace(case, image=torch.zeros_like(case.image))
    flat = replace(flat, label=int(case.network(flat.image[None]).argmax()))
    for norm in (Norm.L1, Norm.L2, Norm.LINF):
        lower, _ = flat.bound(norm, Kind.LOWER)
        assert lower > 0
        assert flat.excess(in_ball(norm, flat.centre, lower, 4000)).max() < 0


@every_norm
def test_lower_bounds_are_the_same_every_time(norm: Norm) -> None:
    network, (images, labels) = zoo("MLP"), mnist(3)
    row = spec(norm, Kind.LOWER, 1e6)
    first = bound(row, network, images, labels)
    order = [2, 0, 1]
    second = bound(row, network, images[order], labels[order])
    assert (first.lower[order] == second.lower).all()
    assert np.array_equal(first.candidates[order], second.candidates)
    assert (first.lower > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MLP", "MLP_d", "CNN"])
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
def test_no_attack_finds_anything_below_a_bound(name: str, norm: Norm) -> None:
    """FMN towards every class from 200 random points, on the bench's own networks."""
    network, (images, labels) = zoo(name), mnist(2)
    bounds = bound(spec(norm, Kind.LOWER, 1e6), network, images, labels)
    for image, label, lower in zip(images, labels.tolist(), bounds.lower, strict=True):
        incumbent = Incumbent(in_double(network), image, label, norm, unit_domain(image.shape, 10))
        starts = torch.from_numpy(in_ball(norm, incumbent.centre.numpy(), 3 * lower, 200))
        attack(incumbent, [target for target in range(10) if target != label] * 22 + [(label + 1) % 10] * 2, starts, 60)
        assert 0 < lower <= incumbent.distance < np.inf


# Other boxes


def boxes(size: int) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Low ends and widths; images on a grid of 64ths of the widths are float32 numbers in all of them."""
    random = np.random.default_rng(0)
    ones = np.ones(size)
    width = random.integers(0, 5, size).astype(np.float64)
    return {
        "0-255": (0 * ones, 255 * ones),
        "-1-2": (-ones, 3 * ones),
        "far": (1024 * ones, ones),
        "per-feature": (random.integers(-8, 8, size).astype(np.float64) / 8, width),
    }


def rescale(network: nn.Module, width: FloatArray, low: FloatArray) -> None:
    """Write the map u -> low + width * u into the first layer."""
    assert isinstance(network, nn.Sequential)
    first = network[0]
    assert isinstance(first, nn.Linear | nn.Conv2d)
    assert first.bias is not None
    dtype = first.weight.dtype
    ends, widths = torch.from_numpy(low).to(dtype), torch.from_numpy(width).to(dtype)
    with torch.no_grad():
        if isinstance(first, nn.Linear):
            first.bias.copy_(first.bias + first.weight @ ends)
            first.weight.copy_(first.weight * widths)
        else:
            first.bias.copy_(first.bias + ends[0] * first.weight.sum((1, 2, 3)))
            first.weight.copy_(first.weight * widths[0])


def in_box(case: Instance, name: str) -> tuple[nn.Sequential, Domain, Tensor, int]:
    """A network of a box that computes nearly what the case's does in [0, 1], and an image on the grid."""
    shape = tuple(case.image.shape)
    low, width = boxes(case.image.numel())[name]
    high = low + width
    common = name != "per-feature"
    domain = Domain(
        shape=shape, classes=case.network[-1].out_features,  # type: ignore[arg-type]  # a Linear
        low=float(low[0]) if common else tuple(low), high=float(high[0]) if common else tuple(high),
    )  # fmt: skip
    grid = np.round(case.centre * 64) / 64 * (width > 0)
    network = copy.deepcopy(case.network)
    rescale(network, 1 / np.where(width > 0, width, 1.0), -low / np.where(width > 0, width, 1.0))
    with torch.no_grad():
        inputs = torch.from_numpy((low + width * grid).reshape(shape)).float()
        label = int(in_double(network)(inputs[None].double()).argmax())
    return network, domain, inputs, label


BOXED = [
    *((dense(seed), name) for seed in (1, 2) for name in ("0-255", "-1-2", "far", "per-feature")),
    *((convolutional(1), name) for name in ("0-255", "-1-2")),
]
every_box = pytest.mark.parametrize(
    ("case", "name"), BOXED, ids=[f"{len(case.network)}-{number}-{name}" for number, (case, name) in enumerate(BOXED)]
)


@every_norm
@every_box
def test_bounds_in_a_box_are_those_of_the_map_written_into_the_first_layer(
    norm: Norm, case: Instance, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if norm is not Norm.L0:
        # Candidates are rounded to float32 in the units of the box; without any both searches try the same radii.
        monkeypatch.setattr(Incumbent, "propose", lambda *_, **__: False)
    network, domain, inputs, label = in_box(case, name)
    ours = bound(spec(norm, Kind.LOWER, 1e6), network, inputs[None], torch.tensor([label]), domain)
    low, width = boxes(inputs.numel())[name]
    written = in_double(network)
    rescale(written, width, low)
    image = torch.from_numpy(domain.to_unit(inputs.numpy())).float()
    theirs = bound(spec(norm, Kind.LOWER, 1e6), written, image[None], torch.tensor([label]))
    assert ours.lower[0] > 0
    assert ours.lower[0] == pytest.approx(theirs.lower[0], rel=1e-9)


@every_norm
@every_box
def test_what_is_found_in_a_box_is_found_in_its_own_units(norm: Norm, case: Instance, name: str) -> None:
    network, domain, inputs, label = in_box(case, name)
    given = problem(network, inputs[None], torch.tensor([label]), domain)
    bounds = VERIFIER.bound(spec(norm, Kind.LOWER, 1e6), given)
    if np.isnan(bounds.candidates).any():
        pytest.skip("no example was found")
    found = domain.from_unit(bounds.candidates, inputs[None].numpy(), given.images.numpy())
    single = found.astype(np.float32)
    assert (domain.excess(single) == 0).all()
    assert excess(network, torch.from_numpy(single), label)[0] > 0
    _, width = boxes(inputs.numel())[name]
    still = (width == 0).reshape(inputs.shape)
    assert (single[0][still] == inputs.numpy()[still]).all()
    distance = norm.of((domain.to_unit(single) - domain.to_unit(inputs[None].numpy())).reshape(1, -1))[0]
    assert 0 < bounds.lower[0] <= distance * (1 + 1e-12)
    # Unmoved values are exactly those of the image, so that they count for nothing in L0.
    assert norm is not Norm.L0 or distance == (single != inputs.numpy()).sum()


@every_norm
@every_box
def test_nothing_in_a_certified_ball_of_a_box_is_adversarial(norm: Norm, case: Instance, name: str) -> None:
    network, domain, inputs, label = in_box(case, name)
    bounds = bound(spec(norm, Kind.LOWER, 1e6), network, inputs[None], torch.tensor([label]), domain)
    lower = bounds.lower[0] - 1 if norm is Norm.L0 else bounds.lower[0]
    points = in_ball(norm, domain.to_unit(inputs.numpy()).ravel(), lower, 4000)
    low, width = boxes(inputs.numel())[name]
    assert excess(network, torch.from_numpy(low + width * points).reshape(-1, *inputs.shape), label).max() < 0


@every_norm
@pytest.mark.parametrize("case", CASES, ids=str)
def test_linear_networks_in_a_box_have_their_closed_form(norm: Norm, case: Case) -> None:
    """Distances in [-1, 2] are 3 times those in [0, 1], L0 but for the scale itself; bounds stay in the unit box."""
    domain = Domain(shape=tuple(case.images.shape[1:]), classes=10, low=-1.0, high=2.0)
    layer = copy.deepcopy(case.network[1]).double()
    assert isinstance(layer, nn.Linear)
    layer.weight.copy_(layer.weight / 3)
    layer.bias.copy_(layer.bias + layer.weight.sum(1))
    network = nn.Sequential(nn.Flatten(), layer).eval()
    inputs = (3 * case.images.double() - 1).float()
    bounds = bound(spec(norm), network, inputs, case.labels, domain)
    optimum = case.optimum(norm)
    assert (bounds.lower <= optimum * (1 + 1e-5)).all()
    assert (bounds.lower >= optimum * (1 - 1e-5 - 2 * GAP)).all()


@every_norm
def test_features_are_bounded_like_images(norm: Norm) -> None:
    case = dense(3, (30, 12, 3))
    lower, upper = case.bound(norm)
    assert case.image.shape == (30,)
    assert 0 < lower <= upper < np.inf
