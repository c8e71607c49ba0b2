"""What every row of every suite must keep, whatever its library."""

from __future__ import annotations

import importlib
import inspect
import random
import re

import numpy as np
import pytest
import rows
import torch
from closed_form import CASES, SHAPE
from torch import Tensor, nn

import suites
from bench import libraries
from bench.engine.queries import CountedNetwork
from bench.norms import Norm
from bench.specs import Access, AttackSpec, Coupling, Family, Hole, Origin, Start, Suite

CASE = CASES[1]
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
    assert (row.steps == "") == (not {"steps", "max_iter"} & set(row.params))
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
def test_the_seed_alone_decides(row: AttackSpec) -> None:
    row = rows.shortened(row)
    torch.manual_seed(1)
    first = rows.attack(row, CASE.problem(seed=5))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global state is what is tested
    random.seed(2)
    assert torch.equal(first, rows.attack(row, CASE.problem(seed=5)))


@rows.every_attack(twice=False)
def test_global_random_states_are_left_alone(row: AttackSpec) -> None:
    rows.attacker(row)  # what a library draws when it is imported is no attack's doing
    before = states()
    rows.attack(rows.shortened(row), CASE.problem().select(slice(0, 1)))
    assert states() == before


def states() -> tuple[object, ...]:
    """The states of the global sources of random numbers."""
    keys = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002 - what is tested
    return random.getstate(), keys, torch.get_rng_state().tolist()


@rows.every_attack(twice=False)
def test_images_networks_and_modes_are_left_alone(row: AttackSpec) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 4)).train()
    network[0].eval()
    images = torch.rand((1, *SHAPE))
    with torch.no_grad():
        labels = nn.Sequential(*(layer for layer in network if not isinstance(layer, nn.Dropout)))(images).argmax(1)
    problem = rows.unit(network, images, labels)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    rows.attack(rows.shortened(row), problem)
    assert torch.equal(problem.images, images)
    assert [layer.training for layer in network] == [False, True, True, True, True]
    assert network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())


@rows.every_attack(twice=False, only=lambda row: row.coupling is not Coupling.NOISE)
def test_an_image_alone_and_among_others_gets_the_same_candidate(row: AttackSpec) -> None:
    row = rows.shortened(row)
    problem = CASE.problem()
    together = rows.attack(row, problem)
    for index in range(len(problem)):
        one = slice(index, index + 1)
        # Up to the rounding of float32, which another size of batch changes.
        torch.testing.assert_close(together[one], rows.attack(row, problem.select(one)), atol=2e-5, rtol=1e-4)


@rows.every_attack(twice=False)
def test_queries_are_counted_and_a_decision_attack_asks_for_no_gradient(row: AttackSpec) -> None:
    counted = CountedNetwork(CASE.network)
    candidates = rows.attack(rows.shortened(row), rows.unit(counted, CASE.images[:2], CASE.labels[:2]))
    assert candidates.shape == (2, *SHAPE)
    assert candidates.dtype == torch.float32
    assert counted.forwards >= 2
    assert (counted.backwards > 0) == (row.method.access is Access.GRADIENT)


class WithClassesFarBehind(nn.Module):
    """The network, and classes that are never near."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return nn.functional.pad(logits, (0, self.classes), value=-30.0)


@rows.every_attack(twice=False)
def test_classes_that_are_never_near_cost_nothing_and_change_nothing(row: AttackSpec) -> None:
    row = rows.shortened(row)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 12)).eval().requires_grad_(False)
    images = torch.rand((2, 1, 4, 4))
    few, many = (CountedNetwork(WithClassesFarBehind(network, number)) for number in (1, 500))
    labels = network(images).argmax(1)
    candidates = [rows.attack(row, rows.unit(counted, images, labels)) for counted in (few, many)]
    torch.testing.assert_close(candidates[0], candidates[1], atol=2e-5, rtol=1e-4)
    assert few.backwards == many.backwards
    assert few.forwards == many.forwards


class NeverWrong(nn.Module):
    """Every image is in class 0, by a wide margin, and there is a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(SHAPE)), 4)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-0.01, 0.01, self.layer.weight.numel()).view_as(self.layer.weight))
            self.layer.bias.copy_(torch.tensor([10.0, 0.0, 0.0, 0.0]))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


@rows.every_attack(twice=False)
def test_a_failed_attack_returns_an_image_of_the_true_class(row: AttackSpec) -> None:
    network = NeverWrong()
    images = CASE.images[2:]
    problem = rows.unit(
        network, images, torch.zeros(len(images), dtype=torch.int64), starts=images.flip(0).unsqueeze(1)
    )
    candidates = rows.attack(rows.shortened(row), problem)
    assert candidates.shape == images.shape
    assert candidates.isfinite().all()
    assert (network(candidates).argmax(1) == 0).all()
    if row.start is not Start.IMAGE:
        assert torch.equal(candidates, images), "there is no start"


class OnlyBlackIsWrong(nn.Module):
    """Class 1 for images that are all but black, class 0 for all others."""

    def forward(self, images: Tensor) -> Tensor:
        total = images.flatten(1).sum(1)
        return torch.stack([total - 0.01, torch.zeros_like(total)], 1)


@rows.every_attack(twice=False, only=lambda row: row.method.family in (Family.CW, Family.REFERENCE))
def test_a_black_image_is_no_substitute_for_a_result(row: AttackSpec) -> None:
    row = rows.shortened(row)
    tiny = {name: 1 for name in (row.steps, "binary_search_steps") if name in row.params}
    params = {**row.params, **tiny, **({"initial_const": 1e-6} if "initial_const" in row.params else {})}
    failing = AttackSpec(method=row.method, library=row.library, norm=row.norm, target=row.target, params=params)
    problem = rows.unit(OnlyBlackIsWrong().eval(), CASE.images[:1], torch.zeros(1, dtype=torch.int64))
    assert (rows.attack(failing, problem) != 0).any(), "a black image that nothing led to"
