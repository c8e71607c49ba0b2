"""Certified bounds against networks whose answers are known, an independent solver, brute force, and broken solvers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import milp
import numpy as np
import pytest
import rows
import torch
from closed_form import CASES, Case
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor, nn

from bench import certify, data, networks
from bench.certify import layers, verifier
from bench.certify import regions as support
from bench.certify.dense import cuts, leaves, propagation
from bench.certify.dense.search import Bounder, Effort
from bench.certify.incumbent import Incumbent
from bench.certify.l0 import sweep as lines
from bench.certify.l0.pixels import PixelSearch, losses
from bench.certify.pooled import bounder as general
from bench.certify.pooled import refine, windows
from bench.certify.pooled import rows as pooled
from bench.engine import worker
from bench.engine.plan import Block
from bench.norms import FloatArray, Norm
from bench.records import Record, Status
from bench.specs import Kind, VerifierSpec
from suites.grid import certify as _certify
from suites.grid import foolbox as _foolbox

NORMS = (Norm.L0, Norm.L2, Norm.LINF)
GAP = 1e-4
every_norm = pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.value)


def spec(norm: Norm, kind: Kind = Kind.EXACT, seconds: float = 20.0) -> VerifierSpec:
    return VerifierSpec(slug=kind.value, title=kind.value, norm=norm, kind=kind, seconds=seconds, gap=GAP)


@dataclass(frozen=True)
class Instance:
    """A network and an image that it puts, not too far from another class, in class ``label``."""

    network: nn.Sequential
    image: Tensor
    label: int

    @property
    def centre(self) -> FloatArray:
        return self.image.double().flatten().numpy()

    def bound(self, norm: Norm, kind: Kind = Kind.EXACT, seconds: float = 20.0) -> tuple[float, float]:
        """The certified bound and the distance of the adversarial example that came with it."""
        row = spec(norm, kind, seconds)
        bounds = certify.bound(row, self.network, self.image[None], torch.tensor([self.label]), 0)
        candidate = bounds.candidates[0].double().flatten().numpy()
        if np.isnan(candidate).any():
            return float(bounds.lower[0]), np.inf
        assert self.excess(candidate[None])[0] > 0
        assert candidate.min() >= 0
        assert candidate.max() <= 1
        return float(bounds.lower[0]), float(norm.of((candidate - self.centre)[None])[0])

    def excess(self, points: FloatArray) -> FloatArray:
        """How far the best other class lies above the label's, (n,)."""
        with torch.no_grad():
            logits = layers.in_double(self.network)(torch.from_numpy(points).reshape(-1, *self.image.shape)).numpy()
        others = np.delete(logits, self.label, axis=1)
        excess: FloatArray = others.max(axis=1) - logits[:, self.label]
        return excess


def instance(build: Callable[[], nn.Sequential], shape: tuple[int, ...], seed: int, rank: int = 100) -> Instance:
    """A random network with a random image, some of whose values are at the ends of the box.

    Of 200 images it is that of the given ``rank`` by how far the label's logit lies above the second.
    """
    torch.manual_seed(seed)
    network = build().eval().requires_grad_(False)
    images = (torch.rand(200, *shape) * 1.6 - 0.3).clamp(0, 1)
    last = network[-1]
    assert isinstance(last, nn.Linear)
    # No class is everywhere: all have the same logit on average.
    last.bias.copy_(last.bias - network(images).mean(0))
    logits = network(images)
    first, second = logits.topk(2, dim=1).values.T
    chosen = int((first - second).argsort()[rank])
    return Instance(network, images[chosen], int(logits[chosen].argmax()))


def dense(seed: int, sizes: Sequence[int] = (6, 8, 8, 3), rank: int = 100) -> Instance:
    def build() -> nn.Sequential:
        made: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            nn.init.normal_(layer.weight, std=1.5 / np.sqrt(inputs))
            made += [layer, nn.ReLU()]
        return nn.Sequential(*made[:-1])

    return instance(build, (sizes[0],), seed, rank)


