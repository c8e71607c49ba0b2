"""About how many images a decision would take, if what was measured stays as it is."""

from __future__ import annotations

import math

from scipy import special

from bench.metrics.distribution import checked_level
from bench.metrics.resample import LEVEL, SIGNIFICANT

LEAST_OF_A_MEDIAN = 6
"""Below so many images no two of their distances enclose the true median with 95 %: all n do with 1 - 2^(1 - n)."""


def images_for_fraction(measured: float, required: float, level: float = LEVEL) -> int | None:
    """How many images it takes until Wilson's interval of a fraction leaves a required one out.

    Wilson's interval holds the fractions t with (p - t)^2 <= z^2 t (1 - t) / n, so that n = z^2 t (1 - t) / (p - t)^2 is
    where it ends at t. For a median, which is required to be t: ``measured`` is the fraction of distances on one side of
    it, and ``required`` one half.

    Args:
        measured: p, in [0, 1].
        required: t, in [0, 1].
        level: of confidence.

    Returns:
        A number >= 1; None where no number of images is enough, as the two are equal.
    """
    if measured == required:
        return None
    z = float(special.ndtri((1 + checked_level(level)) / 2))
    return max(1, math.ceil(z * z * required * (1 - required) / (measured - required) ** 2))


def pairs_for_ranks(effect: float, tests: int = 1, significant: float = SIGNIFICANT) -> int | None:
    """How many pairs it takes until Wilcoxon's signed-rank test is significant, by its normal approximation.

    W+ - W- is r n (n + 1) / 2 and has the variance n (n + 1) (2 n + 1) / 6, so that z^2 is about 3 n r^2 / 4.

    Args:
        effect: r, the rank-biserial correlation, in [-1, 1].
        tests: among how many tests; each is reckoned as the first of Holm's, that is at ``significant`` / ``tests``.
        significant: the two-sided p below which a difference counts.

    Returns:
        A number >= 1; None for an effect of 0.
    """
    if effect == 0:
        return None
    z = float(special.ndtri(1 - significant / tests / 2))
    return max(1, math.ceil(4 * z * z / (3 * effect * effect)))
