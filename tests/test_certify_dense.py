"""Dense networks: bounds at sampled points, and solvers that fail."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from certified import Instance, dense, every_norm, in_ball, mnist, solved, unit_domain, zoo
from scipy import optimize

from bench.certify import regions, verifier
from bench.certify.dense import cuts, hidden, leaves, propagation, search
from bench.certify.dense.search import Bounder
from bench.certify.effort import DenseEffort
from bench.certify.incumbent import Incumbent, attack, attack_around
from bench.certify.layers import FloatArray
from bench.certify.reading import in_double, read
from bench.norms import Norm


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
@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
def test_a_failed_solver_never_prunes(norm: Norm, outcome: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # Kernels are compiled at first use, which takes longer than the searches below.
    dense(0).bound(norm)
    name = "minimize" if norm is Norm.L2 else "linprog"
    fault = Fault(outcome, getattr(optimize, name))
    monkeypatch.setattr(leaves, "optimize", SimpleNamespace(linprog=fault, minimize=fault))
    # Without cuts, and with lines that never improve, nothing but leaves can close a node.
    monkeypatch.setattr(
        verifier, "DenseEffort", lambda: DenseEffort(root_rounds=0, node_rounds=0, steps=0, trial_steps=0)
    )
    for seed in range(3):
        case, optimum = dense(seed), solved(seed, norm)
        lower, upper = case.bound(norm, seconds=2.0)
        assert 0 <= lower <= optimum * (1 + 1e-4)
        assert upper >= optimum * (1 - 1e-4)
    assert fault.calls > 0


def _least_and_largest(case: Instance, region: regions.Region) -> tuple[FloatArray, FloatArray]:
    """The exact ranges of the units of the second layer over a Linf ball: a linear programme for every sign pattern."""
    first, second = case.plain.stages[:2]
    ends = [np.full(len(second.bias), np.inf), np.full(len(second.bias), -np.inf)]
    for signs in itertools.product((-1.0, 1.0), repeat=len(first.bias)):
        sign = np.array(signs)
        weight, bias = np.asarray(first.weight), first.bias + first.weight @ region.centre
        active = (sign > 0).astype(float)
        for unit, (row, constant) in enumerate(zip(np.asarray(second.weight), second.bias, strict=True)):
            slopes = (row * active) @ weight
            for side in (0, 1):
                turn = (1.0, -1.0)[side]
                result = optimize.linprog(
                    turn * slopes,
                    A_ub=-sign[:, None] * weight,
                    b_ub=sign * bias,
                    bounds=[*zip(region.low, region.high, strict=True)],
                )
                if result.status == 0 and result.fun is not None:
                    value = turn * result.fun + (row * active) @ bias + constant
                    ends[side][unit] = (min, max)[side](ends[side][unit], value)
    return ends[0], ends[1]


@pytest.mark.parametrize("seed", range(3))
def test_branching_brings_bounds_of_hidden_units_near_their_exact_ranges(seed: int) -> None:
    case = dense(seed, (3, 5, 4, 3))
    network = propagation.DenseNetwork.of(case.plain)
    region = regions.Region.ball(Norm.LINF, case.centre, 0.5)
    low, high = cuts.first_bounds(network, region)
    least, largest = _least_and_largest(case, region)
    unstable = (low < 0) & (high > 0)
    units = network.layers[1]
    assert unstable[units].any()
    before = (high - low)[units] - (largest - least)
    everywhere = np.zeros(3), 1.0
    sign, useful = np.zeros(len(low), dtype=np.int8), np.ones(len(low), dtype=np.bool_)
    assert not hidden.strengthen(network, region, everywhere, propagation.Units(low, high, sign), useful, 200)
    # A bound that is negative settles the sign: it is not improved any further.
    assert (low[units] <= np.maximum(least, 0.0)).all()
    assert (high[units] >= np.minimum(largest, 0.0)).all()
    still = ((low < 0) & (high > 0))[units]
    assert (low[units] <= least)[still].all()
    assert (high[units] >= largest)[still].all()
    assert ((high - low)[units] - (largest - least))[still].sum() <= 0.3 * before[still].sum()


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
@pytest.mark.parametrize("sizes", [(9, 12, 12, 4), (9, 10, 10, 10, 4)], ids=["two", "three"])
def test_strengthened_bounds_hold_wherever_an_example_can_be(norm: Norm, sizes: tuple[int, ...]) -> None:
    """At sampled points of a part with fixed signs at which the cut is not negative, for dense networks of two and three layers."""
    case = dense(1, sizes)
    network = propagation.DenseNetwork.of(case.plain)
    region = regions.Region.ball(norm, case.centre, {Norm.L1: 1.5, Norm.L2: 0.6, Norm.LINF: 0.3}[norm])
    points = in_ball(norm, case.centre, region.radius, 4000)
    units, values = [], points
    for weight, at in zip(network.weights, network.layers, strict=True):
        units.append(values @ weight.T + network.bias[at])
        values = np.maximum(units[-1], 0)
    seen = np.hstack(units)
    first, checked = cuts.first_bounds(network, region), 0
    for target in (other for other in range(4) if other != case.label):
        margin = case.plain.margin(case.label, target)
        low, high = first[0].copy(), first[1].copy()
        split = int(np.argmin(np.abs(np.median(seen[:, network.layers[0]], axis=0))))
        sign, zeros = np.zeros(len(low), dtype=np.int8), np.zeros(len(low))
        sign[split], low[split] = 1, 0.0
        known = propagation.Units(low, high, sign)
        start = propagation.Multipliers((high > -low).astype(float), zeros)
        found = propagation.margin_bound(network, region, margin, known, start, 6)
        row, constant = found.row, found.constant
        inside = seen[(points @ row + constant >= 0) & (seen[:, split] >= 0)]
        plain_width = float((high - low).sum())
        crossed = hidden.strengthen(network, region, (row, constant), known, np.ones(len(low), dtype=np.bool_), 40)
        if len(inside):
            checked += 1
            assert not crossed
            assert float((high - low).sum()) < plain_width
            assert (inside >= low).all()
            assert (inside <= high).all()
    assert checked


def test_without_time_no_bound_is_strengthened() -> None:
    case = dense(1)
    network = propagation.DenseNetwork.of(case.plain)
    region = regions.Region.ball(Norm.LINF, case.centre, 0.5)
    low, high = cuts.first_bounds(network, region)
    before = low.copy(), high.copy()
    sign, useful = np.zeros(len(low), dtype=np.int8), np.ones(len(low), dtype=np.bool_)
    known = propagation.Units(low, high, sign)
    hidden.strengthen(network, region, (np.zeros(6), 1.0), known, useful, 40, lambda: False)
    assert (low == before[0]).all()
    assert (high == before[1]).all()


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2, Norm.LINF], ids=lambda norm: norm.value)
def test_a_search_that_branches_on_hidden_units_at_once_is_exact(norm: Norm, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = hidden.strengthen

    def counted(*arguments: Any) -> bool:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(search, "strengthen", counted)
    monkeypatch.setattr(
        verifier, "DenseEffort", lambda: DenseEffort(root_rounds=0, node_rounds=1, parts=(2, 8), worth=0.0)
    )
    for seed in range(6):
        lower, upper = dense(seed).bound(norm)
        optimum = solved(seed, norm)
        assert lower <= optimum * (1 + 1e-9)
        assert upper == pytest.approx(optimum, rel=3e-4)
        assert lower >= upper * (1 - 2e-4)
    assert calls


def test_a_longer_attack_finds_what_a_short_one_misses() -> None:
    network = zoo("MLP_d")
    images, labels = mnist(8)
    label = int(labels[7])
    close = Incumbent(in_double(network), images[7], label, Norm.LINF, unit_domain((1, 28, 28), 10))
    targets = [target for target in range(10) if target != label]
    attack(close, targets, close.centre.repeat(9, 1), 60)
    short = close.distance
    attack_around(close, targets)
    assert close.distance < 0.95 * short
    assert close.candidate is not None
    assert Norm.LINF.of((close.candidate - close.centre.numpy())[None])[0] == close.distance


@pytest.mark.parametrize("seed", range(4))
def test_the_margin_bound_needs_useful_units_only(seed: int) -> None:
    case = dense(seed, (9, 24, 24, 4))
    plain = case.plain
    incumbent = case.incumbent(Norm.LINF)
    bounder = Bounder(propagation.DenseNetwork.of(plain), incumbent, DenseEffort())
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
    plain = case.plain
    network = propagation.DenseNetwork.of(plain)
    region = regions.Region.ball(norm, case.centre, 2.0 if norm is Norm.L0 else 0.4)
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
        start = propagation.Multipliers(alpha, np.zeros(len(low)))
        found = propagation.margin_bound(network, region, margin, propagation.Units(low, high, sign), start, 12)
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


def test_the_slack_covers_rounding() -> None:
    """The same sums in extended precision: rounding is a thousandth of the slack at most."""
    network = zoo("MLP")
    images, labels = mnist(1)
    plain = read(network, images)
    dense_network = propagation.DenseNetwork.of(plain)
    region = regions.Region.ball(Norm.LINF, images[0].double().flatten().numpy(), 0.05)
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
    assert rounding <= 1e-3 * regions.slack(found, offset)[0]
