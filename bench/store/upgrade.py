"""Runs of older formats in the layout of today.

Format 1 knew MNIST and three libraries only, format 2 no points seen, format 3 no curves.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa

from bench.findings import FORMAT_1_CHECKS
from bench.records import schema

_SIZES = {"train": 50_000, "test": 10_000, "val": 10_000}

_LIBRARIES: tuple[dict[str, Any], ...] = (
    {"name": "art", "label": "ART", "ours": False, "marker": "s", "packages": ["adversarial-robustness-toolbox"]},
    {"name": "foolbox", "label": "Foolbox", "ours": False, "marker": "o", "packages": ["foolbox"]},
    {"name": "certify", "label": "certified", "ours": True, "marker": "^", "packages": []},
)

_VARIANTS = {
    "cw-repaired": ("cw", "C&W", "repaired", "repaired"),
    "cw-every-class": ("cw", "C&W", "every-class", "every class"),
    "fmn-every-class": ("fmn", "FMN", "every-class", "every class"),
}
"""Methods of format 1 that are variants today: slug and title of the method, slug and title of the variant."""

_STEPS = ("steps", "max_iter")
"""Which parameter counts the steps, where a row has it."""


def manifest(content: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 in the layout of today, as far as its parts are what they should be.

    Args:
        content: as it was read; it is not changed.
    """
    hashes = content.get("image_sha256")
    split = str(content.get("split"))
    low, high = box if isinstance(box := content.get("box"), list) and len(box) == 2 else (0.0, 1.0)
    upgraded = {key: value for key, value in content.items() if key not in ("shape", "box", "columns", "options")}
    packages = content.get("packages")
    known = packages if isinstance(packages, dict) else {}
    return upgraded | {
        "rows": [_row(row) for row in _objects(content.get("rows"))],
        "networks": [_network(network) for network in _objects(content.get("networks"))],
        "libraries": [
            library | {"versions": {name: known[name] for name in library["packages"] if name in known}}
            for library in _LIBRARIES
        ],
        "data": {
            "name": "mnist",
            "title": "MNIST",
            "source": "mnist",
            "split": split,
            "size": _SIZES.get(split, 0),
            "chosen": "first",
            "sha256": hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest(),
        },
        "domain": {
            "shape": content.get("shape"),
            "classes": 10,
            "low": low,
            "high": high,
            "channel_axis": 0,
            "class_names": [],
            "feature_names": [],
            "unit": "grey level",
        },
    }


def records(table: pa.Table) -> pa.Table:
    """A table of a part, with the columns that its format lacks: a pixel was a value, and nothing was watched or noted.

    Tables of today's format, and of other content, stay as they are.
    """
    stamp = (table.schema.metadata or {}).get(b"bench.format")
    if stamp not in (b"1", b"2", b"3") or "l0" not in table.schema.names:
        return table
    nothing = {name: pa.nulls(len(table), schema().field(name).type) for name in ("best_seen", "curve")}
    lacking = {"pixels": table["l0"], **nothing}
    for name, values in lacking.items():
        if name not in table.schema.names:
            table = table.add_column(schema().names.index(name), schema().field(name), values)
    return table


def _objects(content: Any) -> list[dict[str, Any]]:
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []


def _row(row: dict[str, Any]) -> dict[str, Any]:
    upgraded = {key: value for key, value in row.items() if key not in ("batch", "bound", "bound_reason")}
    upgraded["block"] = row.get("batch")
    params = row.get("params")
    upgraded["steps"] = next((name for name in _STEPS if isinstance(params, dict) and name in params), "")
    method = row.get("method")
    if isinstance(method, dict) and method.get("slug") in _VARIANTS:
        slug, title, variant, words = _VARIANTS[method["slug"]]
        upgraded["method"] = method | {"slug": slug, "title": title}
        upgraded["variant"] = {"slug": variant, "title": words, "idea": str(method.get("idea", ""))}
    return upgraded


def _network(network: dict[str, Any]) -> dict[str, Any]:
    upgraded = {key: value for key, value in network.items() if key != "factory"} | {"source": network.get("factory")}
    checks = network.get("preflight")
    if isinstance(checks, dict):
        upgraded["preflight"] = {FORMAT_1_CHECKS.get(str(name), name): result for name, result in checks.items()}
    return upgraded
