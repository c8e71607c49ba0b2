"""Step counts are pinned where the committed evidence says so."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from bench.guide import step_counts
from bench.guide.step_counts import Measured
from bench.specs import AttackSpec

PAGE = Path(__file__).parent.parent / "docs" / "step_counts.md"
ROWS = step_counts.rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@every_row
def test_the_committed_page_has_the_row_with_its_steps_and_a_reason_where_more_would_help(row: AttackSpec) -> None:
    (found,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {row.label} |")]
    cells = [cell.strip() for cell in found.strip("|").split("|")]
    assert cells[1] == str(row.params[row.steps])
    verdict = cells[-1]
    assert verdict == "enough" or len(verdict.partition("; ")[2]) > 20


def test_the_committed_page_has_nothing_else() -> None:
    text = PAGE.read_text()
    assert text.startswith(step_counts.HEAD)
    assert len(text.removeprefix(step_counts.HEAD).splitlines()) == len(ROWS)


@every_row
def test_steps_are_scaled_and_never_none(row: AttackSpec) -> None:
    for factor in (1e-6, *step_counts.FACTORS):
        other = step_counts.scaled(row, factor)
        assert other.params[row.steps] == max(1, round(int(str(row.params[row.steps])) * factor))
        assert dataclasses.replace(other, params=row.params) == row


@pytest.mark.parametrize(
    ("medians", "gain", "verdict"),
    [
        (((4.0, 3.0, 2.0, 1.995), (3.0, 3.0, 3.0, 3.0)), 0.0025, "enough"),
        (((4.0, 3.0, 2.0, 2.5), (8.0, 7.0, 4.0, 3.0)), 0.25, "25.0% less; why it stops"),
        (((math.inf, math.inf, math.inf, 1.0), (1.0, 1.0, 1.0, 1.0)), 1.0, "100.0% less; why it stops"),
        (((math.inf,) * 4, (math.inf,) * 4), 0.0, "enough"),
    ],
)
def test_the_verdict_is_the_networks_that_gains_most(
    medians: tuple[tuple[float, ...], ...], gain: float, verdict: str
) -> None:
    row = dataclasses.replace(ROWS[0], reasons={ROWS[0].steps: "why it stops"})
    measured = Measured(row, 7, medians)
    assert measured.gain == pytest.approx(gain)
    cells = [cell.strip() for cell in step_counts.line(measured).strip("|").split("|")]
    assert cells[0] == row.label
    assert cells[2] == "7"
    assert len(cells) == 12
    assert cells[-1] == verdict


def test_more_steps_of_a_row_are_run_and_judged() -> None:
    (row,) = [row for row in ROWS if row.name == "foolbox-ddn-l2"]
    measured = step_counts.measure(dataclasses.replace(row, params={**row.params, "steps": 40}), images=4)
    assert measured.images == 4
    assert all(0 < last < math.inf for *_, last in measured.medians)
    assert all(last < 1.02 * first for first, *_, last in measured.medians)
