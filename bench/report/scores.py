"""The page of distances from elsewhere: the tables and figures of a report that need nothing but distances."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.figures import figures
from bench.report.frames import Frames
from bench.report.page import render_scores
from bench.report.sections import (
    Section,
    images_column,
    pair_table,
    quality,
    robust_table,
    with_fewer,
)
from bench.report.sources import shown
from bench.report.tables import NORM_LABELS, Table, interval, table, text


def page(frames: Frames, title: str, notes: Sequence[str], best: str) -> str:
    """The page as HTML.

    Args:
        frames: of the distances.
        title: of the page.
        notes: what was assumed or left out, a sentence each.
        best: which best known distances the attacks are compared with, in words.

    Returns:
        A document that asks for nothing from anywhere.
    """
    evidence = frames.evidence
    facts = [
        ("Images", f"{evidence.records['image'].nunique():,}"),
        ("Networks", f"{len(evidence.networks)}"),
        ("Attacks", f"{len(evidence.rows)}"),
        ("Norms", ", ".join(norm.label for norm in evidence.norms)),
        ("Best known distances", best),
    ]
    return render_scores(evidence, shown(title), shown(facts), shown(list(notes)), _sections(frames, best))


def _sections(frames: Frames, best: str) -> list[Section]:
    """What is shown, in its order; networks are compared where there are several."""
    made = [
        Section(
            "attacks",
            "The attacks compared",
            "What each attack found, and how near it comes to the best known distances. An attack can only overstate a minimal "
            "norm: of two, the one with the smaller distances is nearer to the truth.",
            tables=[_attacks(frames, best)],
            groups=figures("intervals", frames),
        ),
        Section(
            "security",
            "Security evaluation curves",
            "How robust accuracy falls as the allowed change grows.",
            tables=[robust_table(frames)],
            groups=figures("security", frames),
        ),
        Section(
            "distributions",
            "Minimal norms",
            "A minimal norm is the size of the smallest known change that makes the network wrong on an image.",
            groups=[*figures("accuracy", frames), *figures("rows", frames)],
        ),
    ]
    if len(frames.evidence.networks) > 1:
        title = "The networks compared"
        groups = figures("per_attack", frames)
        made.append(Section("networks", title, "All intervals hold at 95%.", [pair_table(frames)], groups))
    return made


def _attacks(frames: Frames, best: str) -> Table:
    columns = [
        text("label", "Attack"),
        text("network", "Network"),
        text("norm", "Norm", labels=NORM_LABELS),
        interval("median", "median_low", "median_high", "Median (95% interval)", "bootstrap over images"),
        *quality(),
        images_column(),
    ]
    caption = (
        "Every attack on every network. Distances over all images: misclassified ones count as 0, what was not found as infinite. "
        f"Ratio and optimality compare with the best known distance of each image: {best}."
    )
    return table("table-attacks", caption, columns, with_fewer(frames["summary"]))
