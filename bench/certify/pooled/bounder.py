"""Certified radii of any sequential network: planes around its maxima, and cuts at the last hidden layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from bench.certify.effort import PooledEffort
from bench.certify.incumbent import Incumbent
from bench.certify.layers import FloatArray, IntArray, PlainNetwork, Stage, dense
from bench.certify.pooled.members import InputLines
from bench.certify.pooled.planes import Planes, interval_planes
from bench.certify.pooled.propagation import Cut, Functions, LowerWeights, PooledStage, bound_rows, onto_units
from bench.certify.pooled.refine import Refinement, window_groups
from bench.certify.pooled.windows import Fit, fit_planes
from bench.certify.regions import Region
from bench.norms import Norm

_CHUNK = 128
"""Units bounded at once, which bounds memory."""

_FIRST_GUESS = {Norm.LINF: 0.27, Norm.L2: 0.14, Norm.L1: 0.14, Norm.L0: 0.0}
"""The first ball's radius, as a fraction of the distance of the nearest adversarial example known."""

_STEP = 1.06
"""The next ball's radius over the one certified, where the bounds do not tell."""

_RISE, _TOO_HIGH = 2.2, 0.6
"""Margin bounds rise with this power of the radius; above this multiple of the clean margin no cuts are tried. Measured on
the CNNs; heuristic only."""

_RAISED = 0.35, 0.2
"""How far above the middle, as a fraction of how far members can rise, planes are fitted for: a first stage's second planes,
and a second stage's. The points at which upper bounds are largest lie there."""


