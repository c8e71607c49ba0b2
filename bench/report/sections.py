"""The sections of the page: which tables, figures and pictures stand where, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bench.findings import Level
from bench.metrics import BUILT_IN, METRICS, SIGNIFICANT, Evidence, invariants, library_choice, violations
from bench.metrics.frames import FAILURES
from bench.networks.spec import LIVE
from bench.norms import Norm
from bench.plots import PLOTS
from bench.records import Status
from bench.report import changed, data
from bench.report.figures import FigureGroup, figures
from bench.report.frames import Frames
from bench.report.gallery import Example
from bench.report.tables import (
    AFTER,
    NORM_LABELS,
    NOT_FOUND,
    UNDEFINED,
    Cell,
    Column,
    Table,
    count,
    figure,
    interval,
    number,
    of,
    p_value,
    percent,
    percentage,
    snake,
    sort_key,
    table,
    text,
)
from bench.specs import Access
from bench.verdict import Check, CheckResult

ACCESS = {Access.GRADIENT.value: "white-box", Access.DECISION.value: "black-box"}
PLACED = frozenset(PLOTS)
"""The figures of the bench itself, which have their sections; what is added later has a section of its own."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page: a heading, a paragraph, then tables, figures and pictures in this order."""

    id: str
    title: str
    intro: str
    tables: Sequence[Table] = field(default_factory=list)
    groups: Sequence[FigureGroup] = field(default_factory=list)
    examples: Sequence[Example] = field(default_factory=list)


def sections(
    frames: Frames, manifest: Mapping[str, Any], examples: Sequence[Example], found: Sequence[CheckResult]
) -> list[Section]:
    """All sections that have something to show, in their order.

    Args:
        frames: of the run.
        manifest: of the run.
        examples: the gallery.
        found: the verdicts' findings.
    """
    brackets = Section(
        "brackets",
        "Between proof and attack",
        "An attack bounds the minimal norm from above, a certificate from below: the truth lies between.",
        groups=figures("bracket", frames),
    )
    made = [
        brackets,
        Section(
            "distributions",
            "Minimal norms, network against network",
            "A minimal norm is the size of the smallest known change that makes the network wrong on an image, over all "
            "attacks of the run, including those that minimise another norm.",
            groups=[*figures("accuracy", frames), *figures("rows", frames), *figures("duels", frames)],
        ),
        _before_and_after(frames),
        Section(
            "networks",
            "The networks compared",
            "The same in numbers, with how sure they are. All intervals hold at 95%.",
            tables=[
                _networks(manifest),
                _medians(frames),
                *([pair_table(frames)] if len(frames.evidence.networks) > 1 else []),
                robust_table(frames),
            ],
        ),
        Section(
            "verdict",
            "Can these distances be trusted?",
            "Checks for defences that only hide their weakness from the attacks. A failed check means that the distances of "
            "that network are probably too large, not that it is robust.",
            tables=[_findings(found)],
        ),
        Section(
            "security",
            "Security evaluation curves",
            "How robust accuracy falls as the allowed change grows.",
            groups=figures("security", frames),
        ),
        Section(
            "attacks",
            "The attacks compared",
            "What each attack found, how often, and at what cost. An attack can only overstate a minimal norm: of two, the "
            "one with the smaller distances is nearer to the truth.",
            tables=[_summary(frames), *_exact(frames)],
            groups=[
                *figures("intervals", frames),
                *figures("profiles", frames),
                *figures("exact", frames),
                *figures("contributions", frames),
                *figures("costs", frames),
                *figures("passes", frames),
                *figures("queries", frames),
                *figures("per_attack", frames),
            ],
        ),
        Section(
            "libraries",
            "Library against library",
            "The same method, implemented by two libraries themselves, on the same images. Ports and repaired variants are not "
            "compared.",
            tables=_agreement(frames),
            groups=figures("libraries", frames),
        ),
        Section(
            "classes",
            "Class by class",
            "Which true classes are easily fooled, and what they are taken for.",
            groups=[*figures("class_medians", frames), *figures("class_changes", frames)],
        ),
        Section(
            "gallery",
            "Gallery",
            _gallery_intro(frames.evidence),
            examples=examples,
        ),
        Section("run", "What was run", "What it takes to run it again.", tables=_run_tables(frames, manifest)),
    ]
    made.insert(-1, _further(frames))
    return [section for section in made if section.tables or section.groups or section.examples]


