"""Backward bound propagation through maxima over windows.

Where a row has a positive coefficient on a pooled unit it takes the plane above it, where negative the line
``lambda . z`` below it. Any lambda in the simplex over (z_1, ..., z_k, zero) is valid, so every row may have its own. They
are found by alternating maximisation (fictitious play): evaluate at the point where the row's bound is largest, and
move the weights towards the largest member there. Every round's bound is valid; the best is kept.

Functions of the image are ``constant + a.d + sum_j h_j |d_j|`` with d the move from the image and h >= 0; rows are columns
here: (units, n) arrays, so that sparse matrices meet them in rows of memory.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bench.certify.layers import FloatArray, PlainNetwork, Stage
from bench.certify.pooled.patches import Patches
from bench.certify.pooled.planes import Planes
from bench.certify.regions import SLACK, Region, bent_suprema


@dataclass(frozen=True, slots=True)
class PooledStage:
    """A stage of windows in the forms that bounding needs.

    Attributes:
        stage: the stage.
        matrix, transposed: its weight, as CSR where sparse, and the transpose.
        patches: its windows as blocks; None where they see too much.
    """

    stage: Stage
    matrix: sparse.csr_array | FloatArray
    transposed: sparse.csr_array | FloatArray
    patches: Patches | None


def prepare(plain: PlainNetwork) -> list[PooledStage]:
    """The stages of a network in the forms that bounding needs."""
    prepared: list[PooledStage] = []
    for index, stage in enumerate(plain.stages):
        if isinstance(stage.weight, np.ndarray):
            prepared.append(PooledStage(stage, stage.weight, np.ascontiguousarray(stage.weight.T), None))
            continue
        before = prepared[0].patches if index else None
        patches = Patches.of(stage, before) if index == 0 or (index == 1 and before is not None) else None
        prepared.append(PooledStage(stage, stage.weight, sparse.csr_array(stage.weight.T), patches))
    return prepared


@dataclass(slots=True)
class Functions:
    """Functions ``constant + a.d + sum_j h_j |d_j|`` of the move d away from the image, n of them.

    Attributes:
        rows: (pixels, n) a.
        spread: (pixels, n) h >= 0, or None where all are 0.
        constants: (n,).
    """

    rows: FloatArray
    spread: FloatArray | None
    constants: FloatArray

    def suprema(self, region: Region) -> tuple[FloatArray, FloatArray]:
        """Upper bounds over a region, (n,), slack included, and (pixels, n) moves that (nearly) reach them."""
        rows = np.ascontiguousarray(self.rows.T)
        size = np.abs(rows).sum(axis=1) + np.abs(self.constants)
        if self.spread is None:
            values, points = region.suprema(rows, self.constants - rows @ region.centre)
            moves = points - region.centre
        else:
            spread = np.ascontiguousarray(self.spread.T)
            moves = np.empty_like(rows)
            values = bent_suprema(region.arguments, rows, spread, moves) + self.constants
            size += spread.sum(axis=1)
        return values + SLACK * (1.0 + size), moves.T

    def reach(self, region: Region) -> float:
        """A radius, at most the region's, below which every function is certainly negative; whole for L0."""
        return region.largest(lambda smaller: bool((self.suprema(smaller)[0] < 0).all()), 1e-4)


