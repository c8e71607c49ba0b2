"""The page itself: sections of tables, figures and pictures, in one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from bench.metrics import Evidence
from bench.norms import Norm
from bench.plots.style import DARK, network_styles
from bench.records import Status
from bench.report import words
from bench.report.figures import Figure, Frames, figures
from bench.report.gallery import Example
from bench.report.tables import (
    Cell,
    Column,
    Table,
    count,
    figure,
    interval,
    number,
    percent,
    share,
    table,
    text,
)
from bench.specs import LIBRARY_LABELS

NORM_LABELS = {norm.value: norm.label for norm in Norm}
NOT_FOUND = "nothing was found on half of the images or more"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page: a heading, a paragraph, then tables, figures and pictures in this order."""

    id: str
    title: str
    intro: str
    tables: Sequence[Table] = field(default_factory=list)
    figures: Sequence[Figure] = field(default_factory=list)
    examples: Sequence[Example] = field(default_factory=list)


def render(
    evidence: Evidence, manifest: Mapping[str, Any], examples: Sequence[Example], title: str
) -> str:
    """The page as HTML.

    Args:
        evidence: of the run.
        manifest: of the same run.
        examples: the gallery.
        title: the run's name.

    Returns:
        A document that asks for nothing from anywhere.
    """
    frames = Frames(evidence)
    environment = _environment()
    script = _source(environment, "script.js")
    context = {
        "title": title,
        "manifest": manifest,
        "facts": _facts(evidence, manifest),
        "answers": words.most_robust(frames),
        "attacks": words.best_attacks(frames),
        "cautions": words.cautions(evidence, manifest, frames),
        "overview": overview(frames),
        "sections": _sections(frames, manifest, examples),
        "cards": [card for card in manifest["rows"] if any(evidence.rows["attack"] == card["name"])],
        "filters": _filters(evidence),
        "style": Markup(_source(environment, "style.css") + _colours(evidence)),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "library_labels": LIBRARY_LABELS,
        "norm_labels": NORM_LABELS,
    }
    return environment.get_template("report.html.j2").render(context)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": slug, "figure": figure, "share": share, "svg": Markup}
    return environment


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def slug(value: str) -> str:
    """A text as an id: letters, digits and hyphens; texts that differ only in other characters stay apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
    return plain if plain == value else f"{plain}-{hashlib.sha256(value.encode()).hexdigest()[:6]}".strip("-")


def _colours(evidence: Evidence) -> str:
    """CSS: the drawn colours as variables, light and dark, and one class per network."""
    light = ";".join(f"--c-{colour[1:]}:{colour}" for colour in DARK)
    dark = ";".join(f"--c-{colour[1:]}:{other}" for colour, other in DARK.items())
    lines = [
        f":root{{{light}}}",
        f'@media screen and (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}}}}}',
        f'@media screen{{:root[data-theme="dark"]{{{dark}}}}}',
    ]
    for name, look in network_styles(evidence.networks).items():
        lines.append(f".network-{slug(name)}{{--network:var(--c-{look.colour[1:]})}}")
    return "\n".join(lines)


def _filters(evidence: Evidence) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The choices by which the page filters: key, heading, (value, label) of each."""
    rows = evidence.rows
    choices = [
        ("network", "Networks", [(name, name) for name in evidence.networks]),
        ("norm", "Norms", [(norm.value, norm.label) for norm in evidence.norms]),
        ("library", "Libraries", list(dict(zip(rows["library"], rows["library_label"], strict=True)).items())),
        ("attack", "Attacks and bounds", list(zip(rows["attack"], rows["label"], strict=True))),
    ]
    return [choice for choice in choices if len(choice[2]) > 1]