def _before_and_after(frames: Frames) -> Section:
    """Networks that two runs have, each with itself."""
    return Section(
        "changes",
        "Before and after",
        "Networks of the same name in two runs, compared image by image on the images that both runs have. A change is "
        "confirmed where p < 0.05 after Holm's adjustment for all lines of its table.",
        tables=changed.tables(frames),
    )


def _gallery_intro(evidence: Evidence) -> str:
    """What the gallery shows, in words that fit the data."""
    domain = evidence.domain
    first = "The easiest, the median and the hardest image of each network and norm among those with a known adversarial example"
    if data.is_picture(domain):
        several = "; of several channels the one that changes most" if data.channels(domain) > 1 else ""
        shown = (
            "original, adversarial example, and the change (blue lower, red higher, at full strength for the largest "
            f"change of that picture{several})"
        )
    else:
        shown = "the values that change most for their box, before and after"
    one, two = domain.class_name(0), domain.class_name(1)
    return (
        f"{first}: {shown}. {one} → {two} is an image of class {one} that is taken for class {two}. The caption ends with "
        "the attack (or verifier) that found it."
    )


def _further(frames: Frames) -> Section:
    """What was added to METRICS and PLOTS: it has no place of its own."""
    tables = [_plain_table(name, frames) for name in METRICS if name not in BUILT_IN]
    groups = [group for name in PLOTS if name not in PLACED for group in figures(name, frames)]
    return Section(
        "further", "Further metrics and figures", "What was added to those of the bench itself.", tables, groups
    )


def _plain_table(name: str, frames: Frames) -> Table:
    """A metric of which nothing is known: numbers with three digits, the rest as text."""
    frame = frames.plain(name)
    columns = [
        number(str(key), str(key)) if pd.api.types.is_numeric_dtype(frame[key]) else text(str(key), str(key))
        for key in frame.columns
    ]
    return table(f"table-{name.replace('_', '-')}", f"{name}.", columns, frame)


def _networks(manifest: Mapping[str, Any]) -> Table:
    networks = manifest["networks"]
    content = pd.DataFrame(
        {
            "network": [str(network["name"]) for network in networks],
            "accuracy": [
                np.nan if (value := network.get("accuracy")) is None else float(value) for network in networks
            ],
            "parameters": [int(network.get("parameters") or 0) for network in networks],
            "source": [_source(network) for network in networks],
            "sha256": [str(network.get("sha256", ""))[:12] for network in networks],
            "notes": ["; ".join(map(str, network.get("notes") or ())) or "as it is" for network in networks],
        }
    )
    columns = [
        _network_column(),
        percent("accuracy", "Clean accuracy", _accuracy_images(networks), digits=2),
        count("parameters", "Parameters"),
        text("source", "Source"),
        text("sha256", "SHA-256", "of weights and structure, its beginning"),
    ]
    if any(network.get("notes") for network in networks):
        columns.append(text("notes", "Taken", "what was done to take it", wrap=True))
    return table("table-networks", "The networks under test.", columns, content)


def _source(network: Mapping[str, Any]) -> str:
    """Where a network is from, in words."""
    source = str(network.get("source") or "")
    if source.startswith(LIVE):
        return "a module of the calling program"
    weights = f", weights {network['weights']}" if network.get("weights") else ""
    return f"{source}{network.get('arguments') or ''}{weights}" if source else "shipped with the bench"


def _accuracy_images(networks: Sequence[Mapping[str, Any]]) -> str:
    """What clean accuracies were measured on."""
    counts = sorted({int(network["accuracy_images"]) for network in networks if network.get("accuracy_images")})
    return (
        f"on {' or '.join(f'{number:,}' for number in counts)} images of the split" if counts else "on the whole split"
    )


def _network_column(key: str = "network", heading: str = "Network") -> Column:
    return text(key, heading)


