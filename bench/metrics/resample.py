"""How sure: bootstrap intervals, and paired comparisons of distances on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bench.metrics import inputs
from bench.metrics.distribution import FloatArray, as_given, between, checked, checked_level, quantiles, robust_accuracy

RESAMPLES = 20_000
MOST_RESAMPLES = 1_000_000
LEVEL = 0.95
SIGNIFICANT = 0.05
"""Below this p a difference counts as significant."""

LEAST_RESAMPLES, DRAWN = 1000, 5_000_000
"""Where whole images are resampled, at most so many are drawn in all, but never fewer resamples than the least."""

_CELLS = 2_000_000
"""Resampled values held at a time."""


def median_interval(
    distances: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median.

    The k-th smallest of a resample of n is the ceil(n U)-th smallest of the sample, U being the k-th smallest
    of n uniform numbers, which is Beta(k, n - k + 1). So each resampled median costs two draws instead of n: the
    distribution is that of the ordinary bootstrap, exactly.

    Args:
        distances: (n,) >= 0 or +inf.
        level: of confidence.
        resamples: how many.
        seed: of the draws.

    Returns:
        Lower and upper end, +inf where the resampled medians are; NaN for no distances.

    Raises:
        ValueError: NaN or negative distances, a level outside (0, 1), or no resamples.
    """
    return _median_interval(np.sort(checked(distances)), _Bootstrap.checked(level, resamples, seed))