def _facts(evidence: Evidence, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The line under the title."""
    images = int(evidence.records["image"].nunique())
    return [
        ("Suite", str(manifest["suite"]["name"])),
        ("Images", f"{images:,} of the {manifest['split']} split"),
        ("Networks", f"{len(evidence.networks)}"),
        ("Attacks", f"{int((evidence.rows['kind'] == 'upper').sum())}"),
        ("Seed", str(manifest["seed"])),
        ("Started", str(manifest["started"])[:16].replace("T", " ") + " UTC"),
        ("Status", str(manifest.get("status", "finished"))),
    ]


@dataclass(frozen=True, slots=True)
class Bar:
    """A network in a norm on the first screen: its median, its interval, and their places on a scale of 0 to 100."""

    network: str
    text: str
    interval: str
    width: float
    low: float
    high: float
    best: bool


def overview(frames: Frames) -> list[tuple[str, str, list[Bar]]]:
    """For each norm the medians of all networks as bars: norm, label, bars."""
    content = frames["networks"]
    made = []
    for norm in frames.evidence.norms:
        lines = content[content["norm"] == norm.value]
        ends = lines[["median", "median_high"]].to_numpy(dtype=np.float64)
        top = float(ends[np.isfinite(ends)].max(initial=0.0)) or 1.0
        best = float(lines["median"].max()) if len(lines) else 0.0
        bars = [
            Bar(
                network=str(line["network"]),
                text=figure(line["median"]),
                interval=f"{figure(line['median_low'])} to {figure(line['median_high'])}",
                width=_place(line["median"], top),
                low=_place(line["median_low"], top),
                high=_place(line["median_high"], top),
                best=bool(line["median"] == best),
            )
            for line in lines.to_dict("records")
        ]
        made.append((norm.value, norm.label, bars))
    return made


def _place(value: float, top: float) -> float:
    return 100.0 if not np.isfinite(value) else round(100 * float(value) / top, 2)


def _sections(frames: Frames, manifest: Mapping[str, Any], examples: Sequence[Example]) -> list[Section]:
    sections = [
        Section(
            "networks",
            "The networks",
            "What the networks are, and how small the changes are that make them wrong. Distances are the smallest that "
            "any attack of the run found for an image, in whatever norm that attack worked.",
            tables=[_networks(frames, manifest), _medians(frames), _pairs(frames), _robust_accuracy(frames)],
        ),
        Section(
            "distributions",
            "Minimal norms, network against network",
            "A minimal norm is the size of the smallest known change that makes the network wrong on an image.",
            figures=[*figures("cumulative", frames), *figures("violins", frames)],
        ),
        Section(
            "security",
            "Security evaluation curves",
            "How many images stay right as the allowed change grows.",
            figures=figures("security", frames),
        ),
        Section(
            "attacks",
            "The attacks",
            "What each attack found, how often, and at what cost. An attack can only overstate a minimal norm: the one with "
            "the smallest distances is right, or nearest to it.",
            tables=[_summary(frames)],
            figures=[*figures("intervals", frames), *figures("per_attack", frames)],
        ),
        Section(
            "gallery",
            "Gallery",
            "The easiest, the median and the hardest image of each network and norm among those with a known adversarial "
            "example: original, adversarial example, and the change (blue darker, red lighter, at full strength for the "
            "largest change of that picture).",
            examples=examples,
        ),
        Section(
            "run",
            "What was run",
            "Everything that is needed to run it again.",
            tables=[*_run_tables(frames, manifest)],
        ),
    ]
    return [section for section in sections if section.tables or section.figures or section.examples]


def _networks(frames: Frames, manifest: Mapping[str, Any]) -> Table:
    content = pd.DataFrame(
        {
            "network": [str(network["name"]) for network in manifest["networks"]],
            "accuracy": [float(network.get("accuracy") or np.nan) for network in manifest["networks"]],
            "parameters": [int(network.get("parameters") or 0) for network in manifest["networks"]],
            "source": [str(network.get("factory") or "shipped with the bench") for network in manifest["networks"]],
            "sha256": [str(network.get("sha256", ""))[:12] for network in manifest["networks"]],
        }
    )
    columns = [
        _network_column(),
        percent("accuracy", "Clean accuracy", f"on the whole {manifest['split']} split", digits=2),
        count("parameters", "Parameters"),
        text("source", "Source"),
        text("sha256", "SHA-256", "of weights and structure, its beginning"),
    ]
    return table("table-networks", "The networks under test.", columns, content)


def _network_column(key: str = "network", heading: str = "Network") -> Column:
    return text(key, heading)


def _medians(frames: Frames) -> Table:
    columns = [
        _norm_column(),
        _network_column(),
        interval("median", "median_low", "median_high", "Median (95 % interval)", "bootstrap over images"),
        number("q1", "First quartile"),
        number("q3", "Third quartile", infinite="nothing was found on a quarter of the images or more"),
        percent("first", "Ranked first", "share of bootstrap resamples in which this network has the largest median", digits=0),
        number("certified", "Certified median", "median of the certified lower bounds"),
        count("exact", "Exact", "images whose distance is known: lower bound and adversarial example meet"),
        count("misclassified", "Misclassified", "clean images that are already wrong; they count at distance 0"),
        count("images", "Images"),
    ]
    caption = "Smallest known distances of each network. Misclassified images count as 0, images without a known adversarial example as infinite."
    return table("table-medians", caption, columns, frames["networks"])


def _pairs(frames: Frames) -> Table:
    columns = [
        _norm_column(),
        _network_column("network_a", "More robust"),
        _network_column("network_b", "than"),
        interval("difference", "low", "high", "Difference of medians (95 % interval)", "bootstrap over the same images"),
        percent("wins", "Larger on", "share of images on which the first network's distance is larger", digits=0),
        percent("losses", "Smaller on", digits=0),
        number("effect", "Effect", "matched-pairs rank-biserial correlation, -1 to 1", digits=2),
        number("p_holm", "p (Holm)", "Wilcoxon's signed-rank test, adjusted for the pairs of the norm", digits=2),
        count("images", "Images"),
    ]
    caption = "Every pair of networks compared image by image. Where the interval holds 0 or p is large, the order is not settled."
    return table("table-pairs", caption, columns, frames["differences"])


def _robust_accuracy(frames: Frames) -> Table:
    columns = [
        _norm_column(),
        number("eps", "eps"),
        _network_column(),
        percent("robust_accuracy", "Robust accuracy", "share of images that no known change of size eps makes wrong"),
        percent("low", "Lower end", "of the 95 % bootstrap interval"),
        percent("high", "Upper end", "of the 95 % bootstrap interval"),
        percent("certified", "Certified", "share of images with a certified lower bound above eps"),
    ]
    caption = "Robust accuracy at a few sizes of change: at least the certified share, at most the share that the attacks left."
    return table("table-robust", caption, columns, frames["robust_accuracy"])


def _norm_column() -> Column:
    return text("norm", "Norm", labels=NORM_LABELS)


def _summary(frames: Frames) -> Table:
    columns = [
        _network_column(),
        text("label", "Attack"),
        _norm_column(),
        text("library", "Library", labels=LIBRARY_LABELS),
        text("origin", "Origin", "whose code: the library's own (native), the paper's step on its classifier (port), another method of the family (stand-in), the library's with a defect mended (repaired)"),
        text("access", "Sees", "gradients, or decisions only"),
        number("median", "Median", infinite=NOT_FOUND),
        number("q1", "q1"),
        number("q3", "q3", infinite="nothing was found on a quarter of the images or more"),
        percent("found_rate", "Found", "share of the attacked images", warn_below=0.9),
        Column("Ratio to best", _ratio_cell, "median over images of this attack's distance over the best known one"),
        number("optimality", "Optimality", "local optimality (arXiv 2404.19460): 0 for doing nothing, 1 for the best known everywhere"),
        number("seconds", "Seconds", "per attacked image"),
        number("forwards", "Forward", "images passed forward through the network, per attacked image"),
        number("backwards", "Backward", "gradients asked for, per attacked image"),
        count("failed", "Failed", "error, timeout or invalid candidate; counted as not found", bad_above=0),
        count("images", "Images"),
    ]
    caption = "Every attack on every network. Distances over all images: misclassified ones count as 0, what was not found as infinite."
    return table("table-attacks", caption, columns, frames["summary"])


def _ratio_cell(line: Mapping[str, Any]) -> Cell:
    value = float(line["ratio"])
    tone = "good" if value <= 1.02 else "warn" if 1.25 < value < 2 else "bad" if value >= 2 else ""
    ends = f"95 % interval {figure(line['ratio_low'])} to {figure(line['ratio_high'])}"
    return Cell(figure(value, 4), value if np.isfinite(value) else ("Infinity" if value > 0 else ""), ends, tone)


def _run_tables(frames: Frames, manifest: Mapping[str, Any]) -> list[Table]:
    evidence = frames.evidence
    made = []
    holes = pd.DataFrame(manifest.get("holes", []), columns=["family", "norm", "library", "reason"])
    if len(holes):
        columns = [
            text("family", "Family"),
            _norm_column(),
            text("library", "Library", labels=LIBRARY_LABELS),
            text("reason", "Why nothing stands here"),
        ]
        made.append(table("table-holes", "Cells of the grid that nothing fills.", columns, holes))
    statuses = evidence.records.groupby(["attack", "status"], observed=True).size().unstack(fill_value=0)
    shown = [status for status in Status if status.value in statuses.columns]
    statuses = statuses.reset_index().merge(evidence.rows[["attack", "label", "norm", "library"]], on="attack")
    columns = [text("label", "Attack or bound"), _norm_column()]
    columns += [
        count(status.value, status.label, status.explanation, bad_above=0 if status.value in ("error", "timeout", "invalid") else np.inf)
        for status in shown
    ]
    made.append(table("table-statuses", "How the records ended, over all networks.", columns, statuses))
    failures = _failures(evidence)
    if len(failures):
        columns = [
            _network_column(),
            text("label", "Attack or bound"),
            text("status", "Status"),
            text("message", "Reason"),
            count("records", "Records"),
        ]
        made.append(table("table-failures", "What failed, and why.", columns, failures))
    return made


def _failures(evidence: Evidence, most: int = 200) -> pd.DataFrame:
    """Failures by network, attack, status and reason; the most frequent first."""
    failed = evidence.records[evidence.records["message"].fillna("") != ""]
    keys = ["network", "attack", "status", "message"]
    counted = failed.groupby(keys, observed=True).size().rename("records").reset_index()
    labels = evidence.rows[["attack", "label", "norm", "library"]]
    return counted.merge(labels, on="attack").sort_values("records", ascending=False).head(most)