def _medians(frames: Frames) -> Table:
    columns = [
        _norm_column(),
        _network_column(),
        interval("median", "median_low", "median_high", "Median (95% interval)", "bootstrap over images"),
        number("q1", "First quartile"),
        number("q3", "Third quartile", infinite="nothing was found on a quarter of the images or more"),
        percent(
            "first",
            "Ranked first",
            "fraction of bootstrap resamples in which this network has the largest median; not defined for one that is left out",
            digits=0,
        ),
        number("certified", "Certified median", "median of the certified lower bounds"),
        *_pixels(frames.evidence),
        count("exact", "Exact", "images whose distance is known: lower bound and adversarial example meet"),
        count("misclassified", "Misclassified", "clean images that are already wrong; they count at distance 0"),
        count("images", "Images"),
    ]
    caption = "Smallest known distances of each network. Misclassified images count as 0, images without a known adversarial example as infinite."
    units = {data.unit(frames.evidence.domain, norm) for norm in frames.evidence.norms if not norm.counts} - {""}
    counted = [
        f"{norm.label} counts {data.values(frames.evidence.domain)}" for norm in frames.evidence.norms if norm.counts
    ]
    if units:
        caption += f" The unit is {'; '.join([', '.join(sorted(units)), *counted])}."
    return table("table-medians", caption, columns, frames["networks"])


def _pixels(evidence: Evidence) -> list[Column]:
    """How many pixels are changed, where a pixel has several values and a norm counts values."""
    if data.channels(evidence.domain) == 1 or not any(norm.counts for norm in evidence.norms):
        return []
    meaning = "median number of pixels changed by these examples; a pixel counts once for all its channels"
    return [number("pixels", "Pixels", meaning)]


def pair_table(frames: Frames) -> Table:
    """Every pair of networks in every norm."""
    columns = [
        _norm_column(),
        _network_column("network_a", "More robust"),
        _network_column("network_b", "than"),
        interval("difference", "low", "high", "Difference of medians (95% interval)", "bootstrap over the same images"),
        percent("wins", "Larger on", "fraction of images on which the first network's distance is larger", digits=0),
        percent("losses", "Smaller on", digits=0),
        number(
            "effect",
            "Effect",
            "how one-sided the comparison is: 1 where the first network is larger throughout, 0 for no order (rank-biserial correlation)",
            digits=2,
        ),
        p_value(
            "p_holm",
            "p (Holm)",
            "probability of so clear an order by chance alone: Wilcoxon's signed-rank test, adjusted for all lines of this table that have one",
            undefined="one of the two is left out: its checks fail, or fewer attacks were run on it",
        ),
        count("images", "Images"),
    ]
    caption = (
        "Every pair of networks compared image by image, on the images that both have. If p >= 0.05, the order is not "
        "settled. A small p with an interval that contains 0 means: similar medians, but one network is more robust on most "
        "images. Pairs with a network that is left out of comparisons have no p, and count in no adjustment."
    )
    return table("table-pairs", caption, columns, frames["differences"])


def robust_table(frames: Frames) -> Table:
    """One line per norm and eps, one column per network."""
    content = frames["robust_accuracy"]
    keys = ["norm", "eps", "usual"]
    lines = content[keys].drop_duplicates().reset_index(drop=True)
    columns = [
        _norm_column(),
        Column("Change", _eps_cell, "largest size of the change, in the norm; papers call it eps", fields=of("eps")),
    ]
    for name in frames.evidence.networks:
        own = content[content["network"] == name].drop(columns="network")
        own = own.rename(columns={column: f"{column} of {name}" for column in own.columns if column not in keys})
        lines = lines.merge(own, on=keys, how="left")
        columns.append(_robust_column(name))
    caption = (
        "Robust accuracy by size of change. The percentage of images that no known change of this size makes wrong, with its 95% interval; "
        "then, where the run has bounds, the percentage that is certified. The true robust accuracy lies between the two."
    )
    return table("table-robust", caption, columns, lines)


def _eps_cell(line: Mapping[str, Any]) -> Cell:
    note = "usual eps of this dataset" if line["usual"] else ""
    return Cell(figure(line["eps"]), float(line["eps"]), note=note)


def _robust_column(name: str) -> Column:
    def cell(line: Mapping[str, Any]) -> Cell:
        value, low, high, certified = (
            float(line[f"{key} of {name}"]) for key in ("robust_accuracy", "low", "high", "certified")
        )
        if np.isnan(value):
            return Cell(UNDEFINED)
        shown = f"{percentage(value, 0)} ({100 * low:.0f} to {100 * high:.0f})"
        if not np.isnan(certified):
            shown += f", certified {percentage(certified, 0)}"
        return Cell(shown, value)

    values = {
        f"{snake(name)}_{key}": (lambda line, key=f"{key} of {name}": line[key])
        for key in ("robust_accuracy", "low", "high", "certified")
    }
    return Column(name, cell, tags={"network": name}, fields=values)


def _norm_column() -> Column:
    return text("norm", "Norm", labels=NORM_LABELS)