@functools.cache
def solved(seed: int, norm: Norm) -> float:
    """The minimal distance of ``dense(seed)``."""
    case = dense(seed)
    return milp.minimal_distance(case.network, case.centre, case.label, norm)


def convolutional(seed: int, pool: type[nn.Module] = nn.MaxPool2d, *, deep: bool = False) -> Instance:
    """Like the bench's CNNs, of a size that a test can afford; ``deep`` has everything a user may bring."""

    def build() -> nn.Sequential:
        if not deep:
            return nn.Sequential(
                *(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(3, 4, 2), pool(2), nn.ReLU()),
                *(nn.Flatten(), nn.Dropout(0.4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
            )
        normal, flat = nn.BatchNorm2d(3), nn.BatchNorm1d(12)
        for layer in (normal, flat):
            for values, low, high in (
                *((layer.running_mean, -0.2, 0.2), (layer.running_var, 0.5, 2.0)),
                *((layer.weight, 0.5, 2.0), (layer.bias, -0.2, 0.2)),
            ):
                assert values is not None
                nn.init.uniform_(values, low, high)
        first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, stride=1), normal, nn.ReLU(), nn.AvgPool2d(2))
        second = nn.Sequential(nn.Conv2d(3, 3, 2, groups=3), nn.ReLU(), nn.MaxPool2d(2, stride=1, padding=1))
        third = nn.Sequential(nn.Conv2d(3, 3, 2), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.ReLU(), nn.Identity())
        return nn.Sequential(first, second, third, nn.Flatten(), flat, nn.ReLU(), nn.Linear(12, 3))

    return instance(build, (1, 8, 8), seed)


def in_ball(norm: Norm, centre: FloatArray, radius: float, count: int, seed: int = 0) -> FloatArray:
    """Random points of the ball and the box, most of them at their ends; for L0 ``radius`` values change."""
    random = np.random.default_rng(seed)
    shape = count, len(centre)
    if norm is Norm.LINF:
        moves = radius * np.where(
            random.random(shape) < 0.7, random.choice([-1.0, 1.0], shape), random.uniform(-1, 1, shape)
        )
    elif norm is Norm.L2:
        moves = random.standard_normal(shape) * (random.random(shape) < random.random((count, 1)))
        points = np.clip(centre + moves / (np.linalg.norm(moves, axis=1, keepdims=True) + 1e-12) * radius, 0, 1)
        moves = points - centre
    else:
        ranks = random.random(shape).argsort(axis=1).argsort(axis=1)
        ends = np.where(random.random(shape) < 0.7, random.choice([0.0, 1.0], shape), random.random(shape))
        moves = np.where(ranks < radius, ends - centre, 0.0)
    return np.clip(centre + moves, 0.0, 1.0)


INSTANCES = {
    "dense": dense(1),
    "deeper": dense(4, (10, 12, 12, 12, 4)),
    "max-pooled": convolutional(1),
    "average-pooled": convolutional(2, nn.AvgPool2d),
    "everything": convolutional(3, deep=True),
}
every_instance = pytest.mark.parametrize("case", INSTANCES.values(), ids=INSTANCES.keys())


# Exact distances


@every_norm
@pytest.mark.parametrize("case", CASES, ids=str)
def test_linear_networks_have_their_closed_form(norm: Norm, case: Case) -> None:
    bounds = certify.bound(spec(norm), case.network, case.images, case.labels, 0)
    optimum = case.optimum(norm)
    assert (bounds.lower <= optimum * (1 + 1e-9)).all()
    assert (bounds.lower >= optimum * (1 - 2 * GAP)).all()
    root = certify.bound(spec(norm, Kind.LOWER), case.network, case.images, case.labels, 0)
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


@pytest.mark.parametrize("seed", range(10, 16))
def test_l0_agrees_with_brute_force(seed: int) -> None:
    case = dense(seed, (8, 8, 3))
    lower, upper = case.bound(Norm.L0)
    assert lower == upper
    values = np.linspace(0, 1, 6)
    fewest = np.inf
    for count in (1, 2, 3):
        for pixels in itertools.combinations(range(8), count):
            tried = np.repeat(case.centre[None], 6**count, axis=0)
            tried[:, pixels] = np.array(list(itertools.product(values, repeat=count)))
            if (case.excess(tried) > 0).any():
                fewest = min(fewest, count)
    assert fewest < np.inf
    assert lower <= fewest


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


