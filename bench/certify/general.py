"""Certified radii of any sequential network: pooled planes, games for the lower weights, cuts at the last hidden layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.pooled import Cut, Functions, Game, Prepared, bound_rows, prepare
from bench.certify.primal import Incumbent
from bench.certify.support import Region
from bench.certify.windows import Planes, first_planes, line_rows, second_planes
from bench.norms import Norm

_CHUNK = 512


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
    second_steps: int = 8
    rounds: int = 5
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

    def certified(self, radius: float, targets: list[int], going: Callable[[], bool] = lambda: True) -> float:
        """A certified radius, at most the one given, from bounds over the ball of that one."""
        region = self.region(radius)
        planes = self.planes(region)
        last, stages = len(planes), self.stages
        low, high = self.intervals(region, planes)
        margins = [self.plain.margin(self.incumbent.label, target) for target in targets]
        rows, constants = np.stack([row for row, _ in margins], axis=1), np.array([c for _, c in margins])
        hidden = interval_planes(stages[last], low, high)
        game = Game([*planes, hidden], len(targets))
        values, functions, coefficients = bound_rows(
            stages, [*planes, hidden], rows, constants, region, self.work.margin_rounds, game=game
        )
        reached = radius
        self.report = [("plain", values.copy(), int(((low < 0) & (high > 0)).sum()))]
        for index in np.argsort(-values):
            if values[index] < 0:
                continue
            reached = min(reached, self._with_cuts(region, planes, low, high, rows[:, [index]], constants[[index]], targets[index], going))
        return reached

    def _with_cuts(self, region, planes, low, high, row, constant, target, going):
        low, high = low.copy(), high.copy()
        last, stages = len(planes), self.stages
        gammas = np.zeros((2, len(low)))
        best, reached = np.inf, 0.0
        trace = []
        for turn in range(self.work.cuts + 1):
            hidden = interval_planes(stages[last], low, high)
            game = Game([*planes, hidden], 1)
            values, functions, coefficients = bound_rows(
                stages, [*planes, hidden], row, constant, region, self.work.margin_rounds, game=game
            )
            value = float(values[0])
            trace.append(round(value, 3))
            if value < 0:
                reached = region.radius
                break
            reached = max(reached, functions.reach(region))
            if turn == self.work.cuts or value > (1 - self.work.gain) * best or not going():
                break
            best = value
            cut = self._cut(hidden, game, row, constant)
            free = np.flatnonzero((low < 0) & (high > 0))
            weight, bias = np.asarray(stages[last].stage.weight)[free], stages[last].stage.bias[free]
            start = gammas[:, free].ravel()
            found, _, _ = bound_rows(
                stages[:last], planes, np.hstack([weight.T, -weight.T]), np.concatenate([bias, -bias]),
                region, self.work.cut_rounds, cut, start,
            )
            gammas[:, free] = start.reshape(2, -1)
            high[free] = np.minimum(high[free], found[: len(free)])
            low[free] = np.maximum(low[free], -found[len(free) :])
            if (low > high).any():
                reached = region.radius
                break
        self.report.append((target, trace, int(((low < 0) & (high > 0)).sum()), reached))
        return reached

    def _cut(self, hidden: Planes, game: Game, row: FloatArray, constant: FloatArray) -> Cut:
        """The margin's line on the outputs of the stage before the last."""
        above = np.maximum(row, 0.0)[:, 0]
        slopes = hidden.above[:, 0] * above + game.lambdas[-1][0, :, 0] * (row[:, 0] - above)
        stage = self.stages[-1].stage
        return Cut(slopes @ np.asarray(stage.weight), float(constant[0] + hidden.constant @ above + slopes @ stage.bias))

    def planes(self, region: Region) -> list[Planes]:
        """The planes of every stage but the last."""
        planes: list[Planes] = []
        l2 = region.norm is Norm.L2
        low, high = (np.maximum(region.low, -region.radius), np.minimum(region.high, region.radius)) if l2 else (region.low, region.high)
        for index, prepared in enumerate(self.stages[:-1]):
            patches, stage = prepared.patches, prepared.stage
            assert patches is not None
            if index == 0:
                kappa = np.zeros(len(patches.inputs))
                if l2:
                    size = np.sqrt((patches.weight**2).sum(axis=2)).max(axis=1)
                    kappa = size / (2 * self.work.shares[0] * region.radius)
                above, constant, below = first_planes(
                    patches.inputs, patches.weight, patches.bias, stage.rectified, low, high, region.centre, kappa, self.work.first_steps
                )
                planes.append(Planes(above, constant, kappa, below))
                first = patches
            else:
                up = line_rows(first.inputs, first.weight, first.bias, planes[0].above, planes[0].constant, region.centre)
                down = line_rows(first.inputs, first.weight, first.bias, planes[0].below, np.zeros(len(first.inputs)), region.centre)
                kappa = np.zeros(len(patches.inputs))
                if l2:
                    kappa = np.full(len(patches.inputs), self.slope(patches, up[0], first) / (2 * self.work.shares[1] * region.radius))
                above, constant, below = second_planes(
                    patches.inputs, patches.weight, patches.bias, stage.rectified, patches.pixels, low, high, kappa, self.work.second_steps,
                    first.inputs, *up, planes[0].kappa, *down,
                )
                planes.append(Planes(above, constant, kappa, below))
        return planes

    def slope(self, patches, rows, first):
        return 1.0

    def intervals(self, region, planes):
        stage = self.stages[len(planes)].stage
        weight = np.asarray(stage.weight)
        found, _, _ = bound_rows(
            self.stages[: len(planes)], planes, np.hstack([weight.T, -weight.T]), np.concatenate([stage.bias, -stage.bias]), region, self.work.rounds
        )
        return -found[len(weight) :], found[: len(weight)]


def interval_planes(prepared: Prepared, low: FloatArray, high: FloatArray) -> Planes:
    """Planes of a plain ReLU stage from bounds of its units."""
    free, active = (low < 0) & (high > 0), low >= 0
    chord = np.where(free, high / np.where(free, high - low, 1.0), active)
    below = np.where(free, high > -low, active).astype(np.float64)
    return Planes(chord[:, None], np.where(free, -chord * low, 0.0), np.zeros(len(low)), below[:, None])