def _findings(found: Sequence[CheckResult]) -> Table:
    """One line per check, one column per network."""
    networks = list(dict.fromkeys(finding.network for finding in found))
    checks = list(dict.fromkeys(finding.check for finding in found))
    by_place = {(finding.check, finding.network): finding for finding in found}
    content = pd.DataFrame({"place": range(len(checks))})

    def check(line: Mapping[str, Any]) -> Cell:
        one = checks[line["place"]]
        return Cell(one.title, one.title, note=f"{one.why} {one.source}".strip())

    values = {
        "check": lambda line: checks[line["place"]].title,
        "why": lambda line: f"{checks[line['place']].why} {checks[line['place']].source}".strip(),
    }
    columns = [Column("What a healthy network shows", check, numeric=False, wrap=True, fields=values)]
    columns += [_finding_column(name, checks, by_place) for name in networks]
    caption = "The checks behind the verdict on each network: the worst of them is the verdict."
    return table("table-verdict", caption, columns, content)


def _finding_column(name: str, checks: Sequence[Check], found: Mapping[tuple[Check, str], CheckResult]) -> Column:
    tones = {Level.PASS: "good", Level.WARN: "warn", Level.FAIL: "bad", Level.STOP: "bad"}
    rank = {level: place for place, level in enumerate(Level)}

    def cell(line: Mapping[str, Any]) -> Cell:
        finding = found.get((checks[line["place"]], name))
        if finding is None:
            return Cell(UNDEFINED)
        level = finding.level
        return Cell(level.value, rank[level], tone=tones.get(level, ""), note=finding.message)

    values = {
        f"{snake(name)}_outcome": lambda line: cell(line).text,
        f"{snake(name)}_reason": lambda line: cell(line).note,
    }
    return Column(name, cell, numeric=False, wrap=True, tags={"network": name}, fields=values)


def _exact(frames: Frames) -> list[Table]:
    content = frames["exact"]
    if not len(content):
        return []
    columns = [
        text("label", "Attack"),
        _norm_column(),
        _network_column(),
        count("solved", "Solved", "images whose exact distance is known"),
        number("median", "Median ratio", "distance found over exact distance", digits=4, infinite=NOT_FOUND),
        number("p90", "90th percentile", digits=4, infinite="nothing was found on a tenth of the images or more"),
        number("largest", "Largest", digits=4, infinite="nothing was found on some image"),
        percent("within", "Within 1%", "percentage of solved images with a ratio of at most 1.01", digits=0),
        count("open", "Open", "images between a lower bound and the best attack"),
        Column(
            "Median ratio, open",
            _open_cell,
            "from distance over the best known to distance over the lower bound",
            fields=of("open_least", "open_most"),
        ),
    ]
    caption = (
        "Every attack against the exact distance. Solved images are the easier ones, so ratios on them flatter the attacks; on "
        "open images the true ratio lies in the interval given."
    )
    return [table("table-exact", caption, columns, content)]


def _open_cell(line: Mapping[str, Any]) -> Cell:
    if not line["open"]:
        return Cell(UNDEFINED)
    return Cell(f"{figure(line['open_least'])} to {figure(line['open_most'])}", sort_key(line["open_most"]))


def _agreement(frames: Frames) -> list[Table]:
    content = frames["agreement"]
    if not len(content):
        return []
    settled = library_choice(frames.evidence, frames.plain("agreement")).settled

    def advice(line: Mapping[str, Any]) -> Cell:
        worse, larger = str(line["worse"]), str(line["larger"])
        if larger and not worse:
            return Cell(f"{frames.labels.get(larger, larger)} finds larger distances with fewer queries: no verdict")
        if not worse:
            if line["p_holm"] >= SIGNIFICANT:
                return Cell("no significant difference" if settled else "too few images to tell")
            return Cell("less than 1% apart" if abs(line["ratio"] - 1) <= 0.01 else "no clear order")
        return Cell(f"{frames.labels.get(worse, worse)} finds larger distances: avoid it here", tone="warn")

    columns = [
        _network_column(),
        text("title", "Method"),
        _norm_column(),
        text("library_a", "A", labels=frames.labels),
        text("library_b", "B", labels=frames.labels),
        interval(
            "ratio", "low", "high", "A / B (95% interval)", "median over images of A's distance over B's", digits=4
        ),
        percent(
            "wins_a", "A smaller", "percentage of images on which A's distance is smaller by more than 1%", digits=0
        ),
        percent(
            "wins_b", "B smaller", "percentage of images on which B's distance is smaller by more than 1%", digits=0
        ),
        p_value(
            "p_holm",
            "p (Holm)",
            "probability of so clear an order by chance alone: Wilcoxon's signed-rank test, adjusted for all lines of this table",
        ),
        number("queries_a", "Queries A", "forward and backward passes per image"),
        number("queries_b", "Queries B", "forward and backward passes per image"),
        Column("Advice", advice, numeric=False),
        count("images", "Images"),
    ]
    caption = (
        "The same method in two libraries, with the parameters that their cards give, on the same images. The smaller "
        "distance is the better one. A library that finds larger distances is advised against where it had at least 80% of the "
        "other's queries. Other parameters, or more steps, may change the order."
    )
    return [table("table-agreement", caption, columns, content)]