class PooledBounder:
    """Bounds balls around one image.

    Attributes:
        plain, stages: the network.
        incumbent: the image, its label, the norm, and the best adversarial example so far.
        effort: how much work goes where.
        centre: (d,) float64, the image.
        clean: the largest margin at the image, negative.
        groups: the second stage's windows, grouped by what they see; empty where it has no patches.
    """

    def __init__(
        self, plain: PlainNetwork, stages: list[PooledStage], incumbent: Incumbent, effort: PooledEffort
    ) -> None:
        """Nothing is computed yet.

        Args:
            plain: the network.
            stages: the same, prepared.
            incumbent: the image, its label and the norm.
            effort: how much work goes where.
        """
        self.plain, self.stages, self.incumbent, self.effort = plain, stages, incumbent, effort
        self.centre, self.clean = incumbent.centre.numpy(), incumbent.clean
        first, second = [*(stage.patches for stage in stages), None, None][:2]
        self.groups = window_groups(first, second) if first is not None and second is not None else ()

    def region(self, radius: float) -> Region:
        """The ball of a radius."""
        return Region.ball(self.incumbent.norm, self.centre, radius)

    def radius(
        self,
        targets: list[int],
        outer: float,
        balls: int,
        going: Callable[[], bool],
        low: float = 0.0,
        gap: float = 1e-3,
    ) -> float:
        """The largest radius certified after bounding a number of balls.

        Args:
            targets: classes an adversarial example may have.
            outer: an adversarial example is known there, or the whole box lies inside.
            balls: how many to bound.
            going: asked before each piece of work whether there is time for it.
            low: a radius certified already.
            gap: relative width of the interval at which to stop.
        """
        clean = self.clean
        high = outer
        radius = min(_STEP * low, outer) if low > 0 else _FIRST_GUESS[self.incumbent.norm] * outer
        for turn in range(3 * balls):
            # Where nothing was certified yet a few more, smaller balls are bounded.
            if not going() or high - low < gap * outer or (turn >= balls and low > 0):
                break
            reached, value = self.certified(radius, targets, going, low)
            high = high if reached == radius else radius
            low = max(low, reached)
            # Bounds rise from the clean margin like a power of the radius; a little above 0 the cuts still bring them down.
            aim = max(
                self.effort.bridge[self.incumbent.norm] * -clean if turn + 1 < balls or low > 0 else 0.5 * clean,
                clean + 1e-9,
            )
            radius *= min(max((aim - clean) / max(value - clean, 1e-9), 0.1), 10.0) ** (1 / _RISE)
            if not 1.01 * low < radius < 0.99 * high:
                radius = 0.5 * (low + high) if high < outer else min(_STEP * low, outer)
        return low

    def certified(
        self, radius: float, targets: list[int], going: Callable[[], bool] = lambda: True, enough: float = 0.0
    ) -> tuple[float, float]:
        """A certified radius, at most the one given, from bounds over the ball of that one.

        Args:
            radius: of the ball.
            targets: classes an adversarial example may have.
            going: asked before each piece of work whether there is time for it.
            enough: what is certified already: a target that ends at or below it ends the work.

        Returns:
            The radius, and the largest margin bound before any cut.
        """
        region = self.region(radius)
        planes = self.planes(region)
        bounds = None if len(planes) == len(self.stages) else self.intervals(region, planes)
        values, functions, _, _ = self.margins(region, planes, bounds, targets)
        if bounds is None:
            return functions.reach(region), float(values.max())
        if values.max() > _TOO_HIGH * max(-self.clean, 0.0):
            return 0.0, float(values.max())
        reached = radius
        for index in np.argsort(-values):
            if values[index] < 0:
                continue
            reached = min(reached, self._target(region, planes, bounds, targets[index], going))
            if reached <= enough:
                break
        return reached, float(values.max())

    def margins(
        self,
        region: Region,
        planes: list[Planes],
        bounds: tuple[FloatArray, FloatArray] | None,
        targets: list[int],
    ) -> tuple[FloatArray, Functions, LowerWeights, list[Planes]]:
        """The margin bounds of some targets, (n,), and what gave them.

        Args:
            region: where the image may be.
            planes: of all stages, or of all but the last.
            bounds: (units,) low and high of the last stage where its planes are missing.
            targets: classes.
        """
        margins = [self.plain.margin(self.incumbent.label, target) for target in targets]
        rows, constants = np.stack([row for row, _ in margins], axis=1), np.array([c for _, c in margins])
        if bounds is not None:
            planes = [*planes, interval_planes(self.stages[-1].stage, *bounds)]
        weights = LowerWeights(planes, len(targets))
        values, functions, _ = bound_rows(
            self.stages, planes, rows, constants, region, self.effort.margin_rounds, weights=weights
        )
        return values, functions, weights, planes

    def _target(
        self,
        region: Region,
        planes: list[Planes],
        bounds: tuple[FloatArray, FloatArray],
        target: int,
        going: Callable[[], bool],
    ) -> float:
        """A certified radius for one target, by rounds of cuts."""
        low, high = bounds[0].copy(), bounds[1].copy()
        gammas = np.zeros((2, len(low)))
        stage = self.stages[-1].stage
        free = _undecided(stage, low, high)
        own = LowerWeights(planes, 2 * len(free))
        best, reached = np.inf, 0.0
        for turn in range(self.effort.cuts + 1):
            values, functions, weights, every = self.margins(region, planes, (low, high), [target])
            value = float(values[0])
            if value < 0:
                return region.radius
            reached = max(reached, functions.reach(region))
            if turn == self.effort.cuts or value > (1 - self.effort.gain) * best or not going():
                break
            best = value
            row, constant = self.plain.margin(self.incumbent.label, target)
            cut = self._cut(every[-1], weights, row[:, None], constant)
            still = np.isin(free, _undecided(stage, low, high))
            free, own = free[still], own.select(np.concatenate([still, still]))
            if not len(free):
                break
            weight, bias = dense(stage.weight[free]), stage.bias[free]
            start = gammas[:, free].ravel()
            found, _, _ = bound_rows(
                self.stages[:-1], planes, np.hstack([weight.T, -weight.T]), np.concatenate([bias, -bias]),
                region, self.effort.cut_rounds, cut, start, own,
            )  # fmt: skip
            gammas[:, free] = start.reshape(2, -1)
            high[free] = np.minimum(high[free], found[: len(free)])
            low[free] = np.maximum(low[free], -found[len(free) :])
            if (low > high).any():
                return region.radius
        return reached

    def _cut(self, last: Planes, weights: LowerWeights, row: FloatArray, constant: float) -> Cut:
        """The margin's line on the outputs of the stage before the last."""
        above = np.maximum(row, 0.0)
        stage = self.stages[-1].stage
        slopes = onto_units(stage, last, weights.lambdas[-1], above, row - above)[:, 0]
        return Cut(stage.weight.T @ slopes, float(constant + last.constant @ above[:, 0] + slopes @ stage.bias))

    def planes(self, region: Region) -> list[Planes]:
        """The planes of every stage whose windows see little of the image, and of all other stages but the last.

        Args:
            region: where the image may be.
        """
        low, high = region.low, region.high
        # The region's middle: but for Linf the image itself, since no point of the ball is near the middle of its box.
        values = region.centre + (0.5 * (low + high) if region.norm is Norm.LINF else 0.0)
        lines = InputLines.image(region.centre)
        reach = 0.5 * (high - low)
        refined = region.norm is Norm.LINF and self.effort.refinements > 0
        planes: list[Planes] = []
        for index, prepared in enumerate(self.stages):
            patches, stage = prepared.patches, prepared.stage
            if patches is None:
                if index < len(self.stages) - 1:
                    planes.append(interval_planes(stage, *self.intervals(region, planes)))
                continue
            units = prepared.matrix @ values + stage.bias
            middles = np.where(stage.windows >= 0, units[stage.windows], -np.inf)
            plane, paid = self._fitted(index, region, middles, lines)
            planes.append(plane)
            if index == 0:
                firsts = [plane]
                if refined:
                    raised = middles + _RAISED[0] * _rises(prepared, reach)
                    firsts.append(self._fitted(0, region, raised, lines)[0])
                lines = InputLines.after(patches, planes[0], paid, region.centre)
                values = 0.5 * (lines.upper_values + lines.lower_values)
                reach = 0.5 * (lines.upper_values - lines.lower_values)
            elif refined:
                raised = middles + _RAISED[1] * _rises(prepared, reach)
                planes[1] = Refinement(self.stages, region, firsts).refine(
                    self.groups, plane, raised, self.effort.refinements
                )
        return planes

    def _fitted(self, index: int, region: Region, middles: FloatArray, lines: InputLines) -> tuple[Planes, FloatArray]:
        """Planes of a stage with patches, and what they pay on each window's pixels."""
        patches, stage, effort = self.stages[index].patches, self.stages[index].stage, self.effort
        assert patches is not None
        lead = np.eye(middles.shape[1])[middles.argmax(axis=1)]
        below = lead * (middles.max(axis=1) > 0)[:, None] if stage.rectified else lead
        typical = np.full(len(region.low), effort.typical[region.norm] * region.radius)
        steps = (effort.first_steps, effort.second_steps)[index]
        fit = Fit(stage.rectified, typical, middles, 0.5 * lead, steps)
        above, constant, paid = fit_planes(patches, lines, region.arguments, fit)
        spread = None if region.norm is Norm.LINF else _columns(paid, patches.pixels, len(region.low))
        return Planes(above, constant, spread, below), paid

    def intervals(self, region: Region, planes: list[Planes]) -> tuple[FloatArray, FloatArray]:
        """Bounds of the units of the stage that follows some planes: (units,) low and high."""
        stage = self.stages[len(planes)].stage
        low, high = np.empty_like(stage.bias), np.empty_like(stage.bias)
        for start in range(0, len(low), _CHUNK):
            part = slice(start, start + _CHUNK)
            weight, bias = dense(stage.weight[part]), stage.bias[part]
            found, _, _ = bound_rows(
                self.stages[: len(planes)], planes, np.hstack([weight.T, -weight.T]), np.concatenate([bias, -bias]),
                region, self.effort.rounds,
            )  # fmt: skip
            low[part], high[part] = -found[len(bias) :], found[: len(bias)]
        return low, high


def _rises(prepared: PooledStage, reach: FloatArray) -> FloatArray:
    """How far the members of each window, (p, k), can rise when each input can by its ``reach``."""
    matrix = prepared.matrix
    sizes: FloatArray = (np.abs(matrix) if isinstance(matrix, np.ndarray) else abs(matrix)) @ reach
    return sizes[prepared.stage.windows]


def _columns(values: FloatArray, pixels: IntArray, count: int) -> sparse.csr_array:
    """(p, t) values on the pixels of each window as a (count, p) matrix."""
    windows, places = np.nonzero((values != 0) & (pixels >= 0))
    entries = values[windows, places], (pixels[windows, places], windows)
    return sparse.csr_array(entries, shape=(count, len(values)))


def _undecided(stage: Stage, low: FloatArray, high: FloatArray) -> IntArray:
    """The units whose bounds matter: of plain ReLUs those that can have either sign, of others all."""
    return np.flatnonzero((low < 0) & (high > 0)) if stage.is_relu else np.arange(len(low))
