"""Numbers as people bring them, read in one way: lists, arrays, tensors, columns of tables; what is none is refused in a sentence."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_KINDS = {
    "b": "truth values",
    "c": "complex numbers",
    "m": "durations",
    "M": "dates",
    "S": "text",
    "U": "text",
    "V": "records",
}


def floats(values: Any, what: str) -> Floats:
    """Numbers of any shape, without a copy where none is needed.

    Args:
        values: a number, a list, any iterable, an array, a tensor (also on a GPU, or one that requires a gradient), a
            column of a table. ``None`` and missing values are NaN.
        what: what a message calls them.

    Returns:
        float16, float32 or float64 where ``values`` is of one of these types, otherwise float64.

    Raises:
        ValueError: they are no real numbers, a mask hides some, or they have no order.
    """
    if isinstance(values, Mapping | AbstractSet):
        raise ValueError(  # noqa: TRY004 - one error for all that is no input
            f"{what} are a {type(values).__name__}; give a list or an array, one number for each image"
        )
    try:
        array = _array(values)
        if array.dtype.kind in "iu":
            return array.astype(np.float64)
        if array.dtype.kind == "O":
            return np.array([_one(value) for value in array.ravel()], dtype=np.float64).reshape(array.shape)
    except _NoNumberError as error:
        raise ValueError(f"{what} are numbers, not {error}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{what} cannot be read as numbers ({reason}); give a list or an array of them") from error
    if array.dtype.kind != "f":
        raise ValueError(f"{what} are numbers, not {_KINDS.get(array.dtype.kind, str(array.dtype))}")
    return array if array.dtype.itemsize <= 8 else array.astype(np.float64)


def vector(values: Any, what: str) -> Floats:
    """As :func:`floats`, along one dimension; one number is a vector of one.

    Raises:
        ValueError: as for :func:`floats`, or more than one dimension is longer than 1.
    """
    array = floats(values, what)
    if sum(size != 1 for size in array.shape) > 1:
        raise ValueError(f"{what} have one dimension, a number for each image; these have shape {array.shape}")
    return array.ravel()


def number(value: Any, what: str) -> float:
    """One number, which may be NaN or infinite.

    Raises:
        ValueError: it is none, or several.
    """
    array = floats(value, what)
    if array.size != 1:
        raise ValueError(f"{what} is one number, not {array.size} of them; call it once for each")
    return float(array.ravel()[0])


def whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``; 3.0 is one as well.

    Raises:
        ValueError: it is none, or outside.
    """
    try:
        found = operator.index(value)
    except TypeError:
        real = number(value, what)
        found = int(real) if np.isfinite(real) and real == int(real) else least - 1
    if not least <= found <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {value}")
    return found


def check_pairs(first: Any, second: Any, what: str) -> None:
    """Check that two columns of tables name their lines alike, so that the i-th of both belong together.

    Columns that have no label in common are of two tables, and are paired by their places.

    Raises:
        ValueError: they share labels, in another order or not all of them.
    """
    if isinstance(first, pd.Series | pd.DataFrame) and isinstance(second, pd.Series | pd.DataFrame):
        a, b = first.index, second.index
        if not a.equals(b) and a.isin(b).any():
            raise ValueError(
                f"{what} are two columns whose labels are not in the same order; give b.loc[a.index], or arrays without labels"
            )


class _NoNumberError(Exception):
    """What a value is that is no number."""


def _array(values: Any) -> NDArray[Any]:
    """An array of whatever type; a list of tensors, and what is no array, as objects."""
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.getmaskarray(values).any():
            raise _NoNumberError("masked values: leave these images out, or give +inf where nothing was found")
        return np.asarray(values.data)
    if hasattr(values, "detach"):
        values = values.detach().cpu().resolve_conj().resolve_neg()
        # NumPy has no bfloat16.
        return np.asarray((values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy())
    if isinstance(values, str | bytes):
        raise _NoNumberError(f"text ({str(values)[:40]!r})")
    if not hasattr(values, "__array__") and isinstance(values, Iterable):
        values = list(values)
        if any(hasattr(value, "detach") for value in values):
            values = [_array(value) for value in values]
    return np.asarray(values)


def _one(value: Any) -> float:
    if value is None or value is pd.NA or value is pd.NaT:
        return float("nan")
    if isinstance(value, str | bytes | bool | np.bool_ | complex | np.complexfloating):
        raise _NoNumberError(f"{value!r}")
    return float(value)
