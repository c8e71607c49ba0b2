"""Beside the page: ``records.csv`` and ``summary.json``, for spreadsheets and programs."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from bench import verdict
from bench.metrics import invariants
from bench.report.frames import Frames
from bench.verdict import Finding

SCHEMA = 1
"""The version of ``summary.json``; see ``docs/report.md``."""

TABLES = ("networks", "differences", "summary", "robust_accuracy", "agreement", "exact", "class_medians")
"""The metrics that ``summary.json`` holds, each as a list of lines."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(column: pd.Series) -> pd.Series:
    """Text of a column as spreadsheets cannot take it for a formula: an apostrophe stands before = + - @ and tabs.

    Args:
        column: text, or categories of text; others come back as they are.
    """
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column
    values = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
    if pd.api.types.is_numeric_dtype(values.cat.categories):
        return column
    return values.cat.rename_categories({name: _safe(str(name)) for name in values.cat.categories})


def _safe(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV with six significant digits, safe to open in a spreadsheet; ``inf`` is infinity."""
    safe = pd.DataFrame({name: harmless(frame[name]) for name in frame.columns})
    return str(safe.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def records_csv(records: pd.DataFrame) -> bytes:
    """All records as CSV, in full precision, safe to open in a spreadsheet; ``inf`` is infinity."""
    columns = {}
    for name in records.columns:
        array = pa.array(harmless(records[name]), from_pandas=True)
        columns[str(name)] = array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array
    buffer = io.BytesIO()
    csv.write_csv(pa.table(columns), buffer, csv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue()


def summary_json(frames: Frames, manifest: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """The run's numbers for programs; the schema is in ``docs/report.md``.

    Args:
        frames: of the run.
        manifest: of the run.
        findings: of :func:`bench.verdict.findings`.

    Returns:
        JSON. What is not defined is null; infinity, for which JSON has no number, is the string "Infinity".
    """
    evidence = frames.evidence
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": manifest.get("name"),
        "suite": manifest["suite"]["name"],
        "split": manifest["split"],
        "samples": manifest["samples"],
        "seed": manifest["seed"],
        "status": manifest.get("status", "finished"),
        "planned": manifest.get("planned"),
        "stored": len(evidence.records),
        "accuracies": {network["name"]: network.get("accuracy") for network in manifest["networks"]},
        "invariants": [
            {"name": rule.name, "rule": rule.rule, "holds": rule.holds, "detail": rule.detail}
            for rule in invariants(evidence, manifest)
        ],
        "verdicts": [
            {
                "network": name,
                "outcome": verdict.overall(findings, name).value,
                "checks": [
                    {"name": finding.check.name, "outcome": finding.outcome.value, "message": finding.message}
                    for finding in findings
                    if finding.network == name
                ],
            }
            for name in evidence.networks
        ],
    }
    for table in TABLES:
        content[table] = [
            {str(key): _plain(value) for key, value in line.items()} for line in frames[table].to_dict("records")
        ]
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return int(number) if isinstance(value, int) else number
