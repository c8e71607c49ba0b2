"""The page itself: sections of tables, figures and pictures, in one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from bench import metrics, verdict
from bench.arguments import typed
from bench.findings import TRUST, Level
from bench.metrics import Evidence
from bench.plots.style import DARK, network_styles
from bench.report import cautions, data, index, words
from bench.report.changed import changed
from bench.report.frames import Frames
from bench.report.gallery import Example
from bench.report.glossary import WORDS, address, linked
from bench.report.images import View, packed
from bench.report.index import Entry
from bench.report.labels import labelled
from bench.report.sections import Section, sections
from bench.report.sources import Source
from bench.report.tables import NORM_LABELS, figure, percentage
from bench.report.usual import at_usual_eps
from bench.specs import Access, Kind, Origin
from bench.verdict import CheckResult

ORIGINS = {
    Origin.NATIVE.value: "the library's own code",
    Origin.PORT.value: "written here from the paper",
    Origin.STAND_IN.value: "another method of the family",
    Origin.REPAIRED.value: "the library's code, a defect mended",
}
ACCESSES = {
    Access.GRADIENT.value: "white-box (gradients)",
    Access.DECISION.value: "black-box (decisions)",
}
NAMES = 60
"""The page's title has the names of networks where they take no more characters than this."""

SCRIPTS = ("base", "tables", "filters", "figures", "image", "state")
"""The parts of the page's script, in the order in which they run."""
KINDS = {Kind.LOWER.value: "lower bound", Kind.EXACT.value: "exact distance"}