# Certified balls


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


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
@every_instance
def test_attacks_from_inside_a_certified_ball_end_outside(norm: Norm, case: Instance) -> None:
    lower, _ = case.bound(norm, Kind.LOWER)
    network = layers.in_double(case.network)
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
            moves = moves * (lower / (moves.norm(dim=1, keepdim=True) + 1e-12)).clamp(max=1)
        points = (centre + moves).clamp(0, 1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_single_pixels_agree_with_brute_force(seed: int, pool: type[nn.Module]) -> None:
    case = convolutional(seed, pool)
    incumbent = Incumbent(layers.in_double(case.network), case.image, case.label, Norm.L0)
    excluded = lines.LineSweep(layers.read(case.network, case.image)).run(incumbent, lambda: True)
    values = np.linspace(0, 1, 101)
    tried = np.repeat(case.centre[None], 64 * 101, axis=0)
    tried[np.arange(64 * 101), np.repeat(np.arange(64), 101)] = np.tile(values, 64)
    found = bool((case.excess(tried) > 0).any())
    assert excluded == (not found)
    assert (incumbent.distance == 1) == found


def test_the_sweep_finds_pixels_and_excludes_them() -> None:
    """The brute force above sees both answers."""
    answers = {
        convolutional(seed, pool).bound(Norm.L0, Kind.LOWER)[0] > 1
        for seed in range(8)
        for pool in (nn.MaxPool2d, nn.AvgPool2d)
    }
    assert answers == {True, False}


# What may break


class Fault:
    """Stands for an inner solver: calls what it is given and counts."""

    def __init__(self, outcome: Callable[[Callable[..., Any], Any, Any], Any], solver: Callable[..., Any]) -> None:
        self.outcome, self.solver, self.calls = outcome, solver, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.outcome(self.solver, args, kwargs)


def _raises(*_: object) -> Any:
    raise ValueError("the solver broke down")


def _nothing(*_: object) -> Any:
    return SimpleNamespace(x=None, status=1, success=False, message="time limit", ineqlin=None)


def _infeasible(*_: object) -> Any:
    return SimpleNamespace(x=None, status=2, success=False, message="infeasible", ineqlin=None)


def _lies(solver: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    result = solver(*args, **kwargs)
    random = np.random.default_rng(0)
    result.x = random.uniform(0, 1e3, np.shape(result.x if result.x is not None else 1))
    if getattr(result, "ineqlin", None) is not None:
        result.ineqlin.marginals = -random.uniform(0, 1e3, np.shape(result.ineqlin.marginals))
    return result


def _not_numbers(solver: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    result = solver(*args, **kwargs)
    result.x = np.full(np.shape(result.x if result.x is not None else 1), np.nan)
    if getattr(result, "ineqlin", None) is not None:
        result.ineqlin.marginals = np.full(np.shape(result.ineqlin.marginals), np.nan)
    return result


@pytest.mark.parametrize("outcome", [_raises, _nothing, _infeasible, _lies, _not_numbers])
@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
def test_a_failed_solver_never_prunes(norm: Norm, outcome: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    name = "linprog" if norm is Norm.LINF else "minimize"
    fault = Fault(outcome, getattr(optimize, name))
    monkeypatch.setattr(leaves, "optimize", SimpleNamespace(linprog=fault, minimize=fault))
    # Without cuts, and with lines that never improve, nothing but leaves can close a node.
    monkeypatch.setattr(verifier, "Effort", lambda: Effort(root_rounds=0, node_rounds=0, steps=0, trial_steps=0))
    for seed in range(3):
        case, optimum = dense(seed), solved(seed, norm)
        lower, upper = case.bound(norm, seconds=0.5)
        assert 0 <= lower <= optimum * (1 + 1e-4)
        assert upper >= optimum * (1 - 1e-4)
    assert fault.calls > 0


@pytest.mark.parametrize("rectified", [True, False])
def test_weights_of_ties_sum_to_one_at_most(rectified: bool) -> None:
    """Equal members share the weight of one: more would not bound a maximum from below."""
    count = 3
    stage = layers.Stage(np.eye(6), np.zeros(6), np.array([[0, 1, 2, -1], [3, 4, 5, -1]]), rectified)
    prepared = pooled.Prepared(stage, np.eye(6), np.eye(6), None)
    start = np.full((2, 4), 1 / 3) * np.array([1, 1, 1, 0])
    plane = windows.Planes(start, np.zeros(2), None, start)
    game = pooled.Game([plane], count)
    tied = np.array(
        [[1.0, 1.0, 1.0], [1.0, 0.5, 1.0], [1.0, 0.5, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, -1.0], [0.0, -1.0, -1.0]]
    )
    for _ in range(5):
        game.answer([prepared], [tied])
        weights = game.lambdas[0]
        assert (weights >= 0).all()
        assert (weights.sum(axis=0) <= 1 + 1e-12).all()
        maxima = stage.activate(tied.T).T
        assert ((weights[:3] * tied.reshape(2, 3, count).transpose(1, 0, 2)).sum(axis=0) <= maxima + 1e-12).all()
        assert (weights[3] == 0).all()
        if not rectified:
            assert weights.sum(axis=0) == pytest.approx(np.ones((2, count)))


def test_equal_patches_make_ties_and_stay_sound() -> None:
    torch.manual_seed(0)
    case = convolutional(1)
    flat = replace(case, image=torch.zeros_like(case.image))
    flat = replace(flat, label=int(case.network(flat.image[None]).argmax()))
    for norm in (Norm.L2, Norm.LINF):
        lower, _ = flat.bound(norm, Kind.LOWER)
        assert lower > 0
        assert flat.excess(in_ball(norm, flat.centre, lower, 4000)).max() < 0


# The parts

ROWS = st.integers(0, 2**32 - 1)


def _region(norm: Norm, random: np.random.Generator, pixels: int = 9) -> support.Region:
    centre = np.clip(random.random(pixels) * 1.6 - 0.3, 0, 1)
    radius = float(random.integers(1, 4)) if norm is Norm.L0 else float(random.uniform(0.05, 1.0))
    return support.Region.ball(norm, centre, radius)


@every_norm
@given(seed=ROWS)
def test_support_functions_are_valid_and_tight(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    row, constant = random.standard_normal(9), float(random.standard_normal())
    values, points = region.suprema(row[None], np.array([constant]))
    sampled = in_ball(norm, region.centre, region.radius, 300, seed % 1000)
    assert values[0] >= (sampled @ row + constant).max()
    assert norm.of(points - region.centre)[0] <= region.radius * (1 + 1e-9)
    assert points.min() >= -1e-12
    assert points.max() <= 1 + 1e-12
    # Tight: the point that comes with the bound reaches it.
    assert values[0] == pytest.approx(float(points[0] @ row + constant), rel=1e-5, abs=1e-5)


@every_norm
@given(seed=ROWS)
def test_bent_functions_are_valid_and_tight(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    row, spread = random.standard_normal((9, 1)), random.uniform(0, 1, (9, 1)) * (random.random((9, 1)) < 0.7)
    functions = pooled.Functions(row, spread, np.array([0.3]))
    values, moves = functions.suprema(region)

    def worth(d: FloatArray) -> FloatArray:
        return 0.3 + d @ row[:, 0] + np.abs(d) @ spread[:, 0]

    sampled = in_ball(norm, region.centre, region.radius, 300, seed % 1000) - region.centre
    assert values[0] >= worth(sampled).max()
    assert norm.of(moves.T)[0] <= region.radius * (1 + 1e-9)
    assert (region.centre + moves[:, 0]).min() >= -1e-12
    assert (region.centre + moves[:, 0]).max() <= 1 + 1e-12
    # In L2 a pixel may turn round at the best multiplier, where no single move reaches the bound.
    assert values[0] <= worth(moves.T)[0] * (1.1 if norm is Norm.L2 else 1 + 1e-6) + 1e-6
    reach = functions.reach(region)
    assert 0 <= reach <= region.radius
    if 0 < reach < region.radius:
        closer = in_ball(norm, region.centre, reach, 300) - region.centre
        assert worth(closer).max() < 0


@every_norm
@given(seed=ROWS)
def test_cuts_are_valid_where_the_cut_holds(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    cut = random.standard_normal(9)
    matrix, constants = np.vstack([random.standard_normal((4, 9)), -cut]), np.append(random.standard_normal(4), 0.0)
    sampled = in_ball(norm, region.centre, region.radius, 400, seed % 1000) - region.centre
    # A cut that some points keep and others do not.
    offset = -float(np.quantile(sampled @ cut, 0.7))
    values = support.cut_suprema(*region.arguments, matrix, constants, cut, offset, np.zeros(5), 12)
    kept = sampled[sampled @ cut + offset >= 0]
    assert len(kept)
    assert (values >= (kept @ matrix.T + constants).max(axis=0)).all()
    plain, _ = region.suprema(matrix, constants - matrix @ region.centre)
    # The search for the multiplier stops at any negative bound, and may stop a little above the bound without the cut.
    assert (values <= np.maximum(plain + 0.02 * np.abs(plain) + 1e-6, 0)).all()
    # What the cut itself bounds.
    assert values[-1] <= max(offset + 0.05 * (1 + abs(offset)), 0)


@pytest.mark.parametrize("left", [0, 1, 3, 9])
@pytest.mark.parametrize("seed", range(3))
def test_parts_over_pixels_cover_the_whole(seed: int, left: int) -> None:
    case = dense(seed, (9, 12, 12, 4))
    plain = layers.read(case.network, case.image)
    incumbent = Incumbent(layers.in_double(case.network), case.image, case.label, Norm.L0)
    bounder = Bounder(propagation.DenseNetwork.of(plain), incumbent, Effort())
    random = np.random.default_rng(seed)
    whole = support.Region.ball(Norm.L0, case.centre, float(left))
    whole.chosen[random.choice(9, 2, replace=False)] = True
    out = random.choice(np.flatnonzero(~whole.chosen))
    whole.low[out] = whole.high[out] = 0.0
    node = bounder.root((case.label + 1) % 4, 9.0, cuts.first_bounds(bounder.network, bounder.region(9.0)))
    parts = PixelSearch(bounder, [node.target]).parts(whole, node, bounder.margin(whole, node, 0))
    for _ in range(300):
        others = np.flatnonzero(~whole.chosen)
        moved = np.append(np.flatnonzero(whole.chosen), random.permutation(others)[: random.integers(0, left + 1)])
        move = np.zeros(9)
        move[moved] = random.uniform(whole.low[moved], whole.high[moved])
        assert any(
            ((move >= part.low) & (move <= part.high)).all() and np.count_nonzero(move[~part.chosen]) <= part.radius
            for part in parts
        )


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_what_is_lost_without_a_pixel_is_a_difference_of_suprema(count: int) -> None:
    random = np.random.default_rng(count)
    centre, rows, weights = random.uniform(0, 1, 9), random.normal(size=(5, 9)), random.uniform(0, 1, 5)
    region = support.Region.ball(Norm.L0, centre, float(count))
    region.chosen[3] = True
    whole, _ = region.suprema(rows, np.zeros(5))
    found = losses(region, rows, weights)
    for pixel in np.flatnonzero(~region.chosen):
        less = replace(region, low=region.low.copy(), high=region.high.copy())
        less.low[pixel] = less.high[pixel] = 0.0
        without, _ = less.suprema(rows, np.zeros(5))
        assert found[pixel] == pytest.approx(weights @ (whole - without), abs=1e-9)
    assert found[3] == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_margin_bound_needs_useful_units_only(seed: int) -> None:
    case = dense(seed, (9, 24, 24, 4))
    plain = layers.read(case.network, case.image)
    incumbent = Incumbent(layers.in_double(case.network), case.image, case.label, Norm.LINF)
    bounder = Bounder(propagation.DenseNetwork.of(plain), incumbent, Effort())
    region = bounder.region(1.0)
    node = bounder.root((case.label + 1) % 4, 1.0, cuts.first_bounds(bounder.network, region))
    needless = ~bounder.useful(node) & node.unstable()
    assert needless.any()
    found = bounder.margin(region, node, 0)
    node.low[needless], node.high[needless] = 0.5 * node.low[needless], 0.25 * node.high[needless]
    assert bounder.margin(region, node, 0).value == pytest.approx(found.value)


@every_norm
@pytest.mark.parametrize("seed", range(4))
def test_bounds_of_dense_networks_hold_at_sampled_points(norm: Norm, seed: int) -> None:
    case = dense(seed, (9, 12, 12, 4))
    plain = layers.read(case.network, case.image)
    network = propagation.DenseNetwork.of(plain)
    region = support.Region.ball(norm, case.centre, 2.0 if norm is Norm.L0 else 0.4)
    low, high = cuts.first_bounds(network, region)
    points = in_ball(norm, case.centre, region.radius, 3000)
    first = points @ network.weights[0].T + network.bias[network.layers[0]]
    second = np.maximum(first, 0) @ network.weights[1].T + network.bias[network.layers[1]]
    units = np.hstack([first, second])
    assert (units >= low).all()
    assert (units <= high).all()
    checked = 0
    for target in (other for other in range(4) if other != case.label):
        margin = plain.margin(case.label, target)
        margins = np.maximum(second, 0) @ margin[0] + margin[1]
        sign, alpha = np.zeros(len(low), dtype=np.int8), (high > -low).astype(float)
        found = propagation.margin_bound(network, region, margin, low, high, sign, alpha, np.zeros(len(low)), 12)
        assert (margins <= points @ found.row + found.constant + 1e-9).all()
        assert found.value >= margins.max()
        tight_low, tight_high = low.copy(), high.copy()
        useful = np.ones(len(low), dtype=np.bool_)
        crossed = cuts.tighten(
            network, region, (found.row, found.constant), tight_low, tight_high, np.zeros((2, len(low))), useful
        )
        adversarial = units[margins >= 0]
        if len(adversarial):
            checked += 1
            assert not crossed
            assert (adversarial >= tight_low).all()
            assert (adversarial <= tight_high).all()
    assert checked


@every_norm
@every_instance
def test_planes_hold_at_sampled_points(norm: Norm, case: Instance) -> None:
    plain = layers.read(case.network, case.image)
    prepared = pooled.prepare(plain)
    incumbent = Incumbent(layers.in_double(case.network), case.image, case.label, norm)
    bounder = general.PooledBounder(plain, prepared, incumbent, general.Work())
    for radius in (1.0, 2.0) if norm is Norm.L0 else (0.05, 0.3):
        region = bounder.region(radius)
        planes = bounder.planes(region)
        assert planes
        points = in_ball(norm, case.centre, radius, 2000)
        values = points
        for stage, plane in zip(plain.stages, planes, strict=False):
            units = (stage.weight @ values.T).T + stage.bias
            outputs = stage.activate(units)
            members = np.where(stage.windows >= 0, units[:, stage.windows], 0.0)
            above = (members * plane.above).sum(axis=2) + plane.constant
            if plane.spread is not None:
                above += (plane.spread.T @ np.abs(points - case.centre).T).T
            if plane.tilt is not None:
                above += (plane.tilt.T @ (points - case.centre).T).T
            assert (outputs <= above + 1e-9).all()
            assert (outputs >= (members * plane.below).sum(axis=2) - 1e-9).all()
            values = outputs


@pytest.mark.parametrize("rounds", [0, 1, 12])
@pytest.mark.parametrize("seed", range(3))
def test_refined_planes_are_valid_and_lower(seed: int, rounds: int) -> None:
    """Above the maxima at corners of the box, where refined planes are closest, and not above where they started."""
    case = convolutional(seed)
    plain = layers.read(case.network, case.image)
    prepared = pooled.prepare(plain)
    bounder = general.PooledBounder(
        plain, prepared, Incumbent(layers.in_double(case.network), case.image, case.label, Norm.LINF),
        general.Work(refinements=0),
    )  # fmt: skip
    region = bounder.region(0.2)
    first, second = bounder.planes(region)[:2]
    # Another plane for the rows to choose: all the weight on one member, and a constant that is large enough.
    sizes = np.abs(layers.dense(plain.stages[0].weight)) @ np.ones(plain.inputs) + np.abs(plain.stages[0].bias)
    lead = np.eye(first.above.shape[1])[np.zeros(len(first.above), dtype=np.int64)]
    other = windows.Planes(lead, 2 * sizes[plain.stages[0].windows].max(axis=1), None, first.below)

    def seconds(points: FloatArray) -> FloatArray:
        values = points
        for stage in plain.stages[:2]:
            units = (stage.weight @ values.T).T + stage.bias
            values = stage.activate(units)
        return units

    middle = 0.5 * (region.low + region.high)
    stage, members = plain.stages[1], plain.stages[1].windows
    middles = seconds((case.centre + middle)[None])[0][members]
    found = refine.Refinement(prepared, region, [first, other]).refine(bounder.groups, second, middles, rounds)
    assert found.tilt is not None
    height = (found.above * middles).sum(axis=1) + found.constant + found.tilt.T @ middle
    start = (second.above * middles).sum(axis=1) + second.constant
    assert (height <= start + 1e-6).all()
    assert rounds < 12 or height.mean() < start.mean() - 1e-4
    random = np.random.default_rng(seed)
    moves = np.where(random.random((4000, plain.inputs)) < random.random((4000, 1)), region.low, region.high)
    units = seconds(case.centre + moves)
    above = (units[:, members] * found.above).sum(axis=2) + found.constant + (found.tilt.T @ moves.T).T
    assert (stage.activate(units) <= above).all()


@pytest.mark.parametrize("rectified", [True, False])
@given(seed=ROWS)
def test_interval_planes_are_valid(rectified: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.standard_normal(8)
    high = low + random.exponential(size=8) * (random.random(8) < 0.8)
    members = np.array([[0, 1, 2], [3, 4, -1], [5, -1, -1], [6, 7, 0]])
    stage = layers.Stage(np.eye(8), np.zeros(8), members, rectified)
    plane = general.interval_planes(stage, low, high)
    units = low + (high - low) * np.round(random.random((200, 8)) * 1.5 - 0.25, 1).clip(0, 1)
    outputs = stage.activate(units)
    values = np.where(members >= 0, units[:, members], 0.0)
    assert (outputs <= (values * plane.above).sum(axis=2) + plane.constant + 1e-12).all()
    assert (outputs >= (values * plane.below).sum(axis=2) - 1e-12).all()


def test_the_slack_covers_rounding() -> None:
    """The same sums in extended precision: rounding is a thousandth of the slack at most."""
    network = networks.load("MLP")
    images, labels = data.test(1)
    plain = layers.read(network, images[0])
    dense_network = propagation.DenseNetwork.of(plain)
    region = support.Region.ball(Norm.LINF, images[0].double().flatten().numpy(), 0.05)
    low, high = cuts.first_bounds(dense_network, region)
    label = int(labels[0])
    row, constant = plain.margin(label, (label + 1) % 10)
    lines_ = [propagation.Lines.around(low[at], high[at]) for at in dense_network.layers]
    found, offset = propagation.backwards(dense_network, lines_, row[None], np.array([constant]))
    wide: Any = row.astype(np.longdouble)
    base: Any = np.longdouble(constant)
    for stage, line in zip(plain.stages[::-1], lines_[::-1], strict=True):
        above = np.maximum(wide, 0)
        base += above @ line.intercept
        slopes = above * line.slope + (wide - above) * line.alpha
        base += slopes @ stage.bias
        wide = slopes @ np.asarray(stage.weight).astype(np.longdouble)
    centre = region.centre
    value = float(found[0] @ centre + offset[0])
    assert value != 0
    rounding = abs(value - float(wide @ centre + base)) + float(np.abs(found[0] - wide).sum())
    assert rounding <= 1e-3 * support.slack(found, offset)[0]


# Reading networks


@every_instance
def test_the_plain_network_computes_the_same(case: Instance) -> None:
    plain = layers.read(case.network, case.image)
    images = torch.rand(50, *case.image.shape, dtype=torch.float64)
    expected = layers.in_double(case.network)(images).numpy()
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
    with pytest.raises(certify.Unsupported, match=message):
        certify.bound(spec(Norm.L2), network, torch.rand(1, 6), torch.tensor([0]), 0)


def test_a_network_with_a_forward_of_its_own_is_refused() -> None:
    class Twice(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = 2 * super().forward(images)
            return output

    network = Twice(nn.Flatten(), nn.Linear(6, 2)).eval().requires_grad_(False)
    with pytest.raises(certify.Unsupported, match="no verifier for Twice"):
        certify.bound(spec(Norm.L2), network, torch.rand(1, 6), torch.tensor([0]), 0)


def records(tmp_path: Path, activation: str) -> tuple[Record, ...]:
    """The records of a block of a user's own network."""
    source = f"""
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.{activation}(), nn.Linear(8, 10))
"""
    path = tmp_path / f"{activation}.py"
    path.write_text(source)
    block = Block(
        network=networks.specs([f"{path}:make"])[0], row=_certify.LOWER[1], number=0, images=tuple(range(30)),
        split="test", seed=0, device="cpu", limit=60.0,
    )  # fmt: skip
    return worker.run(block).records


def test_what_no_verifier_can_bound_is_recorded_as_such(tmp_path: Path) -> None:
    made = records(tmp_path, "Tanh")
    bounded = [record for record in made if record.status is not Status.MISCLASSIFIED]
    assert bounded
    assert {(record.status, record.message, record.lower) for record in bounded} == {
        (Status.UNSUPPORTED, "no verifier for Tanh", 0.0)
    }


def test_records_hold_bounds_and_the_examples_found(tmp_path: Path) -> None:
    made = records(tmp_path, "ReLU")
    bounded = [record for record in made if record.status is not Status.MISCLASSIFIED]
    assert bounded
    for record in bounded:
        assert record.status is Status.FOUND
        assert 0 < record.lower <= record.l2


# The rows of the suites


@every_norm
def test_lower_bounds_are_the_same_every_time(norm: Norm) -> None:
    network, (images, labels) = networks.load("MLP"), data.test(3)
    row = replace(next(row for row in _certify.LOWER if row.norm is norm), seconds=1e6)
    first = certify.bound(row, network, images, labels, 0)
    order = [2, 0, 1]
    second = certify.bound(row, network, images[order], labels[order], 1)
    assert (first.lower[order] == second.lower).all()
    assert torch.equal(first.candidates[order], second.candidates)
    assert (first.lower > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MLP", "MLP_d", "CNN"])
def test_no_attack_finds_anything_below_a_bound(name: str) -> None:
    network = networks.load(name)
    images, labels = data.test(2)
    attacks = {
        Norm.L0: (_foolbox.SIGMA_ZERO,),
        Norm.L2: (_foolbox.DDN, _foolbox.DEEPFOOL_L2),
        Norm.LINF: (_foolbox.FMN_LINF, _foolbox.DEEPFOOL_LINF),
    }
    judge = layers.in_double(network)
    for row in _certify.LOWER:
        bounds = certify.bound(row, network, images, labels, 0)
        assert (bounds.lower > 0).all()
        found = 0
        for attack in attacks[row.norm]:
            candidates = rows.attack(attack, network, images, labels).clamp(0, 1)
            wrong = judge(candidates.double()).argmax(1) != labels
            distances = row.norm.of((candidates.double() - images.double()).flatten(1).numpy())
            found += int(wrong.sum())
            assert (bounds.lower[wrong] <= distances[wrong]).all()
        assert found
