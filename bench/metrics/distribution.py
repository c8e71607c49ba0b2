"""Statistics of one distribution of minimal norms, with what was not found counted as infinite."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bench.metrics import inputs
from bench.metrics.inputs import Floats

FloatArray = NDArray[np.float64]

LAST_PLACES = 8
"""So many units in the last place are the rounding of a distance that is given in single or half precision."""


def checked(distances: ArrayLike, what: str = "distances") -> FloatArray:
    """Distances as a flat float64 array.

    Args:
        distances: whatever :func:`bench.metrics.inputs.vector` reads.
        what: what a message calls them.

    Raises:
        ValueError: they are no numbers, have two dimensions, or one is NaN or negative.
    """
    return as_given(distances, what).astype(np.float64)


def as_given(distances: ArrayLike, what: str = "distances") -> Floats:
    """As :func:`checked`, in the precision in which they are given."""
    values = inputs.vector(distances, what)
    wrong = np.flatnonzero(~(values >= 0))
    if len(wrong):
        first = wrong[0]
        raise ValueError(
            f"{what} are 0 or more, or +inf where nothing was found; number {first + 1} is {values[first]}"
        )
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
    values, fraction = checked(distances), inputs.number(q, "q")
    if not 0 <= fraction <= 1:
        raise ValueError(f"a quantile is asked for at a fraction in [0, 1], not {q}")
    return float(quantiles(np.sort(values), np.array([fraction]))[0]) if len(values) else float("nan")


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
    return mean(finite) if len(finite) else float("nan")


def mean(values: FloatArray) -> float:
    """The mean of finite values, n >= 1; also where their sum is too large for a float."""
    with np.errstate(over="ignore"):
        usual = float(values.mean())
    return usual if np.isfinite(usual) else float((values / len(values)).sum())


def found_rate(distances: ArrayLike) -> float:
    """The fraction of finite distances; NaN for no distances."""
    values = checked(distances)
    return float(np.isfinite(values).mean()) if len(values) else float("nan")


def robust_accuracy(distances: ArrayLike, eps: ArrayLike) -> FloatArray:
    """The fraction of images that no known change of size ``eps`` or less makes wrong.

    RA(eps) = #{i : d_i > eps} / n. A misclassified image has d = 0 and is never robust; what was not found
    has d = +inf and is robust at every eps. It is an upper bound of the true robust accuracy.

    Distances, or eps, in single or half precision carry its rounding: there d_i counts as at most eps up to
    eps (1 + 8 units in the last place), which is 9.5e-7 of eps for float32. So float32 distances of attacks that were
    given 0.3 or 8/255 are not above it. In float64, and for Python's numbers, the comparison is exact.

    Args:
        distances: (n,) minimal norms, n >= 1.
        eps: any shape, >= 0.

    Returns:
        Fractions in [0, 1], of the shape of ``eps``.

    Raises:
        ValueError: no distances, NaN or negative ones, or an eps that is NaN or negative.
    """
    values, sizes = as_given(distances), inputs.floats(eps, "eps")
    if not values.size:
        raise ValueError("the robust accuracy of no images is not defined")
    if not (sizes >= 0).all():
        raise ValueError("eps is the size of a change, 0 or more; there are negative or NaN values")
    slack = max(_rounding(values), _rounding(sizes))
    ordered, reach = np.sort(values.astype(np.float64)), sizes.astype(np.float64) * (1 + slack)
    return np.asarray(1 - np.searchsorted(ordered, reach, side="right") / len(ordered))


def _rounding(values: Floats) -> float:
    """The rounding of numbers given in single or half precision, as a fraction of them; 0 in double precision."""
    return 0.0 if values.dtype == np.float64 else LAST_PLACES * float(np.finfo(values.dtype).eps)


def curve(distances: ArrayLike, points: int = 400) -> tuple[FloatArray, FloatArray]:
    """The robust accuracy as a right-continuous step curve.

    Args:
        distances: (n,) minimal norms, n >= 1.
        points: at most so many steps are kept, evenly in rank; with fewer distinct distances it is exact. At least 1.

    Returns:
        eps (k,) ascending, beginning with 0, and the robust accuracy at each.

    Raises:
        ValueError: no distances, NaN or negative ones, or no points.
    """
    values, most = as_given(distances), inputs.whole(points, "points", 1, 10**9)
    finite = np.unique(values[np.isfinite(values)]).astype(np.float64)
    if len(finite) > most:
        finite = finite[np.unique(np.linspace(0, len(finite) - 1, most).round().astype(np.int64))]
    eps = np.union1d(finite, [0.0])
    return eps, robust_accuracy(values, eps)


def checked_level(level: float) -> float:
    """A level of confidence.

    Raises:
        ValueError: it is outside (0, 1).
    """
    found = inputs.number(level, "level")
    if not 0 < found < 1:
        raise ValueError(f"a level of confidence is a number between 0 and 1, such as 0.95, not {level}")
    return found


def wilson(successes: ArrayLike, n: int, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson's interval of a fraction (E. B. Wilson, JASA 22, 1927).

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), z the normal quantile of (1 + level)/2.

    Args:
        successes: any shape, counts in [0, n].
        n: trials, a whole number >= 1.
        level: of confidence.

    Returns:
        Lower and upper ends in [0, 1].

    Raises:
        ValueError: no trials, counts outside [0, n], or a level outside (0, 1).
    """
    counts, trials = inputs.floats(successes, "successes").astype(np.float64), inputs.number(n, "n")
    if not (1 <= trials < np.inf and trials == int(trials) and ((counts >= 0) & (counts <= trials)).all()):
        given = " in ".join(" ".join(str(value).split())[:60] for value in (counts, n))
        raise ValueError(f"an interval is of 0 to n successes in n >= 1 trials, not of {given}")
    fraction = counts / trials
    z = float(special.ndtri((1 + checked_level(level)) / 2))
    # A level that rounds to 1 leaves nothing out.
    if np.isinf(z):
        return np.zeros_like(fraction), np.ones_like(fraction)
    middle = fraction + z * z / (2 * trials)
    half = z * np.sqrt(fraction * (1 - fraction) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low, high = np.clip((middle - half) / scale, 0, 1), np.clip((middle + half) / scale, 0, 1)
    # With no or only successes one end is 0 or 1 exactly; rounding must not move it.
    return np.where(fraction == 0, 0.0, low), np.where(fraction == 1, 1.0, high)