class LowerWeights:
    """The weights of the lines below, of n rows on the windows of the stages before them, improved round by round.

    Attributes:
        lambdas: for each stage (k, p, n) weights of the lines below: in the simplex, with 0 where rectified.
        means: for each stage the (units, n) mean of the units over the rounds; None before the first.
        rounds: so far.
    """

    def __init__(self, planes: list[Planes], rows: int) -> None:
        self.lambdas = [np.repeat(plane.below.T[:, :, None], rows, axis=2) for plane in planes]
        self.means: list[FloatArray | None] = [None] * len(planes)
        self.rounds = 0

    def select(self, rows: NDArray[np.bool_]) -> LowerWeights:
        """The weights of some of the rows."""
        chosen = copy.copy(self)
        chosen.lambdas = [weights[:, :, rows] for weights in self.lambdas]
        chosen.means = [None if mean is None else mean[:, rows] for mean in self.means]
        return chosen

    def update(self, stages: list[PooledStage], units: list[FloatArray]) -> None:
        """One round: ``units`` are, for each stage, the (units, n) values where the rows' bounds are largest."""
        self.rounds += 1
        for index, (prepared, values) in enumerate(zip(stages, units, strict=True)):
            mean = self.means[index]
            mean = values.copy() if mean is None else mean + (values - mean) / self.rounds
            self.means[index] = mean
            stage = prepared.stage
            members = [np.where((w >= 0)[:, None], mean[w], -np.inf) for w in stage.windows.T]
            top = np.maximum.reduce(members)
            if stage.rectified:
                top = np.maximum(top, 0.0)
            hits = [member == top for member in members]
            # On exact ties the weight is shared: weights that sum to more than 1 would not bound from below.
            count = np.add.reduce([hit.astype(np.float64) for hit in hits])
            if stage.rectified:
                count += top == 0.0
            pace = 1.0 / (self.rounds + 1)
            for member, hit in enumerate(hits):
                self.lambdas[index][member] += pace * (hit / count - self.lambdas[index][member])


def onto_units(stage: Stage, plane: Planes, weights: FloatArray, above: FloatArray, below: FloatArray) -> FloatArray:
    """Rows on a stage's outputs carried to its units, without the planes' constants.

    Args:
        stage: the stage.
        plane: its planes.
        weights: (k, p, n) or (k, p, 1) of the lines below.
        above, below: (p, n) the rows' positive and negative parts.

    Returns:
        (units, n) float64.
    """
    windows = stage.windows
    units = np.zeros((len(stage.bias) + 1, above.shape[1]))
    for member in range(windows.shape[1]):
        share = plane.above[:, member, None] * above + weights[member] * below
        # Index -1, a member that is not there, meets the last row, which is dropped; its weights are 0.
        if len(np.unique(windows[:, member])) == len(windows):
            units[windows[:, member]] += share
        else:
            np.add.at(units, windows[:, member], share)
    return units[:-1]


def backwards(
    stages: list[PooledStage],
    planes: list[Planes],
    lambdas: list[FloatArray],
    rows: FloatArray,
    constants: FloatArray,
    region: Region,
) -> tuple[Functions, list[FloatArray]]:
    """Functions of the image above ``row . p + constant``, p the outputs of the last of some stages.

    Args:
        stages: the first stages of the network.
        planes: their planes.
        lambdas: for each stage (k, p, n) or (k, p, 1) weights of the lines below.
        rows: (p, n) float64.
        constants: (n,) float64.
        region: for its centre and norm.

    Returns:
        The functions, and for each stage the (p, n) coefficients on its outputs.
    """
    coefficients: list[FloatArray] = []
    spread: FloatArray | None = None
    tilt: FloatArray | None = None
    for prepared, plane, weights in zip(stages[::-1], planes[::-1], lambdas[::-1], strict=True):
        coefficients.append(rows)
        above = np.maximum(rows, 0.0)
        below = rows - above
        constants = constants + plane.constant @ above
        if plane.spread is not None:
            paid = plane.spread @ above
            spread = paid if spread is None else spread + paid
        if plane.tilt is not None:
            tilted = plane.tilt @ above
            tilt = tilted if tilt is None else tilt + tilted
        units = onto_units(prepared.stage, plane, weights, above, below)
        constants = constants + prepared.stage.bias @ units
        rows = prepared.transposed @ units
    constants = constants + region.centre @ rows
    if tilt is not None:
        rows = rows + tilt
    return Functions(rows, spread, constants), coefficients[::-1]


