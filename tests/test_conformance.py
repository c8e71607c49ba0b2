"""What every row of every suite must keep, whatever its library."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable

import numpy as np
import pytest
import rows
import torch
from torch import Tensor, nn

import suites
from bench import libraries
from bench.engine.queries import CurveNetwork
from bench.norms import Norm
from bench.records import query_counts
from bench.specs import Access, AttackSpec, Family, Hole, Origin, Start, Suite
from bench.testing.attacks import CASE, CHECKS, never_wrong

LIBRARIES = ("art", "foolbox")

SUITES = [suites.load(name) for name in suites.names()]
every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)


@every_suite
def test_a_suite_is_called_after_its_file_and_describes_itself(suite: Suite) -> None:
    assert suite.name in suites.names()
    assert suite.description.endswith(".")
    assert suite.samples > 0
    assert suite.rows


@every_suite
def test_names_and_labels_are_unique_in_a_suite(suite: Suite) -> None:
    assert len({row.name for row in suite.rows}) == len(suite.rows)
    assert len({row.label for row in suite.rows}) == len(suite.rows)


@pytest.mark.parametrize(("name", "norms"), [("minimal_norm", (Norm.L0, Norm.L2, Norm.LINF)), ("l1", (Norm.L1,))])
def test_every_cell_of_the_grid_is_filled_or_a_hole_with_its_reason(name: str, norms: tuple[Norm, ...]) -> None:
    suite = suites.load(name)
    assert {row.norm for row in suite.rows} == set(norms)
    filled = {(row.method.family, row.norm, row.library) for row in suite.rows if isinstance(row, AttackSpec)}
    holes = {(hole.family, hole.norm, hole.library) for hole in suite.holes}
    for family in (Family.DEEPFOOL, Family.CW, Family.BOUNDARY):
        for norm in norms:
            for library in LIBRARIES:
                cell = (family, norm, library)
                assert (cell in filled) != (cell in holes), cell
    names = {row.name for row in suite.rows}
    for hole in suite.holes:
        assert isinstance(hole, Hole)
        assert len(hole.reason) > 20
        assert set(re.findall(r"paper-[a-z0-9-]+", hole.reason)) <= names, "it names a row that there is not"


@rows.every_attack()
def test_a_row_is_complete(row: AttackSpec) -> None:
    method = row.method
    library = libraries.load(row.library)
    assert library.attacker
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
    assert method.title
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", method.paper)
    assert method.idea.count(". ") == 1, "the idea takes two sentences"
    assert method.idea.endswith(".")
    assert method.formula
    assert set(row.reasons) <= {*row.params, "cap"}, "a reason for a parameter that is not there"
    assert all(row.reasons.values())
    assert (row.cap is None) == ("cap" not in row.reasons)
    assert row.cap is None or row.cap > 0
    assert row.block > 0
    assert row.batch is None or row.batch > 0
    assert row.defects == "" or row.defects.endswith(".")
    assert (row.origin is Origin.PORT) == library.ours
    assert (row.origin is Origin.REPAIRED) == (row.variant is not None)
    assert (row.steps == "") == (not {"steps", "max_iter", "num_steps", "n_iter"} & set(row.params))
    assert row.steps == "" or isinstance(row.params[row.steps], int)


@rows.every_attack()
def test_a_row_says_its_norm_once_or_twice_the_same(row: AttackSpec) -> None:
    said = {str(row.params[name]).removeprefix("l") for name in ("norm", "constraint") if name in row.params}
    assert said <= {row.norm.value.removeprefix("l")}


@rows.every_attack()
def test_the_target_resolves_and_takes_the_parameters(row: AttackSpec) -> None:
    module, _, name = row.target.partition(":")
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert set(row.params) <= set(known)
    unlike = {key for key, value in row.params.items() if value != known[key].default}
    assert unlike - {"norm", "constraint"} <= set(row.reasons), "other than the default, without a reason"


@rows.every_attack(twice=False)
@pytest.mark.parametrize("check", CHECKS.values(), ids=list(CHECKS))
def test_a_row_keeps_what_every_attack_must(row: AttackSpec, check: Callable[[AttackSpec], None]) -> None:
    check(rows.shortened(row))


@rows.every_attack(twice=False)
def test_a_failed_attack_returns_an_image_of_the_true_class(row: AttackSpec) -> None:
    problem = never_wrong()
    candidates = rows.attack(rows.shortened(row), problem)
    assert candidates.isfinite().all()
    assert (problem.network(candidates).argmax(1) == 0).all()
    if row.start is not Start.IMAGE:
        assert torch.equal(candidates, problem.images), "there is no start"


@rows.every_attack(twice=False, only=lambda row: row.method.access is Access.DECISION)
def test_what_a_decision_based_attack_returns_is_at_the_end_of_its_curve(row: AttackSpec) -> None:
    problem = CASE.problem()
    watched = CurveNetwork(problem.network, problem.images, problem.labels, row.norm)
    short = dataclasses.replace(rows.shortened(row), block=len(problem))
    candidates = rows.attack(short, dataclasses.replace(problem, network=watched))
    curve = watched.curve
    assert len(curve) == len(query_counts(watched.forwards / len(problem)))
    assert (curve[1:] <= curve[:-1]).all()
    distances = row.norm.of((candidates - problem.images).numpy())
    fooled = (problem.network(candidates).argmax(1) != problem.labels).numpy()
    assert fooled.any()
    assert np.isfinite(curve[-1][fooled]).all()
    # A point that is nearer to another image of the call is noted for that one.
    apart = torch.cdist(candidates.flatten(1), problem.images.flatten(1))
    own = fooled & (apart.argmin(1) == torch.arange(len(problem))).numpy()
    assert own.any()
    assert (watched.lengths[own] <= distances[own] * (1 + 1e-6)).all(), "it was asked about"


class OnlyBlackIsWrong(nn.Module):
    """Class 1 for images that are all but black, class 0 for all others."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([total - 0.01, torch.zeros_like(total)], 1)


# FAB projects on the boundary exactly, and minimal APGD begins with all of the box: they are led to black.
@rows.every_attack(
    twice=False,
    only=lambda row: (
        row.method.family in (Family.CW, Family.REFERENCE)
        and row.method.slug not in ("fab", "apgd-t")
        and row.library != "advlib"
    ),
)
def test_a_black_image_is_no_substitute_for_a_result(row: AttackSpec) -> None:
    row = rows.shortened(row)
    tiny = {name: 1 for name in (row.steps, "binary_search_steps") if name in row.params}
    params = {**row.params, **tiny, **({"initial_const": 1e-6} if "initial_const" in row.params else {})}
    failing = AttackSpec(method=row.method, library=row.library, norm=row.norm, target=row.target, params=params)
    problem = rows.unit(OnlyBlackIsWrong().eval(), CASE.images[:1], torch.zeros(1, dtype=torch.int64))
    assert (rows.attack(failing, problem) != 0).any(), "a black image that nothing led to"
