"""``results/index.html``: every run of a results folder with what it found, and what changed from run to run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

from bench import plots, store
from bench.errors import StoreError, printable
from bench.findings import TRUST, Level
from bench.norms import Norm
from bench.plots import history as drawn
from bench.plots import legends
from bench.report import history
from bench.report.history import History, Past
from bench.report.sources import shown
from bench.report.tables import NORM_LABELS, Column, Table, count, figure, interval, number, p_value, table, text

TRUSTED = {level.value: words for level, words in TRUST.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One run of the list.

    Attributes:
        folder: its name.
        report: its report's address; empty where it has none.
        manifest: of the run; None where it cannot be read.
        problem: why it cannot.
        medians: a line for each norm: ``L2: MLP 0.469, CNN 1.21``.
        verdict: whether its attacks can be trusted, by the worst of its networks.
        duration: how long it took; empty where it has not ended.
        past: what its report left for programs.
    """

    folder: str
    report: str
    manifest: Mapping[str, Any] | None
    problem: str
    medians: Sequence[str] = ()
    verdict: str = ""
    duration: str = ""
    past: Past | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """A history as the page shows it."""

    id: str
    title: str
    runs: Sequence[str]
    figures: Sequence[tuple[str, str]]
    tables: Sequence[Table] = field(default_factory=list)


def entries(results: Path) -> list[Entry]:
    """The runs in a results folder, the latest first; what cannot be read comes last, with the reason."""
    found = []
    for path in sorted(results.iterdir()):
        if not os.path.lexists(path / "manifest.json"):
            continue
        page = path / "report.html"
        name, address = printable(path.name), f"{quote(os.fsencode(path.name))}/report.html" if page.is_file() else ""
        try:
            manifest = shown(store.read(path).manifest)
        except StoreError as error:
            found.append(Entry(name, address, None, printable(str(error))))
            continue
        past = history.read(path, manifest)
        found.append(Entry(name, address, manifest, "", _medians(past), _verdict(past), _duration(manifest), past))
    return sorted(found, key=lambda entry: str((entry.manifest or {}).get("started", "")), reverse=True)


def comparisons(results: Path) -> list[tuple[str, str]]:
    """The pages of several runs side by side in a results folder: address and name."""
    return [(quote(os.fsencode(path.name)), printable(path.stem)) for path in sorted(results.glob("compare-*.html"))]


def courses(found: Sequence[Entry]) -> list[Course]:
    """What changed from run to run, for each suite and dataset with two runs or more of one network."""
    finished = [
        entry.past
        for entry in found
        if entry.past is not None and entry.manifest is not None and entry.manifest.get("status") == "finished"
    ]
    return [_course(place, one) for place, one in enumerate(history.histories(finished))]


def _course(place: int, one: History) -> Course:
    figures = []
    for norm in Norm:
        lines = one.medians[one.medians["norm"] == norm.value]
        if len(set(lines["run"])) > 1:
            figures.append((norm.label, _figure(lines, f"history-{place}-{norm.value}", norm)))
    columns: list[Column] = [
        text("norm", "Norm", labels=NORM_LABELS),
        text("network", "Network"),
        text("before", "Before"),
        text("after", "After"),
        number("median_before", "Median before"),
        number("median_after", "Median after"),
        interval(
            "difference", "low", "high", "Difference (95% interval)", "of medians, bootstrap over the same images"
        ),
        p_value("p_holm", "p (Holm)", "Wilcoxon's signed-rank test, adjusted for all lines of this table"),
        text("shown", "Confirmed"),
        count("images", "Images", "that both runs have"),
    ]
    changes = one.changes.assign(
        difference=one.changes["median_after"] - one.changes["median_before"],
        shown=[f"{change} afterwards" if change else "no change confirmed" for change in one.changes["change"]],
    )
    caption = "Runs that follow each other with the same attacks, compared on the images that both have."
    return Course(
        f"history-{place}",
        f"{one.suite} on {one.dataset}",
        [printable(run) for run in dict.fromkeys(one.medians["run"])],
        figures,
        [table(f"table-history-{place}", caption, columns, changes)] if len(changes) else [],
    )


def _figure(lines: pd.DataFrame, prefix: str, norm: Norm) -> str:
    with plots.drawing():
        made = Figure(figsize=(4.6, 2.7))
        axes = made.subplots(gridspec_kw={"left": 0.14, "right": 0.97, "bottom": 0.18, "top": 0.84})
        drawn.medians(lines, axes)
        made.legend(handles=legends.lines(lines), loc="upper left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.1)
        words = "; ".join(
            f"{network}: {', '.join(figure(value) for value in own['median'])}"
            for network, own in lines.groupby("network", sort=False)
        )
        return plots.inline(made, prefix=prefix, label=f"Median {norm.label} distances, run after run. {words}")


def _medians(past: Past | None) -> list[str]:
    """A line for each norm."""
    lines: dict[str, list[str]] = {}
    for line in past.networks if past is not None else ():
        lines.setdefault(line["norm"], []).append(f"{line['network']} {figure(line['median'])}")
    return [f"{norm.label}: {', '.join(lines[norm.value])}" for norm in Norm if norm.value in lines]


def _verdict(past: Past | None) -> str:
    outcomes = list(past.verdicts.values()) if past is not None else []
    for level in Level:
        if level.value in outcomes:
            return TRUSTED[level.value]
    return ""


def _duration(manifest: Mapping[str, Any]) -> str:
    try:
        first, last = (datetime.fromisoformat(str(manifest[key])) for key in ("started", "ended"))
    except (KeyError, ValueError):
        return ""
    return str(timedelta(seconds=round((last - first).total_seconds())))