def render(
    frames: Frames,
    source: Source,
    examples: Sequence[Example],
    found: list[CheckResult],
    *,
    view: View,
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as HTML.

    Args:
        frames: of the run or runs.
        source: of the same.
        examples: the gallery.
        found: of :func:`bench.verdict.findings`.
        view: of single images.
        links: to pages beside this one: address and text.

    Returns:
        A document that asks for nothing from anywhere.
    """
    evidence, manifest = frames.evidence, source.manifest
    environment = _environment()
    environment.filters["sentence"] = partial(words.sentence, names=evidence.networks)
    context = _frame(environment, evidence, _about(evidence, source)) | {
        "title": source.title,
        "links": links,
        "heading": _heading(evidence, source),
        "runs": source.runs,
        "facts": _facts(evidence, source),
        "deploy": words.deploy(frames, manifest),
        "answers": words.most_robust(frames),
        "changed": changed(frames),
        "usual": at_usual_eps(frames, str((manifest.get("data") or {}).get("title") or "this dataset")),
        "attacks": words.best_attacks(frames),
        "library": words.library(frames),
        "not_concluded": cautions.not_concluded(evidence),
        "avoid": words.to_avoid(frames),
        "verdicts": [
            (name, level := verdict.overall(found, name), TRUST[level], _made(found, name))
            for name in evidence.networks
        ],
        "broken": [rule for rule in metrics.invariants(evidence, manifest) if rule.holds is False],
        "cautions": cautions.cautions(manifest, frames, found),
        "overview": overview(frames),
        "sections": sections(frames, manifest, examples, found),
        "cards": [card for card in manifest["rows"] if any(evidence.rows["attack"] == card["name"])],
        "origins": ORIGINS,
        "accesses": ACCESSES,
        "kinds": KINDS,
        "box": data.box(evidence.domain),
        "view": view,
    }
    return environment.get_template("report.html.j2").render(context)


def card(frames: Frames, source: Source, found: list[CheckResult]) -> str:
    """The first screen of the page in short, as a fragment of HTML for a notebook.

    Args:
        frames: of the run.
        source: of the same.
        found: of :func:`bench.verdict.findings`.
    """
    evidence, manifest = frames.evidence, source.manifest
    context = {
        "heading": _heading(evidence, source),
        "deploy": words.deploy(frames, manifest),
        "overview": overview(frames),
        "trusted": [(name, TRUST[verdict.overall(found, name)]) for name in evidence.networks],
        "usual": at_usual_eps(frames, str((manifest.get("data") or {}).get("title") or "this dataset")).values(),
        "attacks": [answer for answer in words.best_attacks(frames) if answer.tags],
        "not_concluded": cautions.not_concluded(evidence),
        "cautions": cautions.cautions(manifest, frames, found),
    }
    return _environment().get_template("card.html.j2").render(context)


def render_scores(
    evidence: Evidence, title: str, facts: Sequence[tuple[str, str]], notes: Sequence[str], sections: Sequence[Section]
) -> str:
    """The page of distances that are from no run, as HTML.

    Args:
        evidence: made of them.
        title: of the page.
        facts: name and value of each, under the title.
        notes: sentences that stand before everything.
        sections: what is shown.

    Returns:
        A document that asks for nothing from anywhere.
    """
    environment = _environment()
    about = {"run": title, "images": "", "date": "", "units": {norm.value: norm.unit for norm in evidence.norms}}
    context = _frame(environment, evidence, about)
    context |= {"title": title, "heading": title, "facts": facts, "notes": notes, "sections": sections}
    return environment.get_template("scores.html.j2").render(context)


def _frame(environment: jinja2.Environment, evidence: Evidence, about: Mapping[str, Any]) -> dict[str, Any]:
    """What every page of figures and tables has: style, script, glossary, and the choices by which it filters."""
    script = _script(environment)
    return {
        "filters": _filters(evidence),
        "style": Markup(_source(environment, "style.css") + _colours(evidence.networks)),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": _hash(script),
        "norm_labels": NORM_LABELS,
        "glossary": [(word, address(word), meaning) for word, meaning in WORDS.items()],
        "about": about,
        "links": (),
        "view": None,
    }


def render_index(entries: Sequence[Entry], comparisons: Sequence[tuple[str, str]]) -> str:
    """The list of all runs as HTML."""
    environment = _environment()
    script = _source(environment, "index.js")
    found = [entry.manifest for entry in entries if entry.manifest]
    names: dict[str, list[str]] = {
        "suite": [str(one["suite"]["name"]) for one in found],
        "dataset": [str(one["data"].get("title")) for one in found],
        "network": [str(network["name"]) for one in found for network in one["networks"]],
    }
    choices = [(key, key.capitalize(), sorted(set(values))) for key, values in names.items() if len(set(values)) > 1]
    every = dict.fromkeys(str(network["name"]) for one in found for network in one["networks"])
    context = {
        "entries": entries,
        "courses": index.courses(entries),
        "choices": choices,
        "comparisons": comparisons,
        "style": Markup(_source(environment, "style.css") + _colours(tuple(every))),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": _hash(script),
    }
    return environment.get_template("index.html.j2").render(context)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "command": command,
        "slug": slug,
        "chosen": data.chosen,
        "drawn": data.draws,
        "linked": linked,
        "figure": figure,
        "percentage": percentage,
        "svg": Markup,
        "labelled": labelled,
        "packed": packed,
    }
    return environment


def _hash(script: str) -> str:
    """As a content security policy names a script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _script(environment: jinja2.Environment) -> str:
    """The page's script: its parts in one function, so that nothing of it is global."""
    parts = "".join(_source(environment, f"script/{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _about(evidence: Evidence, source: Source) -> dict[str, Any]:
    """What stands in a saved picture besides the figure: of which run, images and day it is, and what its distances are."""
    manifest = source.manifest
    return {
        "run": source.title,
        "images": data.chosen(manifest),
        "date": str(manifest["started"])[:10],
        "units": {norm.value: data.explained(evidence.domain, norm) for norm in evidence.norms},
    }


def command(words: Sequence[str]) -> str:
    """A command line as it is typed, in one text."""
    return shlex.join(typed([str(word) for word in words]))


def slug(value: str) -> str:
    """A text as an id: letters, digits and hyphens; texts that differ only in other characters stay apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
    return plain if plain == value else f"{plain}-{hashlib.sha256(value.encode()).hexdigest()[:6]}".strip("-")


def _colours(networks: Sequence[str]) -> str:
    """CSS: the drawn colours as variables, light and dark, and one class per network."""
    light = ";".join(f"--c-{colour[1:]}:{colour}" for colour in DARK)
    dark = ";".join(f"--c-{colour[1:]}:{other}" for colour, other in DARK.items())
    lines = [
        f":root{{{light}}}",
        f'@media screen and (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}}}}}',
        f'@media screen{{:root[data-theme="dark"]{{{dark}}}}}',
    ]
    for name, look in network_styles(networks).items():
        lines.append(f".network-{slug(name)}{{--network:var(--c-{look.colour[1:]})}}")
    return "\n".join(lines)


def _made(found: Sequence[CheckResult], network: str) -> str:
    """How many of a network's checks could be made."""
    levels = [result.level for result in found if result.network == network]
    return f"{sum(level is not Level.NONE for level in levels)} of {len(levels)} checks made"


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


def _heading(evidence: Evidence, source: Source) -> str:
    """What was attacked, and on which images."""
    names = words.listed(evidence.networks)
    networks = names if len(names) <= NAMES else f"{len(evidence.networks)} networks"
    return f"{networks} on {data.chosen(source.manifest)}"


def _facts(evidence: Evidence, source: Source) -> list[tuple[str, str]]:
    """The line under the title."""
    manifest, several = source.manifest, len(source.runs) > 1
    return [
        ("Suite", str(manifest["suite"]["name"])),
        ("Attacks", f"{int((evidence.rows['kind'] == Kind.UPPER.value).sum())}"),
        ("Seed", str(manifest["seed"])),
        ("First started" if several else "Started", str(manifest["started"])[:16].replace("T", " ") + " UTC"),
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
    compares: bool


def overview(frames: Frames) -> list[tuple[str, str, list[Bar]]]:
    """For each norm the medians of all networks as bars: norm, label, bars. Those left out cannot be the best."""
    left_out = words.left_out(frames)
    content = frames["networks"]
    made = []
    for norm in frames.evidence.norms:
        lines = content[content["norm"] == norm.value]
        ranked = lines[~lines["network"].isin(left_out)]
        # A network that does not compare does not squeeze the others; its bar may end at the edge.
        ends = (ranked if len(ranked) else lines)[["median", "median_high"]].to_numpy(dtype=np.float64)
        top = float(ends[np.isfinite(ends)].max(initial=0.0)) or 1.0
        best = float(ranked["median"].max()) if len(ranked) else 0.0
        bars = [
            Bar(
                network=str(line["network"]),
                text=figure(line["median"]),
                interval=f"{figure(line['median_low'])} to {figure(line['median_high'])}",
                width=_place(line["median"], top),
                low=_place(line["median_low"], top),
                high=_place(line["median_high"], top),
                best=bool(line["median"] == best) and line["network"] not in left_out,
                compares=line["network"] not in left_out,
            )
            for line in lines.to_dict("records")
        ]
        made.append((norm.value, norm.label, bars))
    return made


def _place(value: float, top: float) -> float:
    return 100.0 if not np.isfinite(value) else min(round(100 * float(value) / top, 2), 100.0)
