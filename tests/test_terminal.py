"""What a terminal shows of a finished run."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import synthetic
from rich.console import Console

from bench import metrics, verdict
from bench.report import terminal
from bench.report.frames import Frames


def shown(width: int = 80, **changes: Any) -> list[str]:
    run = synthetic.run(**changes)
    frames = Frames(metrics.evidence(run.records(), run.manifest))
    console = Console(width=width, record=True, file=io.StringIO())
    for heading, table in terminal.tables(frames, width=width):
        console.print(heading, markup=False)
        console.print(table, "")
    for line in terminal.lines(frames.evidence, run.manifest, verdict.findings(frames.evidence, run.manifest)):
        console.print(line, markup=False)
    return console.export_text().splitlines()


@pytest.mark.parametrize("networks", [("MLP",), ("MLP", "CNN"), tuple(f"network {number}" for number in range(9))])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_lost(networks: tuple[str, ...]) -> None:
    lines = shown(networks=networks, samples=6)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for name in networks:
        assert len(re.findall(rf"\b{name}\b", text)) >= 3, "once in each norm"


def test_best_known_comes_first_and_attacks_follow_by_quality() -> None:
    lines = shown(networks=("MLP",), samples=30)
    start = lines.index("L2: median distance (grey level), 30 images")
    table = lines[start + 1 : lines.index("", start)]
    assert table[0].split() == ["attack", "MLP"]
    assert table[1].startswith("best known")
    bounds = [line for line in table if "≥" in line]
    assert bounds == table[2 : 2 + len(bounds)], "certified bounds come next"
    medians = [
        float(line.split()[-1]) for line in table[2 + len(bounds) :] if re.search(r"\d$", line) and "images" not in line
    ]
    best = float(table[1].split()[-1])
    assert medians[0] == pytest.approx(best, rel=0.2)
    assert medians[0] <= max(medians)
    assert float(bounds[0].split()[-1]) <= best


def test_it_says_which_images_and_what_to_make_of_them() -> None:
    few, many = shown(networks=("MLP",), samples=6), shown(networks=("MLP",), samples=40)
    assert any(line.startswith("Images: the first 6 of the test split of Made-up pictures") for line in few)
    assert "6 images: a first look, not a result" in few[-1]
    assert "first look" not in many[-1]
    assert re.match(r"Verdict: attacks (trustworthy|doubtful|not trustworthy|not assessed) on MLP", many[-1])
