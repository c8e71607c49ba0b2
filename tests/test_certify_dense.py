"""Dense networks: bounds at sampled points, and solvers that fail."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from certified import dense, every_norm, in_ball, mnist, solved, zoo
from scipy import optimize

from bench.certify import regions, verifier
from bench.certify.dense import cuts, leaves, propagation
from bench.certify.dense.search import Bounder
from bench.certify.effort import DenseEffort
from bench.certify.reading import read
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
    name = "minimize" if norm is Norm.L2 else "linprog"
    fault = Fault(outcome, getattr(optimize, name))
    monkeypatch.setattr(leaves, "optimize", SimpleNamespace(linprog=fault, minimize=fault))
    # Without cuts, and with lines that never improve, nothing but leaves can close a node.
    monkeypatch.setattr(
        verifier, "DenseEffort", lambda: DenseEffort(root_rounds=0, node_rounds=0, steps=0, trial_steps=0)
    )
    for seed in range(3):
        case, optimum = dense(seed), solved(seed, norm)
        lower, upper = case.bound(norm, seconds=0.5)
        assert 0 <= lower <= optimum * (1 + 1e-4)
        assert upper >= optimum * (1 - 1e-4)
    assert fault.calls > 0


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
