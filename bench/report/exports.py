"""Beside the page: ``records.csv`` and ``summary.json``, for spreadsheets and programs."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from bench import metrics, verdict
from bench.errors import printable
from bench.metrics import BUILT_IN, METRICS
from bench.metrics.frames import FAILURES
from bench.report import cautions, words
from bench.report import data as data_words
from bench.report.frames import Frames
from bench.specs import Kind
from bench.verdict import CheckResult

VERSION = 2
"""The version of ``summary.json``; see ``docs/report.md``."""

TABLES = ("networks", "differences", "summary", "robust_accuracy", "agreement", "exact", "class_medians")
"""The metrics that ``summary.json`` holds, each as a list of lines."""

_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")


def harmless(column: pd.Series) -> pd.Series:
    """Text of a column as spreadsheets cannot take it for a formula.

    An apostrophe stands before = + - @, also where blanks come first, and before tabs and new lines.

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
    return f"'{value}" if _FORMULA.match(value) else value


def csv_text(frame: pd.DataFrame) -> str:
    """A frame as CSV with six significant digits, safe to open in a spreadsheet; ``inf`` is infinity."""
    safe = pd.DataFrame({name: harmless(frame[name]) for name in frame.columns})
    return str(safe.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


MEANS = {name: f"{name}_mean_of_block" for name in ("seconds", "forwards", "backwards")}
"""Columns that a record shares with the other images of its block, and what they are called in CSV."""


def records_csv(records: pd.DataFrame) -> bytes:
    """All records as CSV, in full precision, safe to open in a spreadsheet; ``inf`` is infinity.

    The values of a curve stand in one cell, with blanks between them; the cell is empty where there is no curve. Costs are
    measured for a block of images, and are called so. A lower bound is empty where no verifier was run.
    """
    columns = {}
    if {"lower", "kind"} <= set(records.columns):
        lower = records["lower"].where(records["kind"].astype(str) != Kind.UPPER.value)
        records = records.assign(lower=lower)
    records = records.rename(columns=MEANS)
    for name in records.columns:
        content = records[name].map(_listed) if name == "curve" else records[name]
        columns[str(name)] = pa.array(harmless(content), from_pandas=True)
    return _written(columns)


def _written(columns: Mapping[str, pa.Array]) -> bytes:
    """Columns as CSV; categories are texts."""
    plain = {
        name: column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for name, column in columns.items()
    }
    buffer = io.BytesIO()
    csv.write_csv(pa.table(plain), buffer, csv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue()


def _listed(curve: Sequence[float] | None) -> str:
    return "" if curve is None else " ".join(map(repr, map(float, curve)))


README = """\
Run {name}: {suite} on {images}.

report.html    the page: open it in a browser; it needs nothing else and no internet
summary.json   the same answers for programs; its keys are described by the schema that is printed with
               python -m bench.report --schema
records.csv    one line for each (network, attack, image); open it in a spreadsheet
manifest.json  what was run: suite, networks, dataset, images, seed, versions, machine
{parts}
best.csv       one line for each (network, norm, image): smallest known distance, its attack, certified lower
               bound, and how many attacks ended on the image

Columns of records.csv: norm is the one that the attack minimises; l0, l1, l2, linf are the sizes of the change in every
norm, inf where nothing was found; lower is a certified lower bound, empty for attacks; *_mean_of_block are means over the
images that were attacked together, not measured for the image alone.

python -m bench.report results/<run>            writes the report again
{verify}"""

_WHOLE = """\
records/       the records as parquet, a file for each block; candidates/ the adversarial examples
images.parquet the attacked images"""

_THINNED = """\
records.parquet, examples.parquet, images.parquet
               the records, and adversarial examples and clean images of a few images; the run is thinned"""

_VERIFY = "python -m bench.report --verify results/<run>   judges everything that is stored again\n"


def readme(manifest: Mapping[str, Any]) -> str:
    """What each file of a run's folder is."""
    thinned = "thinned" in manifest
    return README.format(
        parts=_THINNED if thinned else _WHOLE,
        verify="" if thinned else _VERIFY,
        name=printable(str(manifest.get("name"))),
        suite=printable(str(manifest["suite"]["name"])),
        images=printable(data_words.chosen(manifest)),
    )


def best_csv(frames: Frames) -> bytes:
    """The best known distance of every image as CSV, in full precision: what all attacks and bounds together say.

    ``ended`` is the number of attacks and searches of the run, in all norms, that ended on the image.
    """
    evidence = frames.evidence
    records = evidence.records[~evidence.records["status"].isin([failure.value for failure in FAILURES])]
    ended = records.groupby(["network", "image"], observed=True).size().rename("ended").reset_index()
    best = evidence.best.merge(ended.astype({"network": object}), on=["network", "image"], how="left")
    best = best.assign(ended=best["ended"].fillna(0).astype(int)).astype({"network": object, "attack": object})
    names = ["network", "norm", "image", "label", "distance", "attack", "adversarial_class", "lower", "exact"]
    names += ["misclassified", "searched", "ended"]
    return _written({name: pa.array(harmless(best[name]), from_pandas=True) for name in names})


def schema() -> str:
    """The JSON schema of ``summary.json``."""
    return resources.files("bench.report").joinpath("summary.schema.json").read_text()


def summary_json(frames: Frames, manifest: Mapping[str, Any], found: Sequence[CheckResult]) -> str:
    """The run's numbers for programs; what each key holds is in ``docs/report.md``.

    Args:
        frames: of the run.
        manifest: of the run.
        found: of :func:`bench.verdict.findings`.

    Returns:
        JSON. What is not defined is null; infinity, for which JSON has no number, is the string "Infinity".
    """
    evidence, data = frames.evidence, manifest["data"]
    less = metrics.attacked_less(evidence)
    content: dict[str, Any] = {
        "schema": VERSION,
        "name": manifest.get("name"),
        "suite": manifest["suite"]["name"],
        "dataset": {key: data.get(key) for key in ("name", "title", "split", "size", "chosen", "sha256")},
        "domain": manifest["domain"],
        "split": manifest["split"],
        "samples": manifest["samples"],
        "images": int(evidence.records["image"].nunique()),
        "seed": manifest["seed"],
        "status": manifest.get("status", "finished"),
        "revision": (manifest.get("git") or {}).get("revision"),
        "planned": manifest.get("planned"),
        "stored": len(evidence.records),
        "accuracies": {network["name"]: network.get("accuracy") for network in manifest["networks"]},
        "invariants": [asdict(rule) for rule in metrics.invariants(evidence, manifest)],
        "verdicts": [_verdict(found, name) for name in evidence.networks],
        "left_out": dict.fromkeys(frames.distrusted, "its checks fail")
        | {name: f"it had only {had} of {every} attacks" for name, (had, every) in less.items()},
        "leaders": [
            asdict(leader)
            for leader in metrics.leaders(
                evidence, frames.distrusted, table=frames.plain("networks"), pairs=frames.plain("differences")
            )
        ],
        "deploy": _answer(words.deploy(frames, manifest)),
        "cautions": [cautions.not_concluded(evidence), *cautions.cautions(manifest, frames, found)],
        "recommended_attacks": [asdict(one) for one in metrics.recommended(evidence, frames.plain("attack_scores"))],
        "library": asdict(metrics.library_choice(evidence, frames.plain("agreement"))),
    }
    for table in TABLES:
        content[table] = frames.plain(table).to_dict("records")
    content["further"] = {name: METRICS[name](evidence).to_dict("records") for name in METRICS if name not in BUILT_IN}
    return json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _answer(answer: words.Answer) -> dict[str, str]:
    return {"answer": answer.text, "support": answer.support}


def _verdict(found: Sequence[CheckResult], network: str) -> dict[str, Any]:
    return {
        "network": network,
        "outcome": verdict.overall(found, network).value,
        "checks": [
            {"name": str(result.check.name), "outcome": result.level.value, "message": result.message}
            for result in found
            if result.network == network
        ],
    }


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers of NumPy as Python's, NaN as null, infinity as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    number = float(value)
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number
