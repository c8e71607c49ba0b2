"""Pooled networks: planes at sampled points, weights of the lines below."""

from __future__ import annotations

import numpy as np
import pytest
from certified import SEEDS, Instance, convolutional, every_instance, every_norm, in_ball
from hypothesis import given

from bench.certify import layers
from bench.certify.effort import PooledEffort
from bench.certify.pooled import propagation, refine
from bench.certify.pooled.bounder import PooledBounder
from bench.certify.pooled.planes import Planes, interval_planes
from bench.norms import FloatArray, Norm


@pytest.mark.parametrize("rectified", [True, False])
def test_weights_of_ties_sum_to_one_at_most(rectified: bool) -> None:
    """Equal members share the weight of one: more would not bound a maximum from below."""
    count = 3
    stage = layers.Stage(np.eye(6), np.zeros(6), np.array([[0, 1, 2, -1], [3, 4, 5, -1]]), rectified)
    prepared = propagation.PooledStage(stage, np.eye(6), np.eye(6), None)
    start = np.full((2, 4), 1 / 3) * np.array([1, 1, 1, 0])
    plane = Planes(start, np.zeros(2), None, start)
    lower = propagation.LowerWeights([plane], count)
    tied = np.array(
        [[1.0, 1.0, 1.0], [1.0, 0.5, 1.0], [1.0, 0.5, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, -1.0], [0.0, -1.0, -1.0]]
    )
    for _ in range(5):
        lower.update([prepared], [tied])
        weights = lower.lambdas[0]
        assert (weights >= 0).all()
        assert (weights.sum(axis=0) <= 1 + 1e-12).all()
        maxima = stage.activate(tied.T).T
        assert ((weights[:3] * tied.reshape(2, 3, count).transpose(1, 0, 2)).sum(axis=0) <= maxima + 1e-12).all()
        assert (weights[3] == 0).all()
        if not rectified:
            assert weights.sum(axis=0) == pytest.approx(np.ones((2, count)))


@every_norm
@every_instance
def test_planes_hold_at_sampled_points(norm: Norm, case: Instance) -> None:
    plain = case.plain
    prepared = propagation.prepare(plain)
    incumbent = case.incumbent(norm)
    bounder = PooledBounder(plain, prepared, incumbent, PooledEffort())
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
    plain = case.plain
    prepared = propagation.prepare(plain)
    bounder = PooledBounder(
        plain, prepared, case.incumbent(Norm.LINF),
        PooledEffort(refinements=0),
    )  # fmt: skip
    region = bounder.region(0.2)
    first, second = bounder.planes(region)[:2]
    # Another plane for the rows to choose: all the weight on one member, and a constant that is large enough.
    sizes = np.abs(layers.dense(plain.stages[0].weight)) @ np.ones(plain.inputs) + np.abs(plain.stages[0].bias)
    lead = np.eye(first.above.shape[1])[np.zeros(len(first.above), dtype=np.int64)]
    other = Planes(lead, 2 * sizes[plain.stages[0].windows].max(axis=1), None, first.below)

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
@given(seed=SEEDS)
def test_interval_planes_are_valid(rectified: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    low = random.standard_normal(8)
    high = low + random.exponential(size=8) * (random.random(8) < 0.8)
    members = np.array([[0, 1, 2], [3, 4, -1], [5, -1, -1], [6, 7, 0]])
    stage = layers.Stage(np.eye(8), np.zeros(8), members, rectified)
    plane = interval_planes(stage, low, high)
    units = low + (high - low) * np.round(random.random((200, 8)) * 1.5 - 0.25, 1).clip(0, 1)
    outputs = stage.activate(units)
    values = np.where(members >= 0, units[:, members], 0.0)
    assert (outputs <= (values * plane.above).sum(axis=2) + plane.constant + 1e-12).all()
    assert (outputs >= (values * plane.below).sum(axis=2) - 1e-12).all()
