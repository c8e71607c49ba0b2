"""Statistics of one distribution of minimal norms, with what was not found counted as infinite."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

FloatArray = NDArray[np.float64]


def checked(distances: ArrayLike) -> FloatArray:
    """Distances as a flat float64 array.

    Raises:
        ValueError: one is NaN or negative.
    """
    values = np.asarray(distances, dtype=np.float64).ravel()
    if np.isnan(values).any() or (values < 0).any():
        raise ValueError("a distance is 0 or more, or +inf where nothing was found; there are negative or NaN values")
    return values


def quantile(distances: ArrayLike, q: float) -> float:
    """A quantile of distances of which some may be +inf (censored: nothing was found).

    With s the sorted distances and h = (n - 1) q, it is s[floor h] + (h - floor h) (s[ceil h] - s[floor h]),
    NumPy's default for finite values. It is +inf as soon as an infinite value takes part.

    Args:
        distances: (n,) values >= 0 or +inf.
        q: in [0, 1].

    Returns:
        The quantile; NaN for no distances.

    Raises:
        ValueError: a distance is NaN or negative, or ``q`` is outside [0, 1].
    """
    values = checked(distances)
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile is asked for at a fraction in [0, 1], not {q}")
    return float(quantiles(np.sort(values), np.array([q]))[0]) if len(values) else float("nan")


def quantiles(ordered: FloatArray, q: FloatArray) -> FloatArray:
    """Quantiles ``q`` (k,) of already sorted values (n,), n >= 1, as in :func:`quantile`; also for negative values."""
    position = (len(ordered) - 1) * q
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, len(ordered) - 1)
    fraction = position - low
    return between(ordered[low], ordered[high], fraction)


def between(low: FloatArray, high: FloatArray, fraction: FloatArray | float) -> FloatArray:
    """``low + fraction (high - low)`` where ``low <= high``, without NaN where one or both are infinite."""
    fraction = np.broadcast_to(np.asarray(fraction, dtype=np.float64), np.shape(low))
    with np.errstate(invalid="ignore"):
        mixed = low + fraction * (high - low)
    return np.where((fraction == 0) | (low == high), low, mixed)


def median(distances: ArrayLike) -> float:
    """The median of distances; +inf when half or more were not found, NaN for none. See :func:`quantile`."""
    return quantile(distances, 0.5)


def mean_found(distances: ArrayLike) -> float:
    """The mean of the finite distances: what was not found is left out, so read it beside the found rate.

    Returns:
        The mean; NaN when nothing is finite.
    """
    values = checked(distances)
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def found_rate(distances: ArrayLike) -> float:
    """The fraction of finite distances; NaN for no distances."""
    values = checked(distances)
    return float(np.isfinite(values).mean()) if len(values) else float("nan")


def robust_accuracy(distances: ArrayLike, eps: ArrayLike) -> FloatArray:
    """The fraction of images that no known change of size ``eps`` or less makes wrong.

    RA(eps) = #{i : d_i > eps} / n. A misclassified image has d = 0 and is never robust; what was not found
    has d = +inf and is robust at every eps. It is an upper bound of the true robust accuracy.

    Args:
        distances: (n,) minimal norms, n >= 1.
        eps: any shape, >= 0.

    Returns:
        Fractions in [0, 1], of the shape of ``eps``.

    Raises:
        ValueError: no distances, NaN or negative ones, or an eps that is NaN or negative.
    """
    values, sizes = np.sort(checked(distances)), np.asarray(eps, dtype=np.float64)
    if not len(values):
        raise ValueError("the robust accuracy of no images is not defined")
    if not (sizes >= 0).all():
        raise ValueError("eps is the size of a change, 0 or more; there are negative or NaN values")
    return np.asarray(1 - np.searchsorted(values, sizes, side="right") / len(values))


def curve(distances: ArrayLike, points: int = 400) -> tuple[FloatArray, FloatArray]:
    """The robust accuracy as a right-continuous step curve.

    Args:
        distances: (n,) minimal norms, n >= 1.
        points: at most so many steps are kept, evenly in rank; with fewer distinct distances it is exact.

    Returns:
        eps (k,) ascending, beginning with 0, and the robust accuracy at each.
    """
    values = checked(distances)
    finite = np.unique(values[np.isfinite(values)])
    if len(finite) > points:
        finite = finite[np.unique(np.linspace(0, len(finite) - 1, points).round().astype(np.int64))]
    eps = np.union1d(finite, [0.0])
    return eps, robust_accuracy(values, eps)


def checked_level(level: float) -> float:
    """A level of confidence.

    Raises:
        ValueError: it is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"a level of confidence is a number between 0 and 1, such as 0.95, not {level}")
    return level


def wilson(successes: ArrayLike, n: int, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson's interval of a fraction (E. B. Wilson, JASA 22, 1927).

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), z the normal quantile of (1 + level)/2.

    Args:
        successes: any shape, counts in [0, n].
        n: trials, >= 1.
        level: of confidence.

    Returns:
        Lower and upper ends in [0, 1].

    Raises:
        ValueError: no trials, counts outside [0, n], or a level outside (0, 1).
    """
    counts = np.asarray(successes, dtype=np.float64)
    if n < 1 or not ((counts >= 0) & (counts <= n)).all():
        raise ValueError(f"an interval is of 0 to n successes in n >= 1 trials, not of {counts} in {n}")
    checked_level(level)
    fraction = counts / n
    z = float(special.ndtri((1 + level) / 2))
    middle = fraction + z * z / (2 * n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = np.clip((middle - half) / scale, 0, 1), np.clip((middle + half) / scale, 0, 1)
    # With no or only successes one end is 0 or 1 exactly; rounding must not move it.
    return np.where(fraction == 0, 0.0, low), np.where(fraction == 1, 1.0, high)
