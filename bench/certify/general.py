"""Certified radii of any sequential network: pooled planes, games for the lower weights, cuts at the last hidden layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.pooled import Cut, Functions, Game, Prepared, bound_rows
from bench.certify.primal import Incumbent
from bench.certify.support import Region
from bench.certify.windows import InputLines, Planes, fit_planes
from bench.norms import Norm

_FIRST_GUESS = {Norm.LINF: 0.32, Norm.L2: 0.13}
"""The first ball's radius, as a share of the distance of the nearest adversarial example known."""


@dataclass(frozen=True, slots=True)
class Work:
    """How much work goes where.

    Attributes:
        first_steps, second_steps: subgradient steps for the planes of the first and second stage.
        rounds: rounds of the game for hidden units.
        margin_rounds: rounds of the game for the margins.
        cuts: most rounds of cuts for a target.
        cut_rounds: rounds of the game in each of them.
        gain: a further cut needs the last to have lowered the margin by this share.
        shares: in L2, the part of the radius that a window of the first and of the second stage is taken to spend.
    """

    first_steps: int = 30
    second_steps: int = 16
    rounds: int = 3
    margin_rounds: int = 12
    cuts: int = 8
    cut_rounds: int = 4
    gain: float = 0.1
    shares: tuple[float, float] = (0.3, 0.5)


