"""The standardisation that a user asks to be put inside networks: numbers alone, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.domain import Domain
from bench.errors import UsageError

Pair = tuple[tuple[float, ...], tuple[float, ...]]
"""Means and deviations: one number each, or one for each channel or feature."""

FLAG = "--normalize MEAN STD"


def checked(mean: Sequence[float], std: Sequence[float]) -> Pair:
    """Means and deviations as they can be divided by.

    Raises:
        UsageError: one is no finite number, or a deviation is not above 0.
    """
    pair = tuple(float(value) for value in mean), tuple(float(value) for value in std)
    for name, numbers in zip(("MEAN", "STD"), pair, strict=True):
        if not numbers:
            raise UsageError(
                f"{FLAG}: {name} is empty; give a number, or one for each channel with commas between them"
            )
        for value in numbers:
            with np.errstate(over="ignore", under="ignore"):
                single = np.float32(value)
            if not np.isfinite(single) or (name == "STD" and not single > 0):
                allowed = "a finite number above 0" if name == "STD" else "a finite number"
                raise UsageError(f"{FLAG}: {name} {value:g} is not possible; give {allowed}")
    return pair


def shaped(pair: Pair, domain: Domain) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and deviations as they apply to inputs.

    Args:
        pair: from :func:`checked`.
        domain: of the inputs.

    Returns:
        Two float32 arrays that broadcast to ``domain.shape``: () for one number, else one number along the channels, or
        ``domain.shape`` where inputs have none.

    Raises:
        UsageError: there are as many numbers as neither.
    """
    axis = domain.channel_axis
    shape = domain.shape if axis is None else tuple(n if i == axis else 1 for i, n in enumerate(domain.shape))
    count = int(np.prod(shape))
    found = []
    for name, numbers in zip(("MEAN", "STD"), pair, strict=True):
        if len(numbers) not in (1, count):
            each = "value of an input" if axis is None else "channel"
            allowed = "1" if count == 1 else f"1, or {count}, one for each {each}"
            raise UsageError(
                f"{FLAG}: {name} has {len(numbers)} numbers; inputs of shape {domain.shape} take {allowed}"
            )
        values = np.array(numbers, dtype=np.float32)
        found.append(values.reshape(shape) if len(numbers) > 1 else values.reshape(()))
    return found[0], found[1]


def words(pair: Pair) -> str:
    """A standardisation as a note says it."""
    mean, std = (" ".join(f"{value:.9g}" for value in numbers) for numbers in pair)
    return f"standardised inside: (input - {mean}) / {std}"
