"""What every row of every suite must keep, whatever its library."""

from __future__ import annotations

import importlib
import inspect
import math
import random
import re

import numpy as np
import pytest
import rows
import torch
from closed_form import CASES, SHAPE
from torch import nn

import suites
from adapters import base
from bench.engine.queries import CountedNetwork
from bench.norms import Norm
from bench.specs import Access, AttackSpec, Family, Hole, Origin, Suite

CASE = CASES[1]

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


def test_every_cell_of_the_grid_is_filled_or_a_hole_with_its_reason() -> None:
    suite = suites.load("minimal_norm")
    filled = {(row.method.family, row.norm, row.library) for row in suite.rows if isinstance(row, AttackSpec)}
    holes = {(hole.family, hole.norm, hole.library) for hole in suite.holes}
    for family in (Family.DEEPFOOL, Family.CW, Family.BOUNDARY):
        for norm in (Norm.L0, Norm.L2, Norm.LINF):
            for library in ("art", "foolbox"):
                assert ((family, norm, library) in filled) != ((family, norm, library) in holes), (
                    family,
                    norm,
                    library,
                )
    for hole in suite.holes:
        assert isinstance(hole, Hole)
        assert len(hole.reason) > 20


@rows.every_attack()
def test_a_row_is_complete(row: AttackSpec) -> None:
    method = row.method
    assert row.library in base.libraries()
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", method.slug)
    assert method.title
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", method.paper)
    assert method.idea.count(". ") == 1, "the idea takes two sentences"
    assert method.idea.endswith(".")
    assert method.formula
    assert set(row.reasons) <= {*row.params, "cap"}, "a reason for a parameter that is not there"
    assert all(row.reasons.values())
    assert (row.cap is None) == ("cap" not in row.reasons)
    assert row.cap is None or row.cap > 0
    assert row.batch > 0
    assert math.isfinite(row.bound)
    assert (row.bound == 1.25) == (not row.bound_reason), "another bound has a reason"
    assert (row.origin is Origin.PORT) == row.target.startswith("adapters.paper.attacks:")


@rows.every_attack()
def test_the_target_resolves_and_takes_the_parameters(row: AttackSpec) -> None:
    module, _, name = row.target.partition(":")
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert set(row.params) <= set(known)
    unlike = {key for key, value in row.params.items() if value != known[key].default}
    assert unlike - {"norm", "constraint"} <= set(row.reasons), "other than the default, without a reason"


@rows.every_attack()
def test_the_seed_alone_decides(row: AttackSpec) -> None:
    row = rows.shortened(row)
    torch.manual_seed(1)
    first = rows.attack(row, CASE.network, CASE.images, CASE.labels, seed=5)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global state is what is tested
    random.seed(2)
    assert torch.equal(first, rows.attack(row, CASE.network, CASE.images, CASE.labels, seed=5))


@rows.every_attack()
def test_global_random_states_are_left_alone(row: AttackSpec) -> None:
    base.load(row.library)  # what a library draws when it is imported is no attack's doing
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002 - as above
    rows.attack(rows.shortened(row), CASE.network, CASE.images[:1], CASE.labels[:1])
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # noqa: NPY002 - as above
    assert torch.equal(torch.get_rng_state(), before[2])


@rows.every_attack()
def test_an_image_alone_and_among_others_gets_the_same_candidate(row: AttackSpec) -> None:
    row = rows.shortened(row)
    together = rows.attack(row, CASE.network, CASE.images, CASE.labels)
    for index in range(len(CASE.images)):
        one = slice(index, index + 1)
        alone = rows.attack(row, CASE.network, CASE.images[one], CASE.labels[one])
        # Up to the rounding of float32, which another size of batch changes.
        torch.testing.assert_close(together[one], alone, atol=2e-5, rtol=1e-4)


@rows.every_attack()
def test_queries_are_counted_and_a_decision_attack_asks_for_no_gradient(row: AttackSpec) -> None:
    counted = CountedNetwork(CASE.network)
    candidates = rows.attack(rows.shortened(row), counted, CASE.images[:2], CASE.labels[:2])
    assert candidates.shape == (2, *SHAPE)
    assert candidates.dtype == torch.float32
    assert counted.forwards >= 2
    assert (counted.backwards > 0) == (row.method.access is Access.GRADIENT)


class NeverWrong(nn.Module):
    """Puts every image in class 0, by a wide margin, and still has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(SHAPE)), 4)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-0.01, 0.01, self.layer.weight.numel()).view_as(self.layer.weight))
            self.layer.bias.copy_(torch.tensor([10.0, 0.0, 0.0, 0.0]))
        self.requires_grad_(False).eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images.flatten(1))
        return logits


@rows.every_attack()
def test_a_failed_attack_returns_an_image_of_the_true_class(row: AttackSpec) -> None:
    network = NeverWrong()
    images = CASE.images[2:]
    candidates = rows.attack(rows.shortened(row), network, images, torch.zeros(len(images), dtype=torch.int64))
    assert candidates.shape == images.shape
    assert candidates.isfinite().all()
    assert (network(candidates).argmax(1) == 0).all()


class OnlyBlackIsWrong(nn.Module):
    """Class 1 for images that are all but black, class 0 for all others."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([total - 0.01, torch.zeros_like(total)], 1)


@rows.every_attack()
def test_a_black_image_is_no_substitute_for_a_result(row: AttackSpec) -> None:
    row = rows.shortened(row)
    tiny = {name: 1 for name in ("steps", "max_iter", "binary_search_steps") if name in row.params}
    params = {**row.params, **tiny, **({"initial_const": 1e-6} if "initial_const" in row.params else {})}
    candidates = rows.attack(
        AttackSpec(
            method=row.method, library=row.library, norm=row.norm, target=row.target, params=params, batch=row.batch
        ),
        OnlyBlackIsWrong(),
        CASE.images[:1],
        torch.zeros(1, dtype=torch.int64),
    )
    if row.method.family in (Family.CW, Family.REFERENCE):
        assert (candidates != 0).any(), "a black image that nothing led to"