def _summary(frames: Frames) -> Table:
    columns = [
        text("label", "Attack"),
        _norm_column(),
        _network_column(),
        text(
            "origin",
            "Origin",
            "whose code: the library's own (native), written here from the paper (port), another method of the family (stand-in), the library's with a defect mended (repaired)",
        ),
        text("access", "Access", labels=ACCESS),
        number("median", "Median", infinite=NOT_FOUND),
        *quality(),
        percent(
            "seen_nearer",
            "Seen nearer",
            "percentage of the attacked images on which an adversarial point nearer than the candidate by more than 1% passed "
            "through the network: the attack does not return the best point that it had",
            digits=0,
        ),
        number("seconds", "Seconds", "wall time per attacked image, other work on the machine included"),
        number("forwards", "Forward", "images passed forward through the network, per attacked image"),
        number("backwards", "Backward", "gradients asked for, per attacked image"),
        percent(
            "adds",
            "Adds",
            "percentage of the attacked images on which it is nearer, by more than 0.1%, than every attack of its norm that takes "
            "less time; at 0% the cheaper attacks together find the same",
            digits=0,
        ),
        count("failed", "Failed", "error, timeout or invalid candidate; counted as not found", bad_above=0),
        images_column(),
    ]
    content = frames["summary"]
    caption = "Every attack on every network. Distances over all images: misclassified ones count as 0, what was not found as infinite."
    caption += " In each norm the best attack comes first: the one with the smallest ratio on its worst network."
    caption += _nothing_added(content)
    return table("table-attacks", caption, columns, _best_first(content))


