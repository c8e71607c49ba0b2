"""Suites are found by name or by file, and their rows can be picked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import suites
from bench.engine.request import Given, Request, resolve
from bench.errors import UsageError
from bench.norms import Norm
from bench.specs import AttackSpec, Family, Suite, VerifierSpec

MINE = """
from bench.specs import Suite
import suites

SUITE = Suite(name="mine", description="Mine.", rows=suites.rows(norm="linf", library="foolbox"), samples=3)
EMPTY = Suite(name="empty", description="Nothing.", rows=(), samples=3)
TWICE = Suite(name="twice", description="Twice.", rows=(*SUITE.rows, *SUITE.rows), samples=3)
NONE = "a suite"
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_suite_of_ones_own_is_found_by_its_file(mine: Path) -> None:
    for text in (str(mine), f"{mine}:SUITE"):
        suite = suites.load(text)
        assert suite.name == "mine"
        assert {row.norm for row in suite.rows} == {Norm.LINF}
        assert {row.library for row in suite.rows} == {"foolbox"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NONE", "is a str; it must be a bench.specs.Suite"),
        ("EMPTY", "has no rows"),
        ("TWICE", "has the row 'foolbox-deepfool-linf' more than once"),
        ("MISSING", "has no 'MISSING'"),
    ],
)
def test_what_is_no_suite_is_refused_in_a_line(mine: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        suites.load(f"{mine}:{name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "often"}, "variant is 'often'.* must be a .*Variant"),
        ({"method": "FGSM"}, "method is 'FGSM'.* must be a Method"),
        ({"norm": "l7"}, "norm is 'l7': it must be one of l0, l1, l2, linf"),
        ({"block": 0}, "block is 0: Expected int >= 1"),
        ({"batch": 0}, "batch is 0: Expected int >= 1"),
        ({"cap": 2.5}, r"cap is 2\.5: Expected int . None, got float"),
        ({"block": True}, "block is True: Expected int, got bool"),
        ({"params": {"steps": [1, 2]}}, "params is .*got tuple"),
        ({"params": {"network": object()}}, "params is .*unsupported"),
        ({"reasons": "none"}, "reasons is 'none'"),
        ({"steps": "rounds"}, "steps is 'rounds', which is none of its params"),
    ],
)
def test_a_row_with_a_field_of_another_kind_is_refused_in_a_line(changes: dict[str, object], message: str) -> None:
    row = replace(suites.rows(name="foolbox-ddn-l2")[0], **changes)  # type: ignore[arg-type]
    suite = Suite(name="mine", description="Mine.", rows=(row,), samples=3)
    with pytest.raises(UsageError, match=message) as caught:
        suites.usable(suite, "mine")
    assert "rows[0]" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=message):
        resolve(Request(suite="mine", networks=("MLP",)), Given(suite=suite))


@pytest.mark.parametrize(
    "changes", [{"samples": 0}, {"samples": "ten"}, {"rows": 3}, {"rows": ("DDN",)}, {"networks": "MLP"}]
)
def test_a_suite_with_a_field_of_another_kind_is_refused_in_a_line(changes: dict[str, object]) -> None:
    suite = replace(suites.load("quick"), **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=next(iter(changes))):
        suites.usable(suite, "mine")


def test_an_enum_may_be_given_by_its_value() -> None:
    row = replace(suites.rows(name="foolbox-ddn-l2")[0], norm="l2", start="image")  # type: ignore[arg-type]
    (found,) = suites.usable(Suite(name="mine", description="Mine.", rows=(row,), samples=3), "mine").rows
    assert found.norm is Norm.L2
    assert found.label == "DDN L2 (Foolbox)"


@pytest.mark.parametrize("name", suites.names())
def test_a_suite_of_ours_stays_as_it_is(name: str) -> None:
    suite = suites.SUITES.find(name).value
    assert suites.load(name) == suite


@pytest.mark.parametrize("name", ["quick", "minimal_norm", "strong"])
def test_l1_is_run_where_it_is_asked_for(name: str) -> None:
    suite = suites.load(name)
    assert Norm.L1 not in {row.norm for row in suite.rows}
    asked = resolve(Request(suite=name, norms=("l1", "l2"))).plan.rows
    assert {row.norm for row in asked} == {Norm.L1, Norm.L2}
    assert set(suites.rows(norm="l1", suite=name)) == {row for row in asked if row.norm is Norm.L1} | {
        row for row in suite.on_request if isinstance(row, VerifierSpec) and row.seconds == 0
    }
    assert Norm.L1 not in {row.norm for row in suites.rows(suite=name, library="foolbox")}


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"unknown suite 'minimal'; known: .*minimal_norm.*, quick, .*path/to/file\.py"
    ):
        suites.load("minimal")


def test_rows_are_picked() -> None:
    assert suites.rows() == suites.load("minimal_norm").rows
    assert suites.rows(suite="smoke") == suites.load("smoke").rows
    picked = suites.rows(norm=Norm.L2, family=Family.DEEPFOOL, library="art")
    assert [row.name for row in picked] == ["art-deepfool-l2"]
    assert suites.rows(name="foolbox-ddn-l2")[0].library == "foolbox"
    assert all(isinstance(row, AttackSpec) for row in suites.rows(family="C&W"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"norm": "l3"}, "unknown norm 'l3'; known: l0, l1, l2, linf"),
        ({"library": "fools"}, "unknown library 'fools'; known: art, certify, foolbox, paper"),
        ({"name": "ddn"}, "unknown row 'ddn'; known: art-bb-l0, art-bb-l1"),
        ({"norm": "l1", "suite": "smoke"}, "unknown norm 'l1'"),
    ],
)
def test_what_leaves_nothing_is_refused(asked: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        suites.rows(**asked)


def test_the_quick_suite_has_every_norm_and_its_lower_bound() -> None:
    quick = suites.load("quick")
    for norm in (Norm.L0, Norm.L2, Norm.LINF):
        kinds = [row.kind.value for row in quick.rows if row.norm is norm]
        assert kinds.count("upper") >= 2
        assert kinds.count("lower") == 1
