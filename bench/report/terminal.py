"""What a terminal shows of a finished run: a table for each norm, the best attacks first, and what to make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench import verdict
from bench.errors import printable
from bench.findings import TRUST
from bench.metrics import Evidence
from bench.norms import Norm
from bench.report import data
from bench.report.cautions import FEW
from bench.report.frames import Frames
from bench.report.tables import UNDEFINED, figure, percentage
from bench.specs import Kind
from bench.verdict import CheckResult

LABEL, CELL = 38, 9
"""How many characters a table has for the name of an attack at most, and for a network at least."""

EXPLAINED = (
    "Medians over all images, misclassified ones at 0. In brackets: the percentage of attacked images on which the attack "
    "found something, where not on all. ≥: certified lower bound."
)


def tables(frames: Frames, *, width: int) -> list[tuple[str, Table]]:
    """A heading and a table for each norm: best known distances, certified bounds, then each attack.

    Args:
        frames: of the run.
        width: of the terminal, in characters. Where it has no room for all networks they take several tables.
    """
    evidence = frames.evidence
    made = []
    for norm in evidence.norms:
        lines = _lines(frames, norm)
        across = max(1, (width - LABEL - 2) // (max(CELL, *map(len, evidence.networks)) + 2))
        parts = [evidence.networks[first : first + across] for first in range(0, len(evidence.networks), across)]
        made += [_table(evidence, norm, lines, part) for part in parts]
    return made


def lines(evidence: Evidence, manifest: Mapping[str, Any], found: Sequence[CheckResult]) -> list[str]:
    """What to make of the tables, a line each: whether the attacks can be trusted, and whether there are few images."""
    trust: dict[str, list[str]] = {}
    for name in evidence.networks:
        trust.setdefault(TRUST[verdict.overall(found, name)], []).append(printable(name))
    said = [f"attacks {words} on {', '.join(names)}" for words, names in trust.items()]
    images = int(evidence.best["image"].nunique()) if len(evidence.best) else 0
    few = [f"{images} image{'s' if images != 1 else ''}: a first look, not a result"] if images < FEW else []
    return [EXPLAINED, f"Images: {printable(data.chosen(manifest))}.", f"Verdict: {'; '.join([*said, *few])}."]


def _lines(frames: Frames, norm: Norm) -> list[tuple[str, dict[str, str]]]:
    """The lines of a norm's table: what each is called, and its cells by network."""
    known = frames.plain("networks")
    known = known[known["norm"] == norm.value].set_index("network")
    best = {str(name): figure(value) for name, value in known["median"].items()}
    attacks = frames.plain("summary")
    attacks = attacks[attacks["norm"] == norm.value].astype({"network": object})
    order = attacks.groupby("attack", observed=True)["ratio"].mean().sort_values(kind="stable").index
    made = [("best known", best)]
    records = frames.evidence.records
    bounds = records[(records["kind"] != Kind.UPPER.value) & (records["norm"] == norm.value)]
    labels = dict(zip(frames.evidence.rows["attack"], frames.evidence.rows["label"], strict=True))
    for attack, group in bounds.groupby("attack", observed=True):
        medians = group.groupby("network", observed=True)["lower"].median()
        made.append((str(labels[attack]), {str(name): f"≥ {figure(value)}" for name, value in medians.items()}))
    for attack in order:
        own = attacks[attacks["attack"] == attack]
        most = int(attacks["images"].max())
        label = str(labels[attack])
        if (fewer := int(own["images"].max())) < most:
            label += f", {fewer} images"
        made.append((label, {str(line["network"]): _cell(line) for line in own.to_dict("records")}))
    return made


def _cell(line: Mapping[Any, Any]) -> str:
    if line["misclassified"] == line["images"]:
        return "all wrong"
    shown = figure(line["median"])
    return shown if line["found_rate"] == 1 else f"{shown} ({percentage(line['found_rate'], 0)})"


def _table(
    evidence: Evidence,
    norm: Norm,
    lines: Sequence[tuple[str, Mapping[str, str]]],
    networks: Sequence[str],
) -> tuple[str, Table]:
    images = evidence.best.loc[evidence.best["norm"] == norm.value, "image"].nunique() if len(evidence.best) else 0
    unit = data.unit(evidence.domain, norm)
    title = f"{norm.label}: median distance{f' ({unit})' if unit else ''}, {images:,} images"
    table = Table(box=None, pad_edge=False)
    table.add_column("attack", no_wrap=True, max_width=LABEL, overflow="ellipsis")
    for name in networks:
        table.add_column(_plain(name), justify="right", no_wrap=True, overflow="ellipsis")
    for label, cells in lines:
        shown = [cells.get(name, UNDEFINED) for name in networks]
        table.add_row(_plain(label), *shown, style="bold" if label == "best known" else None)
    return printable(title), table


def _plain(text: str) -> str:
    """A text as it is: no markup of rich, nothing that a terminal would obey."""
    return escape(printable(text))
