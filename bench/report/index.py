"""``results/index.html``: every run of a results folder, with the way to its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import store
from bench.errors import StoreError


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of the list: its folder, its report's address if it has one, its manifest or why it cannot be read."""

    folder: str
    report: str
    manifest: Mapping[str, Any] | None
    problem: str


def entries(results: Path) -> list[Entry]:
    """The runs in a results folder, the latest first; what cannot be read comes last, with the reason."""
    found = []
    for path in sorted(results.iterdir()):
        if not (path / "manifest.json").is_file():
            continue
        page = path / "report.html"
        address = f"{quote(path.name)}/report.html" if page.is_file() else ""
        try:
            found.append(Entry(path.name, address, store.read(path).manifest, ""))
        except StoreError as error:
            found.append(Entry(path.name, address, None, str(error)))
    return sorted(found, key=lambda entry: str((entry.manifest or {}).get("started", "")), reverse=True)


def comparisons(results: Path) -> list[tuple[str, str]]:
    """The pages of several runs side by side in a results folder: address and name."""
    return [(quote(path.name), path.stem) for path in sorted(results.glob("compare-*.html"))]
