"""Optimality (Cinà et al., AttackBench, arXiv:2404.19460) in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bench.metrics import inputs
from bench.metrics.distribution import FloatArray, checked, mean
from bench.specs import GAP

ROUNDING = 1e-9
"""Of a quotient of means of distances."""

SOLVER = 1e-5
"""Solvers of mixed-integer problems keep a constraint up to about 1e-6, and so a distance up to a few of these."""


def optimality(distances: ArrayLike, best: ArrayLike) -> float:
    """Local optimality: how close an attack's robust accuracy curve comes to the best known one.

    With d*_i the best known distance of image i, eps0 = max d*, rho0 = the fraction of images with d* > 0:

        LO = (rho0 eps0 - mean(min(d, eps0))) / (rho0 eps0 - mean(d*))

    the area between the curve of doing nothing and the attack's, over the area to the best known curve, from 0 to
    eps0. It is 0 for an attack that finds nothing and 1 for one that always finds the best known.

    Args:
        distances: (n,) of the attack; +inf where it found nothing.
        best: (n,) smallest known distances of the same images; nowhere above ``distances``. A distance that is below it by
            no more than a solver's tolerance counts as equal: 1e-4 of the best distance (at that gap an exact search
            stops) plus 1e-5, or plus 1 % of eps0 where that is less.

    Returns:
        LO in [0, 1] where distances are 0 wherever the best is (a misclassified image). NaN where it is not defined: no
        images, an image without any known adversarial example (eps0 is infinite), or a zero denominator (all positive
        best distances equal).

    Raises:
        ValueError: the lengths differ, values are NaN or negative, an attack is better than the best, or both are
            columns of tables that share labels in another order.
    """
    inputs.check_pairs(distances, best, "distances and best")
    values, optimum = checked(distances), checked(best, "best distances")
    if len(values) != len(optimum):
        raise ValueError(f"{len(values)} distances and {len(optimum)} best distances: one of each per image is needed")
    finite = optimum[np.isfinite(optimum)]
    limit = float(finite.max(initial=0.0))
    if (values < least(optimum)).any():
        raise ValueError("a distance is below the best known one; take the minimum over all attacks as the best")
    if not len(values) or len(finite) < len(optimum):
        return float("nan")
    values = np.maximum(values, optimum)
    nothing = float((optimum > 0).mean()) * limit
    denominator = nothing - mean(optimum)
    if denominator <= 1e-12 * max(limit, 1e-300):
        return float("nan")
    value = (nothing - mean(np.minimum(values, limit))) / denominator
    # What rounding makes of 0 and 1 are 0 and 1.
    return next((end for end in (0.0, 1.0) if abs(value - end) < ROUNDING), value)


def least(best: FloatArray) -> FloatArray:
    """The smallest distances that count as no nearer than the best known ones: these, less a solver's tolerance.

    Args:
        best: (n,) best known distances of the images of one network in one norm, 0 or more, or +inf.

    Returns:
        (n,) float64, where something is below its image's value the best known distances are not the best.
    """
    limit = float(best[np.isfinite(best)].max(initial=0.0))
    return best * (1 - GAP) - min(SOLVER, 0.01 * limit)


def global_optimality(local: ArrayLike) -> float:
    """Global optimality: the mean of an attack's local optimalities over networks.

    Args:
        local: one LO per network; NaN where it is not defined.

    Returns:
        The mean; NaN when any is NaN, because a mean over other networks cannot be compared.

    Raises:
        ValueError: one is infinite or above 1.
    """
    values = inputs.vector(local, "local optimalities").astype(np.float64)
    if (np.isinf(values) | (values > 1 + ROUNDING)).any():
        raise ValueError("a local optimality is at most 1, or NaN where it is not defined; there are others")
    if not len(values) or np.isnan(values).any():
        return float("nan")
    return mean(values)
