"""``results/index.html``: every run of a results folder, with the way to its report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import store
from bench.errors import StoreError, printable
from bench.report.sources import shown


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
        if not os.path.lexists(path / "manifest.json"):
            continue
        page = path / "report.html"
        name, address = printable(path.name), f"{quote(os.fsencode(path.name))}/report.html" if page.is_file() else ""
        try:
            found.append(Entry(name, address, shown(store.read(path).manifest), ""))
        except StoreError as error:
            found.append(Entry(name, address, None, printable(str(error))))
    return sorted(found, key=lambda entry: str((entry.manifest or {}).get("started", "")), reverse=True)


def comparisons(results: Path) -> list[tuple[str, str]]:
    """The pages of several runs side by side in a results folder: address and name."""
    return [(quote(os.fsencode(path.name)), printable(path.stem)) for path in sorted(results.glob("compare-*.html"))]
