"""A function of the user's as an attack."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
import torch
from torch import Tensor, nn

import suites
from adapters import own
from bench.errors import UsageError
from bench.norms import Norm
from bench.specs import Access, AttackSpec, Coupling, Start
from bench.testing.closed_form import BOXES, CASES

CASE = CASES[1]

FILE = '''
import torch
from adapters import own
from bench.specs import Suite

def invert(network, images, labels, *, towards=1.0):
    """The first image on the way to its negative that is in another class."""
    steps = torch.linspace(0, towards, 51)
    return torch.stack([_first(network, image, label, steps) for image, label in zip(images, labels)])

def _first(network, image, label, steps):
    way = torch.stack([image + step * (1 - 2 * image) for step in steps])
    wrong = network(way).argmax(1) != label
    return way[int(wrong.int().argmax())]

SUITE = Suite(name="mine", description="Mine.", rows=(own.row(invert, norm="linf"),), samples=3)
TEXT = "no function"
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("case", [*CASES, *BOXES], ids=str)
def test_a_function_of_a_file_is_a_row(file: Path, case: Any) -> None:
    row = own.row(f"{file}:invert", norm="linf", params={"towards": 1.0})
    assert row.name == "own-invert-linf"
    assert row.label == "invert Linf (own)"
    problem = case.problem()
    points = rows.attack(row, problem)
    assert (problem.network(points).argmax(1) != problem.labels).all()


def test_a_suite_of_ones_own_has_an_attack_of_ones_own(file: Path) -> None:
    (row,) = suites.load(str(file)).rows
    assert isinstance(row, AttackSpec)
    assert row.target == f"{file}:invert"
    assert torch.equal(
        rows.attack(row, CASE.problem()), rows.attack(own.row(f"{file}:invert", norm="linf"), CASE.problem())
    )


def test_a_file_is_executed_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    for factor in (0.25, 0.5):
        path.write_text(
            f"""
from pathlib import Path
with Path(__file__).with_suffix(".log").open("a") as log:
    log.write("executed\\n")
def dim(network, images, labels):
    return images * {factor}
"""
        )
        row = own.row(f"{path}:dim", norm="l2")
        for _ in range(3):
            assert torch.equal(rows.attack(row, CASE.problem()), CASE.images * factor)
    assert path.with_suffix(".log").read_text().count("executed") == 2


def test_a_function_that_no_file_has_runs_in_this_process() -> None:
    def shrink(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return images / 2

    row = own.row(shrink, norm=Norm.L2, name="Half as bright", access="decision", coupling="batch")
    assert row.name == "own-half-as-bright-l2"
    assert row.method.access is Access.DECISION
    assert row.coupling is Coupling.BATCH
    assert torch.equal(rows.attack(row, CASE.problem()), CASE.images / 2)
    own.LIVE.pop(row.target)
    with pytest.raises(UsageError, match="is a function of another process; write it to a file"):
        rows.attack(row, CASE.problem())


def test_where_a_function_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "importable_attack.py").write_text("def f(network, images, labels):\n    return images\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("importable_attack")
    assert own.row(module.f, norm="l2").target == "importable_attack:f"
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part != str(tmp_path)])
    importlib.invalidate_caches()
    assert own.row(module.f, norm="l2").target == f"{tmp_path}/importable_attack.py:f"
    monkeypatch.setattr(module, "__name__", "__main__")
    assert own.row(module.f, norm="l2").target == "live:f-l2", "a script is not executed again"
    assert own.row(lambda network, images, labels: images, norm="linf").name == "own-lambda-linf"


def test_functions_of_one_name_in_two_norms_are_two() -> None:
    def make(value: float) -> Any:
        return lambda network, images, labels: torch.full_like(images, value)

    dark, bright = own.row(make(0.0), norm="l2", name="grey"), own.row(make(1.0), norm="linf", name="grey")
    assert (rows.attack(dark, CASE.problem()) == 0).all()
    assert (rows.attack(bright, CASE.problem()) == 1).all()


def live(function: Any, **options: Any) -> AttackSpec:
    own.LIVE["live:f"] = function
    return own.row("live:f", norm="l2", **options)


def test_it_gets_copies_and_changes_nothing() -> None:
    def vandal(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        torch.manual_seed(99)
        images.fill_(0.5)
        labels.fill_(7)
        return images

    problem = CASE.problem()
    state = torch.get_rng_state()
    assert (rows.attack(live(vandal), problem) == 0.5).all()
    assert torch.equal(problem.images, CASE.images)
    assert torch.equal(problem.labels, CASE.labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_alone_decides() -> None:
    def noise(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return torch.rand_like(images) * random.random() * np.random.rand()  # noqa: NPY002 - what is tested

    first = rows.attack(live(noise), CASE.problem(seed=3))
    assert torch.equal(first, rows.attack(live(noise), CASE.problem(seed=3)))
    assert not torch.equal(first, rows.attack(live(noise), CASE.problem(seed=4)))


def test_a_row_with_a_start_gets_one() -> None:
    seen: dict[str, Tensor] = {}

    def keep(network: nn.Module, images: Tensor, labels: Tensor, starts: Tensor) -> Tensor:
        seen["starts"] = starts
        return starts

    problem = CASE.problem()
    points = rows.attack(live(keep, start=Start.NOISE), problem)
    assert torch.equal(points, seen["starts"])
    assert (problem.network(points).argmax(1) != problem.labels).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda network, images, labels: images[:, :, :5],
            r"the attack returned shape \(4, 1, 5, 8\), not \(4, 1, 8, 8\)",
        ),
        (lambda network, images, labels: images[:1], r"the attack returned shape \(1, 1, 8, 8\), not \(4, 1, 8, 8\)"),
        (lambda network, images, labels: None, "NoneType"),
    ],
)
def test_what_is_no_candidate_is_an_error(function: Any, message: str) -> None:
    with pytest.raises((ValueError, RuntimeError), match=message):
        rows.attack(live(function), CASE.problem())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{file}:missing", "has no 'missing'"),
        ("{file}:TEXT", "is a str; it must be a function"),
        ("elsewhere.py:f", "there is no file"),
        ("no-attack", "unknown attack 'no-attack'"),
    ],
)
def test_what_is_no_function_is_refused_in_a_line(file: Path, target: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows.attack(own.row(target.format(file=file), norm="l2"), CASE.problem())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"norm": "l3"}, "'l3' is not a valid Norm"), ({"norm": "l2", "name": "!"}, "cannot be called '!'")],
)
def test_a_row_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        own.row("live:f", **options)
