"""The page of attacks is what the suites say."""

from __future__ import annotations

from pathlib import Path

import pytest
import rows

import suites
from bench.guide import describe
from bench.specs import AttackSpec, Suite

PAGE = Path(__file__).parent.parent / "docs" / "attacks.md"


def test_the_committed_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main() == 0
    assert PAGE.read_text() == capsys.readouterr().out, "python -m bench.guide.describe > docs/attacks.md"


@rows.every_attack()
def test_an_attack_is_described(row: AttackSpec) -> None:
    page = describe.page()
    assert row.method.idea in page
    assert row.method.formula in page
    assert row.label in page
    if row.name in {other.name for other in suites.load("minimal_norm").rows}:
        assert f"`{row.name}`" in page


@pytest.mark.parametrize("suite", [suites.load(name) for name in suites.names()], ids=lambda suite: suite.name)
def test_holes_and_suites_are_described(suite: Suite) -> None:
    page = describe.page()
    assert suite.name in page
    for hole in suite.holes:
        assert hole.reason in page
