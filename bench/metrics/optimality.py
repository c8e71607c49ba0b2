"""Optimality (Cinà et al., AttackBench, arXiv:2404.19460) in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bench.metrics.distribution import checked

ROUNDING = 1e-9
"""Of a quotient of means of distances."""


def optimality(distances: ArrayLike, best: ArrayLike) -> float:
    """Local optimality: how close an attack's robust accuracy curve comes to the best known one.

    With d*_i the best known distance of image i, eps0 = max d*, rho0 = the fraction of images with d* > 0:

        LO = (rho0 eps0 - mean(min(d, eps0))) / (rho0 eps0 - mean(d*))

    the area between the curve of doing nothing and the attack's, over the area to the best known curve, from 0 to
    eps0. It is 0 for an attack that finds nothing and 1 for one that always finds the best known.

    Args:
        distances: (n,) of the attack; +inf where it found nothing.
        best: (n,) smallest known distances of the same images; nowhere above ``distances``.

    Returns:
        LO in [0, 1] where distances are 0 wherever the best is (a misclassified image). NaN where it is not defined: no
        images, an image without any known adversarial example (eps0 is infinite), or a zero denominator (all positive
        best distances equal).

    Raises:
        ValueError: the lengths differ, values are NaN or negative, or an attack is better than the best.
    """
    values, optimum = checked(distances), checked(best)
    if len(values) != len(optimum):
        raise ValueError(f"{len(values)} distances and {len(optimum)} best distances: one of each per image is needed")
    if (values < optimum).any():
        raise ValueError("a distance is below the best known one; take the minimum over all attacks as the best")
    if not len(values) or np.isinf(optimum).any():
        return float("nan")
    limit = float(optimum.max())
    nothing = float((optimum > 0).mean()) * limit
    denominator = nothing - float(optimum.mean())
    if denominator <= 1e-12 * max(limit, 1e-300):
        return float("nan")
    value = (nothing - float(np.minimum(values, limit).mean())) / denominator
    # What rounding makes of 0 and 1 are 0 and 1.
    return next((end for end in (0.0, 1.0) if abs(value - end) < ROUNDING), value)


def global_optimality(local: ArrayLike) -> float:
    """Global optimality: the mean of an attack's local optimalities over networks.

    Args:
        local: one LO per network; NaN where it is not defined.

    Returns:
        The mean; NaN when any is NaN, because a mean over other networks cannot be compared.
    """
    values = np.asarray(local, dtype=np.float64)
    return float(values.mean()) if len(values) else float("nan")
