"""What changed between two runs of the same networks: the sentences of the first screen, and the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.norms import Norm
from bench.report.frames import Frames
from bench.report.tables import (
    NORM_LABELS,
    NOT_FOUND,
    Cell,
    Column,
    Table,
    count,
    figure,
    interval,
    number,
    p_value,
    percent,
    table,
    text,
)
from bench.report.words import p_value as p_in_words


def changed(frames: Frames) -> list[str]:
    """A sentence for each network that two runs have, in each norm; none for a run by itself."""
    return [_sentence(line) for line in frames.plain("changes").to_dict("records")]


def _sentence(line: Mapping[Any, Any]) -> str:
    medians = (
        f"{line['name']} in {Norm(line['norm']).label}: median {figure(line['median_before'])} in {line['before']}, "
    )
    medians += f"{figure(line['median_after'])} in {line['after']}"
    if math.isnan(line["p_holm"]):
        return (
            f"{medians}; the two had other attacks, or the checks of one fail, so that their distances do not compare"
        )
    ends = f"95% CI of the difference {figure(line['low'])} to {figure(line['high'])}"
    change = f"{line['change']} afterwards, confirmed" if line["change"] else "no change is confirmed"
    return f"{medians} ({ends}); {change} ({p_in_words(line['p_holm'])}, {line['images']:,} images)"


def tables(frames: Frames) -> list[Table]:
    """The changes of networks, and of attacks; none for a run by itself."""
    return [_network_changes(frames), *_attack_changes(frames)] if frames.evidence.before_after else []


def _network_changes(frames: Frames) -> Table:
    columns = [
        text("norm", "Norm", labels=NORM_LABELS),
        text("name", "Network"),
        text("before", "Before"),
        text("after", "After"),
        number("median_before", "Median before", infinite=NOT_FOUND),
        number("median_after", "Median after", infinite=NOT_FOUND),
        interval(
            "difference", "low", "high", "Difference (95% interval)", "of medians, bootstrap over the same images"
        ),
        percent("larger_on", "Larger on", "percentage of images on which the distance is larger afterwards", digits=0),
        percent("smaller_on", "Smaller on", digits=0),
        p_value(
            "p_holm",
            "p (Holm)",
            "probability of so clear a change by chance alone: Wilcoxon's signed-rank test, adjusted for all lines of this table",
            undefined="not the same attacks before and after, or the checks of one fail: the distances do not compare",
        ),
        Column("Confirmed", _confirmed_cell, numeric=False),
        count("images", "Images"),
    ]
    caption = (
        "Smallest distances before and after, over the attacks that ended on the image in both runs. A larger distance is a more "
        "robust network."
    )
    return table("table-changes", caption, columns, frames["changes"])


def _attack_changes(frames: Frames) -> list[Table]:
    content = frames["attack_changes"]
    if not len(content):
        return []
    columns = [
        text("label", "Attack"),
        text("norm", "Norm", labels=NORM_LABELS),
        text("name", "Network"),
        number("median_before", "Median before", infinite=NOT_FOUND),
        number("median_after", "Median after", infinite=NOT_FOUND),
        interval("ratio", "low", "high", "After / before (95% interval)", "median over images", digits=4),
        percent(
            "larger_on", "Larger on", "percentage of images with a distance larger by more than 1% afterwards", digits=0
        ),
        percent("smaller_on", "Smaller on", "percentage of images with a distance smaller by more than 1%", digits=0),
        p_value("p_holm", "p (Holm)", "Wilcoxon's signed-rank test, adjusted for all lines of this table"),
        Column("Confirmed", _confirmed_cell, numeric=False),
        count("images", "Images"),
    ]
    caption = (
        "Each attack before and after, on the images that it was run on in both runs and that the network gets right in both. "
        "Where the network is the same, a larger distance afterwards is a worse attack."
    )
    return [table("table-attack-changes", caption, columns, content)]


def _confirmed_cell(line: Mapping[str, Any]) -> Cell:
    if math.isnan(line["p_holm"]):
        return Cell("not compared")
    return Cell(f"{line['change']} afterwards" if line["change"] else "no change confirmed")
