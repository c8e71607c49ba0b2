"""Whether distances are worse than others on the same images, by a least difference that matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.metrics import inputs
from bench.metrics.distribution import FloatArray, checked
from bench.metrics.resample import ranked, signed_ranks

_DIGITS = 12
"""Logarithms of ratios that agree in so many decimals are equal: the rest is rounding."""

_HALVINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Noninferiority:
    """Distances ``a`` beside distances ``b`` on the same images, by their ratios a / b.

    Attributes:
        images: how many pairs, n >= 1.
        informative: how many of them say something: not both 0, and not both infinite.
        least: the least difference that matters, a fraction in [0, 1).
        ratio: the typical ratio, at which the signed-rank test finds no difference: exp of the pseudo-median of
            log(a / b), which is the median of the means of all pairs of logarithms (Hodges and Lehmann, Ann. Math. Stat. 34,
            1963). 0 where the pairs whose ``a`` alone is 0, or ``b`` alone infinite, outweigh all others, +inf for the
            contrary, NaN where no pair says anything.
        effect: matched-pairs rank-biserial correlation of the logarithms of the ratios, in [-1, 1]; negative where ``a``
            is smaller.
        p: of Wilcoxon's signed-rank test that the ratio is 1, two-sided.
        effect_least, p_least: the same against the ratio 1 - ``least`` instead of 1.
    """

    images: int
    informative: int
    least: float
    ratio: float
    effect: float
    p: float
    effect_least: float
    p_least: float


def noninferiority(a: ArrayLike, b: ArrayLike, least: float) -> Noninferiority:
    """Compare distances with others on the same images, in ratios.

    The signed-rank test is made twice on log(a / b): against 0, that is whether ``a`` differs at all, and against
    log(1 - least), that is whether it differs from ``b`` made smaller by the least difference that matters. A second test
    that favours ``a`` shows that ``a`` is not worse by as much (a non-inferiority test; Piaggio et al., JAMA 308, 2012).

    A distance of 0 beside one above 0 is an infinite logarithm, as is an infinite distance beside a finite one: both take
    the highest ranks. Two of 0, and two infinite ones, say nothing about the ratio and are left out.

    Args:
        a, b: (n,) distances, >= 0 or +inf; the i-th of both belong to one image. n >= 1.
        least: the least difference that matters, as a fraction in [0, 1).

    Raises:
        ValueError: different lengths, no pairs, NaN or negative distances, a ``least`` outside [0, 1), or two columns of
            tables that share labels in another order.
    """
    inputs.check_pairs(a, b, "a and b")
    first, second, size = checked(a, "distances a"), checked(b, "distances b"), inputs.number(least, "least")
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} distances: at least one pair on the same image is needed")
    if not 0 <= size < 1:
        raise ValueError(f"the least difference that matters is a fraction from 0 to below 1, not {size:g}")
    logarithms = _logarithms(first, second)
    nothing = np.zeros_like(logarithms)
    effect, p = signed_ranks(logarithms, nothing)
    effect_least, p_least = signed_ranks(np.round(logarithms - np.log1p(-size), _DIGITS), nothing)
    return Noninferiority(
        images=len(first),
        informative=len(logarithms),
        least=size,
        ratio=_typical(logarithms),
        effect=effect,
        p=p,
        effect_least=effect_least,
        p_least=p_least,
    )


def _logarithms(a: FloatArray, b: FloatArray) -> FloatArray:
    """log(a / b) of the pairs that say something, rounded so that equal ratios are equal."""
    kept = ~(((a == 0) & (b == 0)) | (np.isinf(a) & np.isinf(b)))
    with np.errstate(divide="ignore"):
        logarithms: FloatArray = np.round(np.log(a[kept]) - np.log(b[kept]), _DIGITS)
    return logarithms


def _typical(logarithms: FloatArray) -> float:
    """The exponential of the pseudo-median, which lies halfway where W+ = W- over an interval."""
    if not len(logarithms):
        return float("nan")
    finite = logarithms[np.isfinite(logarithms)]
    start, end = (float(finite.min()) - 1, float(finite.max()) + 1) if len(finite) else (0.0, 0.0)
    if _balance(logarithms, start) < 0:
        return 0.0
    if _balance(logarithms, end) > 0:
        return float("inf")
    ends = []
    for operator in (np.greater, np.greater_equal):
        low, high = start, end
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if operator(_balance(logarithms, middle), 0) else (low, middle)
        ends.append((low + high) / 2)
    with np.errstate(over="ignore", under="ignore"):
        return float(np.exp(sum(ends) / 2))


def _balance(logarithms: FloatArray, shift: float) -> float:
    """W+ - W- of the logarithms less a shift."""
    moved = logarithms - shift
    return float(ranked(moved[moved != 0]).sum())
