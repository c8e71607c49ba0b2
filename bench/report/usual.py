"""The first screen in words: robust accuracy at the sizes of change that papers use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.norms import Norm
from bench.report import data
from bench.report.frames import Frames
from bench.report.tables import percentage


def at_usual_eps(frames: Frames, title: str) -> Mapping[str, str]:
    """For each norm with a usual eps, what is left of each network's accuracy at the most usual one.

    Args:
        frames: of the run.
        title: of the dataset.

    Returns:
        Norm -> a sentence.
    """
    content = frames["robust_accuracy"]
    sentences = {}
    for norm, usual in frames.evidence.usual.items():
        lines = content[(content["norm"] == norm.value) & (content["eps"] == usual[0])]
        if len(lines):
            parts = [_network(line) for line in lines.to_dict("records")]
            sentences[norm.value] = f"{_head(frames, norm, usual[0], title)}: {'; '.join(parts)}."
    return sentences


def _head(frames: Frames, norm: Norm, eps: float, title: str) -> str:
    size = data.distance(frames.evidence.domain, norm, eps)
    return f"Robust accuracy at the usual eps of {title}, {size}, is at most"


def _network(line: Mapping[Any, Any]) -> str:
    """``CNN 12% (95% CI 6 to 23), certified 0%``."""
    value, low, high, certified = (float(line[key]) for key in ("robust_accuracy", "low", "high", "certified"))
    shown = f"{line['network']} {percentage(value, 0)} (95% CI {100 * low:.0f} to {100 * high:.0f})"
    return shown if math.isnan(certified) else f"{shown}, certified {percentage(certified, 0)}"
