"""What bounds: linear bounds of a ReLU network, carried backwards to the image.

Over ``low <= z <= high`` a ReLU lies between lines (CROWN, arXiv 1811.00866): below its chord
``high / (high - low) * (z - low)`` where its coefficient is positive, above ``alpha z`` with any alpha in [0, 1]
where it is negative (alpha-CROWN, arXiv 2011.13824). A unit whose sign ``s`` is fixed by branching adds
``beta s z`` with any ``beta >= 0`` (beta-CROWN, arXiv 2103.06624): a Lagrange multiplier of ``s z >= 0``.
Every choice of alpha and beta gives a valid bound, so they are improved by a few steps of Adam and the best bound
is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.support import Region

SignArray = NDArray[np.int8]

_ALPHA_RATE, _BETA_RATE, _DECAY = 0.3, 0.1, 0.93


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines around the ReLUs of one layer, for n rows or nodes at once: all (n, m) or (1, m) float64.

    Attributes:
        slope, intercept: of the line above.
        alpha: slope of the line below, through 0.
    """

    slope: FloatArray
    intercept: FloatArray
    alpha: FloatArray

    @classmethod
    def around(cls, low: FloatArray, high: FloatArray, alpha: FloatArray | None = None) -> Lines:
        """The lines over ``low <= z <= high``; stable units are exact.

        Args:
            low, high: (n, m) or (m,) float64.
            alpha: slopes of the lower lines in [0, 1], used on unstable units; by default 1 where
                ``high > -low``, else 0.
        """
        low, high = np.atleast_2d(low), np.atleast_2d(high)
        active, unstable = low >= 0, (low < 0) & (high > 0)
        width = np.where(unstable, high - low, 1.0)
        chord = np.where(unstable, high / width, active)
        start = (high > -low).astype(np.float64) if alpha is None else alpha
        return cls(chord, np.where(unstable, -chord * low, 0.0), np.where(unstable, start, active))


def backwards(
    network: PlainNetwork,
    layers: Sequence[Lines],
    rows: FloatArray,
    constants: FloatArray,
    multipliers: Sequence[FloatArray | None] | None = None,
) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Linear functions of the image that lie above ``row . relu(z) + constant`` for the last of some layers.

    Args:
        network: a dense ReLU network.
        layers: the lines of its first layers, from the image on; the rows apply to the last of them.
        rows: (n, m) float64 coefficients on that layer's ReLUs.
        constants: (n,) float64.
        multipliers: for each layer, (n, m) values added to the coefficients of z: ``beta s``; None for none.

    Returns:
        (n, inputs) rows and (n,) constants over the image, and for each layer the (n, m) coefficients on its ReLUs.
    """
    seen: list[FloatArray] = []
    for index in range(len(layers) - 1, -1, -1):
        lines, stage = layers[index], network.stages[index]
        seen.append(rows)
        above, below = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        constants = constants + np.einsum("ij,ij->i", above, np.broadcast_to(lines.intercept, above.shape))
        slopes = above * lines.slope + below * lines.alpha
        extra = None if multipliers is None else multipliers[index]
        if extra is not None:
            slopes = slopes + extra
        constants = constants + slopes @ stage.bias
        rows = slopes @ stage.weight
    return rows, constants, seen[::-1]


@dataclass(slots=True)
class Margins:
    """Upper bounds of the margin at n nodes.

    Attributes:
        values: (n,) the bounds over the region, slack included.
        rows, constants: (n, inputs) and (n,) the linear functions of the image that gave them.
        points: (n, inputs) where those functions are largest.
        alphas, betas: for each layer (n, m), the multipliers that gave them.
        coefficients: for each layer (n, m), on its ReLUs.
    """

    values: FloatArray
    rows: FloatArray
    constants: FloatArray
    points: FloatArray
    alphas: list[FloatArray]
    betas: list[FloatArray]
    coefficients: list[FloatArray]

    def keep(self, other: Margins) -> None:
        """Take over the nodes at which another set of bounds is lower."""
        better = other.values < self.values
        for name in ("values", "rows", "constants", "points"):
            getattr(self, name)[better] = getattr(other, name)[better]
        for name in ("alphas", "betas", "coefficients"):
            for mine, theirs in zip(getattr(self, name), getattr(other, name), strict=True):
                mine[better] = theirs[better]


def margins(
    network: PlainNetwork,
    region: Region,
    margin: tuple[FloatArray, FloatArray],
    lows: Sequence[FloatArray],
    highs: Sequence[FloatArray],
    signs: Sequence[SignArray],
    alphas: Sequence[FloatArray],
    betas: Sequence[FloatArray],
    steps: int,
) -> Margins:
    """Upper bounds of the margin at n nodes, alpha and beta improved by Adam.

    Args:
        network: a dense ReLU network.
        region: where the image may be.
        margin: (n, m) rows on the last hidden layer and (n,) constants.
        lows, highs: for each layer (n, m) bounds of z.
        signs: for each layer (n, m): +1 or -1 where the unit's sign is fixed, else 0.
        alphas, betas: for each layer (n, m) the multipliers to start from.
        steps: how many steps to take; it stops early once every bound is negative.

    Returns:
        The best bound of each node.
    """
    alphas, betas = [a.copy() for a in alphas], [b.copy() for b in betas]
    around = [Lines.around(low, high) for low, high in zip(lows, highs, strict=True)]
    unstable = [(low < 0) & (high > 0) for low, high in zip(lows, highs, strict=True)]
    moments = [[np.zeros_like(v) for v in (*alphas, *betas)] for _ in range(2)]
    best: Margins | None = None
    for step in range(steps + 1):
        layers = [
            Lines(lines.slope, lines.intercept, np.where(free, alpha, lines.alpha))
            for lines, free, alpha in zip(around, unstable, alphas, strict=True)
        ]
        extra = [beta * sign for beta, sign in zip(betas, signs, strict=True)]
        rows, constants, coefficients = backwards(network, layers, *margin, extra)
        values, points = region.suprema(rows, constants)
        copies = ([v.copy() for v in group] for group in (alphas, betas))
        found = Margins(values, rows, constants, points, *copies, coefficients)
        if best is None:
            best = found
        else:
            best.keep(found)
        if step == steps or bool((best.values < 0).all()):
            break
        # The bound is a minimum over alpha and beta of a maximum over x; at the maximiser its slopes can be read off.
        gradients_alpha, gradients_beta, relus = [], [], points
        for lines, stage, sign, free, coefficient in zip(
            layers, network.stages, signs, unstable, coefficients, strict=True
        ):
            units = relus @ stage.weight.T + stage.bias
            gradients_alpha.append(np.where(free & (coefficient < 0), coefficient * units, 0.0))
            gradients_beta.append(sign * units)
            relus = np.where(coefficient >= 0, lines.slope * units + lines.intercept, lines.alpha * units)
        rate = _DECAY**step
        for index, gradient in enumerate((*gradients_alpha, *gradients_beta)):
            first, second = moments[0][index], moments[1][index]
            first += 0.2 * (gradient - first)
            second += 0.1 * (gradient * gradient - second)
            move = rate * (first / (1 - 0.8 ** (step + 1))) / (np.sqrt(second / (1 - 0.9 ** (step + 1))) + 1e-12)
            if index < len(alphas):
                np.clip(alphas[index] - _ALPHA_RATE * move, 0.0, 1.0, out=alphas[index])
            else:
                np.maximum(betas[index - len(alphas)] - _BETA_RATE * move, 0.0, out=betas[index - len(alphas)])
    assert best is not None
    return best