def _best_first(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary norm by norm, in each the attack with the smallest ratio on its worst network first.

    Attacks that were run on fewer images than others of the norm come after them; ``fewer`` and ``after`` say so.
    """
    content = with_fewer(summary)
    by_attack = content.groupby("attack", observed=True)
    content[AFTER] = by_attack["fewer"].transform("max")
    content["worst"] = by_attack["ratio"].transform("max")
    content["place"] = content["norm"].map({norm.value: place for place, norm in enumerate(Norm)})
    ordered = content.sort_values(["place", AFTER, "worst", "attack", "network"], kind="stable")
    return ordered.drop(columns=["worst", "place"])


def quality() -> list[Column]:
    """The columns of a summary that say how near an attack comes to the best known distances."""
    return [
        Column("Middle half", _middle_cell, "from the first to the third quartile", fields=of("q1", "q3")),
        percent("found_rate", "Found", "percentage of the attacked images", warn_below=0.9),
        Column(
            "Ratio",
            _ratio_cell,
            "median over images of this attack's distance over the best known one",
            fields=of("ratio", "ratio_low", "ratio_high"),
        ),
        number(
            "optimality",
            "Optimality",
            "local optimality (arXiv:2404.19460): 0 for doing nothing, 1 for the best known everywhere",
        ),
    ]


def images_column() -> Column:
    """The column of a summary :func:`with_fewer` that says on how many images an attack was run."""
    return Column("Images", _images_cell, "that the attack was planned for", fields=of("images"))


def with_fewer(summary: pd.DataFrame) -> pd.DataFrame:
    """A summary with a column ``fewer``: whether other attacks in the network and norm had more images."""
    most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
    return summary.assign(fewer=summary["images"] < most)


def _nothing_added(summary: pd.DataFrame) -> str:
    """How many attacks could be left out without loss, in a sentence; empty for none."""
    adds = summary.groupby(["label", "norm"], observed=True)["adds"].max()
    nothing = int((adds == 0).sum())
    if not nothing:
        return ""
    return (
        f" {nothing} of {len(adds)} attacks {'adds' if nothing == 1 else 'add'} nothing in this run (0% in column Adds on every "
        "network): on no image nearer than the attacks of their norm that take less time."
    )


def _middle_cell(line: Mapping[str, Any]) -> Cell:
    return Cell(f"{figure(line['q1'])} to {figure(line['q3'])}", sort_key(line["q1"]))


def _images_cell(line: Mapping[str, Any]) -> Cell:
    if line["fewer"]:
        return Cell(
            f"{line['images']:,}", line["images"], "fewer than other attacks: its median is of other images", "warn"
        )
    return Cell(f"{line['images']:,}", line["images"])


def _ratio_cell(line: Mapping[str, Any]) -> Cell:
    value = float(line["ratio"])
    tone = "good" if value <= 1.02 else "warn" if 1.25 < value < 2 else "bad" if value >= 2 else ""
    ends = f"95% interval {figure(line['ratio_low'])} to {figure(line['ratio_high'])}"
    return Cell(figure(value, 4), value if np.isfinite(value) else ("Infinity" if value > 0 else ""), ends, tone)


def _run_tables(frames: Frames, manifest: Mapping[str, Any]) -> list[Table]:
    evidence = frames.evidence
    made = [_invariants(evidence, manifest)]
    broken = violations(evidence)
    if len(broken):
        columns = [
            _network_column(),
            _norm_column(),
            count("image", "Image"),
            number("lower", "Certified bound", digits=9),
            number("distance", "Distance found", digits=9),
            text("attack", "By"),
        ]
        made.append(table("table-violations", "Bounds that an adversarial example breaks.", columns, broken))
    holes = pd.DataFrame(manifest.get("holes", []), columns=["family", "norm", "library", "reason"])
    if len(holes):
        columns = [
            text("family", "Family"),
            _norm_column(),
            text("library", "Library", labels=frames.labels),
            text("reason", "Reason", wrap=True),
        ]
        made.append(
            table(
                "table-holes",
                "Combinations of family, norm and library that no attack covers.",
                columns,
                holes,
            )
        )
    statuses = evidence.records.astype({"status": str}).pivot_table(
        index="attack", columns="status", aggfunc="size", fill_value=0, observed=True
    )
    shown = [status for status in Status if status.value in statuses.columns]
    statuses = statuses.reset_index().merge(evidence.rows[["attack", "label", "norm", "library"]], on="attack")
    columns = [text("label", "Attack or bound"), _norm_column()]
    columns += [
        count(
            status.value,
            status.label,
            status.explanation,
            bad_above=0 if status in FAILURES else np.inf,
        )
        for status in shown
    ]
    caption = (
        "How the records ended, over all networks. For bounds, found means that the verifier also produced an adversarial "
        "example."
    )
    made.append(table("table-statuses", caption, columns, statuses))
    failures = _failures(evidence)
    if len(failures):
        columns = [
            _network_column(),
            text("label", "Attack or bound"),
            text("status", "Status"),
            text("message", "Reason", wrap=True),
            count("records", "Records"),
        ]
        made.append(table("table-failures", "What failed, and why.", columns, failures))
    return made


def _invariants(evidence: Evidence, manifest: Mapping[str, Any]) -> Table:
    content = pd.DataFrame(
        [{"rule": i.rule, "holds": i.holds, "detail": i.detail} for i in invariants(evidence, manifest)]
    )

    def holds(line: Mapping[str, Any]) -> Cell:
        kept = line["holds"]
        if kept is None:
            return Cell("open", tone="warn")
        return Cell("holds", tone="good") if kept else Cell("BROKEN", tone="bad")

    columns = [
        text("rule", "Rule"),
        Column("Holds", holds, numeric=False, fields=of("holds")),
        text("detail", "Evidence", wrap=True),
    ]
    return table("table-invariants", "What must hold of every run.", columns, content)


def _failures(evidence: Evidence, most: int = 200) -> pd.DataFrame:
    """Failures by network, attack, status and reason; the most frequent first."""
    failed = evidence.records[evidence.records["message"].fillna("") != ""]
    keys = ["network", "attack", "status", "message"]
    counted = failed.groupby(keys, observed=True).size().rename("records").reset_index()
    labels = evidence.rows[["attack", "label", "norm", "library"]]
    return counted.merge(labels, on="attack").sort_values("records", ascending=False).head(most)