def ratio_interval(
    ratios: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """As :func:`median_interval`, for ratios: 0 and +inf are allowed; NaN are left out."""
    values = inputs.vector(ratios, "ratios").astype(np.float64)
    known = checked(values[~np.isnan(values)], "ratios")
    return _median_interval(np.sort(known), _Bootstrap.checked(level, resamples, seed))


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """How a percentile bootstrap is made."""

    level: float
    resamples: int
    seed: int

    @classmethod
    def checked(cls, level: float, resamples: int, seed: int) -> _Bootstrap:
        """What a caller asked for, if it is possible.

        Raises:
            ValueError: a level outside (0, 1), resamples outside 1 to a million, or a seed that is no whole number >= 0.
        """
        return cls(
            checked_level(level),
            inputs.whole(resamples, "a bootstrap needs at least one resample: resamples", 1, MOST_RESAMPLES),
            inputs.whole(seed, "seed", 0, 2**128),
        )

    @property
    def ends(self) -> FloatArray:
        """The fractions at which the interval ends."""
        return np.array([(1 - self.level) / 2, (1 + self.level) / 2])


def _median_interval(ordered: FloatArray, how: _Bootstrap) -> tuple[float, float]:
    if not len(ordered):
        return float("nan"), float("nan")
    n = len(ordered)
    rng = np.random.default_rng(how.seed)
    rank = (n + 1) // 2
    first = rng.beta(rank, n - rank + 1, how.resamples)
    low = ordered[_index(first, n)]
    if n % 2:
        medians = low
    else:
        second = first + (1 - first) * rng.beta(1, n - rank, how.resamples)
        medians = between(low, ordered[_index(second, n)], 0.5)
    ends = quantiles(np.sort(medians), how.ends)
    return float(ends[0]), float(ends[1])


def _index(uniform: FloatArray, n: int) -> NDArray[np.int64]:
    return np.clip(np.ceil(n * uniform).astype(np.int64) - 1, 0, n - 1)


def robust_accuracy_interval(
    distances: ArrayLike, eps: float, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the robust accuracy at ``eps``.

    A resampled robust accuracy is Binomial(n, RA)/n, so it is drawn as such.

    Args:
        distances: (n,) >= 0 or +inf.
        eps: one number, compared as :func:`robust_accuracy` does.
        level: of confidence.
        resamples: how many.
        seed: of the draws.

    Returns:
        Lower and upper end in [0, 1]; NaN for no distances.

    Raises:
        ValueError: NaN or negative distances or eps, several eps, a level outside (0, 1), or no resamples.
    """
    how, values, size = _Bootstrap.checked(level, resamples, seed), as_given(distances), inputs.floats(eps, "eps")
    inputs.number(size, "eps")
    n = len(values)
    if not n:
        return float("nan"), float("nan")
    fractions = (
        np.random.default_rng(how.seed).binomial(n, float(robust_accuracy(values, size.ravel()[0])), how.resamples) / n
    )
    low, high = np.quantile(fractions, how.ends)
    return float(low), float(high)


def resampled_medians(distances: FloatArray, *, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Medians of several distributions over the *same* resampled images.

    Args:
        distances: (n, k): image by network, n >= 1.
        resamples: how many; fewer where n times as many is above ``DRAWN``, never fewer than ``LEAST_RESAMPLES``.
        seed: of the draws.

    Returns:
        (m, k) medians, m the number of resamples that were drawn.
    """
    n, k = distances.shape
    count = min(resamples, max(LEAST_RESAMPLES, DRAWN // n))
    rng = np.random.default_rng(seed)
    medians = np.empty((count, k))
    step = max(1, _CELLS // n)
    low, high = (n - 1) // 2, n // 2
    for start in range(0, count, step):
        chosen = rng.integers(0, n, (min(step, count - start), n))
        for column in range(k):
            drawn = np.partition(distances[:, column][chosen], [low, high], axis=1)
            medians[start : start + len(chosen), column] = between(drawn[:, low], drawn[:, high], 0.5)
    return medians


@dataclass(frozen=True, slots=True)
class Paired:
    """Two sets of distances on the same images compared; ``a`` larger means ``a`` is harder to fool.

    Attributes:
        images: how many pairs.
        median_a, median_b: medians of each.
        difference: median_a - median_b; NaN when both are infinite.
        low, high: its bootstrap interval over resampled images. Where both medians of a resample are infinite, their
            difference may be anything: it counts as -inf for ``low`` and as +inf for ``high``.
        wins: fraction of images on which ``a`` is larger.
        losses: fraction on which ``b`` is larger.
        effect: matched-pairs rank-biserial correlation in [-1, 1]: (W+ - W-) / (W+ + W-), the signed ranks of the
            differences; 0 for no difference, 1 when ``a`` is larger on every image.
        p: of Wilcoxon's signed-rank test, two-sided; 1 when all pairs are equal.
    """

    images: int
    median_a: float
    median_b: float
    difference: float
    low: float
    high: float
    wins: float
    losses: float
    effect: float
    p: float


def paired(a: ArrayLike, b: ArrayLike, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> Paired:
    """Compare distances of two networks (or attacks) on the same images.

    What was not found in both counts as equal; found in one only, as an infinite difference, which takes the
    highest ranks. The test and the effect size need ranks only.

    Args:
        a, b: (n,) distances, >= 0 or +inf; the i-th of both belong to one image. n >= 1.
        level: of confidence.
        resamples: of the bootstrap.
        seed: of its draws.

    Raises:
        ValueError: different lengths, no pairs, NaN or negative distances, a level outside (0, 1), no resamples, or two
            columns of tables that share labels in another order.
    """
    how = _Bootstrap.checked(level, resamples, seed)
    inputs.check_pairs(a, b, "a and b")
    first, second = checked(a, "distances a"), checked(b, "distances b")
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} distances: at least one pair on the same image is needed")
    medians = resampled_medians(np.column_stack([first, second]), resamples=how.resamples, seed=how.seed)
    low, high = _difference_interval(medians[:, 0], medians[:, 1], how.ends)
    middle = quantiles(np.sort(first), np.array([0.5])), quantiles(np.sort(second), np.array([0.5]))
    with np.errstate(invalid="ignore"):
        difference = float(middle[0][0] - middle[1][0])
    effect, p = signed_ranks(first, second)
    return Paired(
        images=len(first),
        median_a=float(middle[0][0]),
        median_b=float(middle[1][0]),
        difference=difference,
        low=low,
        high=high,
        wins=float((first > second).mean()),
        losses=float((first < second).mean()),
        effect=effect,
        p=p,
    )


EXACT_PAIRS = 50
"""Up to so many pairs p is exact; beyond, it is the normal approximation with continuity correction."""


def signed_ranks(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Rank-biserial correlation and two-sided p of Wilcoxon's signed-rank test, zero differences left out.

    Up to 50 pairs p is exact, by enumeration over all signs of the ranks, tied or not: min(1, 2 P(T <= min(W+, W-))).
    Sources: Wilcoxon 1945; Kerby 2014 for the effect size. Infinite differences tie for the highest ranks.
    """
    difference = np.subtract(a, b, out=np.zeros_like(a), where=a != b)
    kept = difference[difference != 0]
    if not len(kept):
        return 0.0, 1.0
    signed = ranked(kept)
    ranks = np.abs(signed)
    effect = float(signed.sum() / ranks.sum())
    if len(kept) > EXACT_PAIRS:
        # Where both signs are equally likely, W+ - W- has mean 0 and the sum of all squared ranks as its variance; it moves
        # in steps of 2, of which the continuity correction takes half of one off.
        size = max(0.0, abs(float(signed.sum())) - 1) / float(np.sqrt(np.square(ranks).sum()))
        return effect, 2 * float(special.ndtr(-size))
    smaller = min(ranks[signed > 0].sum(), ranks[signed < 0].sum())
    return effect, min(1.0, 2 * _rank_sum_at_most(ranks, float(smaller)))


def ranked(differences: FloatArray) -> FloatArray:
    """The signs of (n,) differences, none 0, times the ranks of their sizes; equal sizes, also infinite ones, share a rank."""
    _, place, counts = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    signed: FloatArray = np.sign(differences) * ranks[place]
    return signed


def _rank_sum_at_most(ranks: FloatArray, limit: float) -> float:
    """P(the sum of a random half-half choice of the ranks <= limit); tied ranks are halves, so all is doubled."""
    doubled = np.rint(2 * ranks).astype(np.int64)
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[: len(chance) - rank]
        chance = (chance + moved) / 2
    return float(chance[: int(np.rint(2 * limit)) + 1].sum())


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that the signed-rank test can have on so many pairs: all differences on one side."""
    return min(1.0, 2.0 ** (1 - pairs))


def _difference_interval(a: FloatArray, b: FloatArray, ends: FloatArray) -> tuple[float, float]:
    unknown = np.isinf(a) & np.isinf(b)
    known = np.subtract(a, b, out=np.zeros_like(a), where=~unknown)
    low, high = (
        quantiles(np.sort(np.where(unknown, any_, known)), ends[[place]])
        for place, any_ in enumerate((-np.inf, np.inf))
    )
    # Between -inf and +inf there may be anything.
    return (
        -np.inf if np.isnan(low[0]) else float(low[0]),
        np.inf if np.isnan(high[0]) else float(high[0]),
    )


def holm(p: ArrayLike) -> FloatArray:
    """Adjust p values for their number (S. Holm, 1979): the chance of any false alarm stays below the level.

    Args:
        p: (k,) values in [0, 1]; NaN for what is no test, which does not count.

    Returns:
        (k,) adjusted values, in the same order; NaN where ``p`` is.

    Raises:
        ValueError: a value outside [0, 1].
    """
    values = inputs.vector(p, "p").astype(np.float64)
    if ((values < 0) | (values > 1)).any():
        raise ValueError("a p value is a number in [0, 1], or NaN for what is no test; there are others")
    order = np.argsort(values, kind="stable")
    tests = int((~np.isnan(values)).sum())
    steps = np.maximum(np.arange(tests, tests - len(values), -1), 1)
    stepped = np.minimum(np.maximum.accumulate(values[order] * steps), 1.0)
    adjusted = np.empty_like(values)
    adjusted[order] = stepped
    return adjusted
