"""The first screen in words: what changed between two runs of the same networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.norms import Norm
from bench.report.frames import Frames
from bench.report.tables import figure
from bench.report.words import p_value


def changed(frames: Frames) -> list[str]:
    """A sentence for each network that two runs have, in each norm; none for a run by itself."""
    return [_sentence(line) for line in frames.plain("changes").to_dict("records")]


def _sentence(line: Mapping[Any, Any]) -> str:
    medians = (
        f"{line['name']} in {Norm(line['norm']).label}: median {figure(line['median_before'])} in {line['before']}, "
    )
    medians += f"{figure(line['median_after'])} in {line['after']}"
    if math.isnan(line["p_holm"]):
        return f"{medians}; the two had other attacks, so that their distances do not compare"
    ends = f"95% CI of the difference {figure(line['low'])} to {figure(line['high'])}"
    change = f"{line['change']} afterwards, confirmed" if line["change"] else "no change is confirmed"
    return f"{medians} ({ends}); {change} ({p_value(line['p_holm'])}, {line['images']:,} images)"
