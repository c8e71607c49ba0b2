"""Leaves of the search: every ReLU's sign is known, so that only a convex problem is left.

A solver proposes multipliers ``beta >= 0`` for the constraints ``g_k(x) >= 0``; the bound is then computed from
them here: every adversarial x of the region has ``sum beta_k g_k(x) >= 0``, so the distance at which that one
linear function can reach 0 is a lower bound, whatever the multipliers are. A solver that fails, stops early or
is wrong can therefore make the bound weaker, never wrong.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from bench.certify.dense.propagation import SignArray
from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.regions import Region
from bench.norms import Norm

_SOLVER_SECONDS = 10.0


def constraints(
    network: PlainNetwork, margin: tuple[FloatArray, float], active: list[SignArray]
) -> tuple[FloatArray, FloatArray]:
    """The linear functions of the image that are not negative at an adversarial example of the region.

    Args:
        network: a dense ReLU network.
        margin: row and constant on the last hidden layer.
        active: for each layer (m,) +1 where the unit is active, -1 where it is not.

    Returns:
        (k, inputs) rows and (k,) constants: one for each hidden unit, then the margin.
    """
    rows, constants = [], []
    weight, bias = np.eye(network.inputs), np.zeros(network.inputs)
    for stage, signs in zip(network.stages, active, strict=True):
        weight, bias = stage.weight @ weight, stage.weight @ bias + stage.bias
        rows.append(signs[:, None] * weight)
        constants.append(signs * bias)
        weight, bias = weight * (signs > 0)[:, None], bias * (signs > 0)
    rows.append((margin[0] @ weight)[None])
    constants.append(np.array([margin[0] @ bias + margin[1]]))
    return np.vstack(rows), np.concatenate(constants)


def bound(region: Region, rows: FloatArray, constants: FloatArray) -> tuple[float, FloatArray | None]:
    """A lower bound of the distance to the points where no function is negative, and such a point if one was found.

    Args:
        region: Linf, L1 or L2; only its points matter.
        rows: (k, inputs) float64.
        constants: (k,) float64.

    Returns:
        A radius, at most the region's, below which there is no such point: 0 where the solver gave nothing. And
        the solver's point, (inputs,) float64, unchecked; None where it gave none.
    """
    try:
        solve = {Norm.LINF: _linear, Norm.L1: _sum_of_moves, Norm.L2: _quadratic}[region.norm]
        multipliers, point = solve(region, rows, constants)
    except (ValueError, ArithmeticError, IndexError, np.linalg.LinAlgError):
        return 0.0, None
    if multipliers is None or multipliers.shape != constants.shape or not np.isfinite(multipliers).all():
        return 0.0, point
    multipliers = np.maximum(multipliers, 0.0)
    size = multipliers.max(initial=0.0)
    if size <= 0.0:
        return 0.0, point
    multipliers = multipliers / size
    return region.reach(multipliers @ rows, float(multipliers @ constants)), point


def _linear(region: Region, rows: FloatArray, constants: FloatArray) -> tuple[FloatArray | None, FloatArray | None]:
    """Linf: the smallest radius at which no function is negative is a linear programme in the move and the radius."""
    values, inputs = rows @ region.centre + constants, rows.shape[1]
    ends = np.vstack([np.eye(inputs), -np.eye(inputs)])
    ceiling = np.concatenate([np.zeros(len(rows)), -np.ones(2 * inputs)])
    result = optimize.linprog(
        np.append(np.zeros(inputs), 1.0),
        A_ub=np.column_stack([np.vstack([-rows, ends]), ceiling]),
        b_ub=np.concatenate([values, np.zeros(2 * inputs)]),
        bounds=[*zip((-region.centre).tolist(), (1.0 - region.centre).tolist(), strict=True), (0.0, None)],
        method="highs",
        options={"time_limit": _SOLVER_SECONDS},
    )
    if result.x is None:
        # Nothing in the box satisfies all of them: multipliers that show it come from the least violation.
        return _least_violation(region, rows, values), None
    return -result.ineqlin.marginals[: len(rows)], region.centre + result.x[:inputs]


def _sum_of_moves(
    region: Region, rows: FloatArray, constants: FloatArray
) -> tuple[FloatArray | None, FloatArray | None]:
    """L1: a linear programme in what each value rises by and what it falls by."""
    values, inputs = rows @ region.centre + constants, rows.shape[1]
    result = optimize.linprog(
        np.ones(2 * inputs),
        A_ub=np.hstack([-rows, rows]),
        b_ub=values,
        bounds=[(0.0, end) for end in (*(1.0 - region.centre).tolist(), *region.centre.tolist())],
        method="highs",
        options={"time_limit": _SOLVER_SECONDS},
    )
    if result.x is None:
        return _least_violation(region, rows, values), None
    return -result.ineqlin.marginals, region.centre + result.x[:inputs] - result.x[inputs:]


def _least_violation(region: Region, rows: FloatArray, values: FloatArray) -> FloatArray | None:
    inputs = rows.shape[1]
    result = optimize.linprog(
        np.append(np.zeros(inputs), -1.0),
        A_ub=np.column_stack([-rows, np.ones(len(rows))]),
        b_ub=values,
        bounds=[*zip(region.low, region.high, strict=True), (None, None)],
        method="highs",
        options={"time_limit": _SOLVER_SECONDS},
    )
    return None if result.x is None else -result.ineqlin.marginals


def _quadratic(region: Region, rows: FloatArray, constants: FloatArray) -> tuple[FloatArray | None, FloatArray | None]:
    """L2: the dual of the projection onto the constraints inside the box, smooth and concave."""
    values = rows @ region.centre + constants
    scale = 1.0 / np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
    rows, values = rows * scale[:, None], values * scale

    def dual(multipliers: FloatArray) -> tuple[float, FloatArray]:
        pull = multipliers @ rows
        move = np.clip(pull, region.low, region.high)
        return float(pull @ move - 0.5 * move @ move + multipliers @ values), rows @ move + values

    start = np.zeros(len(rows))
    start[-1] = max(-values[-1], 0.0)
    result = optimize.minimize(
        dual,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(rows),
        options={"maxiter": 500, "ftol": 1e-15, "gtol": 1e-9},
    )
    move = np.clip(result.x @ rows, region.low, region.high)
    return result.x * scale, region.centre + move