def forwards(
    stages: list[PooledStage],
    planes: list[Planes],
    lambdas: list[FloatArray],
    coefficients: list[FloatArray],
    moves: FloatArray,
    region: Region,
) -> tuple[list[FloatArray], FloatArray]:
    """Values of units and lines at moves away from the image.

    Args:
        stages, planes, lambdas, region: as for :func:`backwards`.
        coefficients: what it returned.
        moves: (pixels, n).

    Returns:
        For each stage the (units, n) values, and the (p, n) values of the last stage's lines.
    """
    units: list[FloatArray] = []
    values = region.centre[:, None] + moves
    for prepared, plane, weights, rows in zip(stages, planes, lambdas, coefficients, strict=True):
        z = prepared.matrix @ values + prepared.stage.bias[:, None]
        units.append(z)
        windows = prepared.stage.windows
        upper = np.repeat(plane.constant[:, None], moves.shape[1], axis=1)
        if plane.spread is not None:
            upper += plane.spread.T @ np.abs(moves)
        if plane.tilt is not None:
            upper += plane.tilt.T @ moves
        lower = np.zeros_like(upper)
        for member in range(windows.shape[1]):
            # A member that is not there (-1) has the weight 0, whatever stands at that place.
            upper += plane.above[:, member, None] * z[windows[:, member]]
            lower += weights[member] * z[windows[:, member]]
        values = np.where(rows > 0, upper, lower)
    return units, values


@dataclass(frozen=True, slots=True)
class Cut:
    """``row . p + constant``, not negative at any adversarial example, on the outputs p of the stage before the rows."""

    row: FloatArray
    constant: float


def bound_rows(
    stages: list[PooledStage],
    planes: list[Planes],
    rows: FloatArray,
    constants: FloatArray,
    region: Region,
    rounds: int,
    cut: Cut | None = None,
    gammas: FloatArray | None = None,
    weights: LowerWeights | None = None,
) -> tuple[FloatArray, Functions, list[FloatArray]]:
    """Upper bounds of ``row . p + constant``, each row with lower weights, and a cut's multiplier, of its own.

    Args:
        stages, planes: those before the rows.
        rows: (p, n) float64.
        constants: (n,) float64.
        region: where the image may be.
        rounds: how many rounds of alternating maximisation.
        cut: what else is known of adversarial examples.
        gammas: (n,) multipliers to start from, overwritten with the best.
        weights: of the lines below, to start from; improved in place.

    Returns:
        (n,) bounds; the functions of the image that gave the last ones and their (p, n) coefficients.
    """
    count = rows.shape[1]
    weights = weights or LowerWeights(planes, count)
    best = np.full(count, np.inf)
    gamma = np.zeros(count) if gammas is None else gammas.copy()
    least, most = np.zeros(count), np.full(count, np.inf)
    scale = 0.0 if cut is None else 0.5 * np.abs(rows).sum(axis=0) / max(np.abs(cut.row).sum(), 1e-300)
    for turn in range(rounds + 1):
        full = rows if cut is None else rows + gamma * cut.row[:, None]
        total = constants if cut is None else constants + gamma * cut.constant
        functions, coefficients = backwards(stages, planes, weights.lambdas, full, total, region)
        values, moves = functions.suprema(region)
        better = values < best
        best = np.where(better, values, best)
        if gammas is not None:
            gammas[better] = gamma[better]
        if turn == rounds:
            break
        units, outputs = forwards(stages, planes, weights.lambdas, coefficients, moves, region)
        weights.update(stages, units)
        if cut is not None:
            slope = cut.row @ outputs + cut.constant
            least, most = np.where(slope < 0, gamma, least), np.where(slope >= 0, gamma, most)
            wider = np.maximum(2.0 * gamma, scale)
            gamma = np.where(np.isinf(most), wider, 0.5 * (least + np.where(np.isinf(most), 0.0, most)))
    return best, functions, coefficients