class PooledBounder:
    """Bounds balls around one image."""

    def __init__(self, plain: PlainNetwork, prepared: list[Prepared], incumbent: Incumbent, work: Work) -> None:
        """Nothing is computed yet."""
        self.plain, self.stages, self.incumbent, self.work = plain, prepared, incumbent, work
        self.centre = incumbent.centre.numpy()

    def region(self, radius: float) -> Region:
        """The ball of a radius."""
        return Region.ball(self.incumbent.norm, self.centre, radius)

    def radius(self, targets: list[int], outer: float, evaluations: int, going: Callable[[], bool]) -> float:
        """The largest radius certified after bounding a number of balls.

        Args:
            targets: classes an adversarial example may have.
            outer: an adversarial example is known there, or the whole box lies inside.
            evaluations: how many balls to bound.
            going: asked before each piece of work whether there is time for it.
        """
        low, high = 0.0, outer
        radius = _FIRST_GUESS[self.incumbent.norm] * outer
        for _ in range(evaluations):
            if not going() or high - low < 1e-3 * outer:
                break
            reached = self.certified(radius, targets, going, low)
            if reached < radius:
                high = radius
            low = max(low, reached)
            # Bounds get worse fast with the radius, so steps are short, and shorter once a ball was too large.
            radius = min(1.12 * low, outer) if high == outer else 0.5 * (low + high)
            if low == 0.0:
                radius = 0.6 * high
        return low

    def certified(
        self, radius: float, targets: list[int], going: Callable[[], bool] = lambda: True, enough: float = 0.0
    ) -> float:
        """A certified radius, at most the one given, from bounds over the ball of that one.

        Args:
            radius: of the ball.
            targets: classes an adversarial example may have.
            going: asked before each piece of work whether there is time for it.
            enough: what is certified already: a target that ends at or below it ends the work.
        """
        region = self.region(radius)
        planes = self.planes(region)
        bounds = self.intervals(region, planes)
        values = self.margins(region, planes, bounds, targets)[0]
        reached = radius
        for index in np.argsort(-values):
            if values[index] < 0:
                continue
            reached = min(reached, self._target(region, planes, bounds, targets[index], going))
            if reached <= enough:
                break
        return reached

    def margins(
        self, region: Region, planes: list[Planes], bounds: tuple[FloatArray, FloatArray], targets: list[int]
    ) -> tuple[FloatArray, Functions, Game, Planes]:
        """The margin bounds of some targets."""
        margins = [self.plain.margin(self.incumbent.label, target) for target in targets]
        rows, constants = np.stack([row for row, _ in margins], axis=1), np.array([c for _, c in margins])
        hidden = interval_planes(*bounds)
        game = Game([*planes, hidden], len(targets))
        values, functions, _ = bound_rows(
            self.stages, [*planes, hidden], rows, constants, region, self.work.margin_rounds, game=game
        )
        return values, functions, game, hidden

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
        free = np.flatnonzero((low < 0) & (high > 0))
        games = Game(planes, 2 * len(free))
        best, reached = np.inf, 0.0
        for turn in range(self.work.cuts + 1):
            values, functions, game, hidden = self.margins(region, planes, (low, high), [target])
            value = float(values[0])
            if value < 0:
                reached = region.radius
                break
            reached = max(reached, functions.reach(region))
            if turn == self.work.cuts or value > (1 - self.work.gain) * best or not going():
                break
            best = value
            row, constant = self.plain.margin(self.incumbent.label, target)
            cut = self._cut(hidden, game, row[:, None], np.array([constant]))
            still = (low[free] < 0) & (high[free] > 0)
            free, games = free[still], games.select(np.concatenate([still, still]))
            weight, bias = np.asarray(stage.weight)[free], stage.bias[free]
            start = gammas[:, free].ravel()
            found, _, _ = bound_rows(
                self.stages[:-1], planes, np.hstack([weight.T, -weight.T]), np.concatenate([bias, -bias]),
                region, self.work.cut_rounds, cut, start, games,
            )  # fmt: skip
            gammas[:, free] = start.reshape(2, -1)
            high[free] = np.minimum(high[free], found[: len(free)])
            low[free] = np.maximum(low[free], -found[len(free) :])
            if (low > high).any():
                reached = region.radius
                break
        return reached

    def _cut(self, hidden: Planes, game: Game, row: FloatArray, constant: FloatArray) -> Cut:
        """The margin's line on the outputs of the stage before the last."""
        above = np.maximum(row, 0.0)[:, 0]
        slopes = hidden.above[:, 0] * above + game.lambdas[-1][0, :, 0] * (row[:, 0] - above)
        stage = self.stages[-1].stage
        return Cut(
            slopes @ np.asarray(stage.weight), float(constant[0] + hidden.constant @ above + slopes @ stage.bias)
        )

    def planes(
        self, region: Region, points: list[FloatArray] | None = None, starts: list[Planes] | None = None
    ) -> list[Planes]:
        """The planes of every stage but the last.

        Args:
            region: where the image may be.
            points: for each stage (units,) values at which the planes are to be low; by default those in the
                middle of the region.
            starts: planes to start from.
        """
        radius = region.radius if region.norm is Norm.L2 else 0.0
        low, high = np.maximum(region.low, -region.radius), np.minimum(region.high, region.radius)
        steps, shares = (self.work.first_steps, self.work.second_steps), self.work.shares
        # The ball's middle: in L2 the image itself, since no point of the ball is near the middle of its box.
        values = region.centre + (0.0 if radius else 0.5) * (low + high)
        lines = InputLines.image(region.centre)
        planes: list[Planes] = []
        for index, prepared in enumerate(self.stages[:-1]):
            patches, stage = prepared.patches, prepared.stage
            assert patches is not None
            units = prepared.matrix @ values + stage.bias if points is None else points[index]
            middles = np.where(stage.windows >= 0, units[stage.windows], -np.inf)
            lead = np.eye(middles.shape[1])[middles.argmax(axis=1)]
            below = lead * (middles.max(axis=1) > 0)[:, None] if stage.rectified else lead
            start = 0.5 * lead if starts is None else starts[index].above
            above, constant, kappa = fit_planes(
                patches.inputs, patches.weight, patches.bias, patches.pixels, stage.rectified, low, high,
                radius, shares[index], middles, start, steps[index], *lines.arguments,
            )  # fmt: skip
            planes.append(Planes(above, constant, kappa, below))
            if index == 0:
                lines = InputLines.after(patches, planes[0], region.centre)
                values = 0.5 * (lines.upper_values + lines.lower_values)
        return planes

    def intervals(self, region: Region, planes: list[Planes]) -> tuple[FloatArray, FloatArray]:
        """Bounds of the units of the stage that follows some planes: (units,) low and high."""
        stage = self.stages[len(planes)].stage
        weight = np.asarray(stage.weight)
        found, _, _ = bound_rows(
            self.stages[: len(planes)],
            planes,
            np.hstack([weight.T, -weight.T]),
            np.concatenate([stage.bias, -stage.bias]),
            region,
            self.work.rounds,
        )
        return -found[len(weight) :], found[: len(weight)]


def interval_planes(low: FloatArray, high: FloatArray) -> Planes:
    """Planes of a plain ReLU stage from bounds of its units."""
    free, active = (low < 0) & (high > 0), low >= 0
    chord = np.where(free, high / np.where(free, high - low, 1.0), active)
    below = np.where(free, high > -low, active).astype(np.float64)
    return Planes(chord[:, None], np.where(free, -chord * low, 0.0), np.zeros(len(low)), below[:, None])
