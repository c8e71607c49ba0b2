"""Beside the page: ``records.csv`` and ``summary.json``, for spreadsheets and programs."""

from __future__ import annotations

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(column: pd.Series) -> pd.Series:
    """Text of a column as spreadsheets cannot take it for a formula: an apostrophe stands before = + - @ and tabs.

    Args:
        column: text, or categories of text; others come back as they are.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        if not pd.api.types.is_string_dtype(column.cat.categories):
            return column
        return column.cat.rename_categories({name: _safe(str(name)) for name in column.cat.categories})
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column
    values = column.astype("category")
    return values.cat.rename_categories({name: _safe(str(name)) for name in values.cat.categories}).astype(object)


def _safe(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV with six significant digits, safe to open in a spreadsheet."""
    safe = frame.apply(harmless, axis=0) if len(frame) else frame
    return str(safe.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
