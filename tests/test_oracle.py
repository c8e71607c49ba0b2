"""Every row of every suite against networks whose minimal distances are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import rows
from scipy.optimize import linprog, nnls
from tolerances import TOLERANCES, tolerance

from bench.norms import Norm
from bench.specs import AttackSpec
from bench.testing import closed_form
from bench.testing.attacks import check_optimum
from bench.testing.closed_form import BOXES, CASES, Case

SLOW = frozenset({"boundary", "cw", "bb", "geoda", "hopskipjump", "signopt"})


@rows.every_attack(slow=SLOW)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_finds_the_optimum_within_its_tolerance(row: AttackSpec, case: Case) -> None:
    check_optimum(row, case, tolerance(row.name))


@rows.every_attack(slow=SLOW, twice=False)
@pytest.mark.parametrize("case", BOXES, ids=str)
def test_a_row_finds_the_optimum_in_another_box_and_on_inputs_that_are_no_images(row: AttackSpec, case: Case) -> None:
    check_optimum(row, case, tolerance(row.name))


def test_every_tolerance_has_a_row_and_a_reason() -> None:
    assert set(TOLERANCES) <= set(rows.METHODS)
    assert all(reason for _, reason in TOLERANCES.values())


@pytest.mark.parametrize("norm", list(Norm))
def test_the_closed_forms_agree_with_a_solver(norm: Norm) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        size = 5
        normal, x = random.standard_normal(size), np.round(random.random(size), int(random.integers(0, 3)))
        offset = -normal @ x - 0.5 * np.abs(normal).sum() * random.random()
        answer = closed_form.half_space(normal, offset, x, norm)
        room = [(-value, 1 - value) for value in x]
        missing = -(normal @ x + offset)
        if norm is Norm.LINF:
            # Variables: the changes and their largest size.
            most = np.hstack([np.vstack([np.eye(size), -np.eye(size)]), -np.ones((2 * size, 1))])
            solved = linprog(
                np.r_[np.zeros(size), 1],
                A_ub=np.vstack([most, np.r_[-normal, 0]]),
                b_ub=np.r_[np.zeros(2 * size), -missing],
                bounds=[*room, (0, None)],
            )
            expected = solved.fun if solved.success else np.inf
        elif norm is Norm.L1:
            # Variables: how far each value goes up, and down.
            solved = linprog(
                np.ones(2 * size),
                A_ub=np.r_[-normal, normal][None],
                b_ub=[-missing],
                bounds=[*((0, high) for _, high in room), *((0, -low) for low, _ in room)],
            )
            expected = solved.fun if solved.success else np.inf
        elif norm is Norm.L2:
            sides = np.vstack([normal, np.eye(size), -np.eye(size)])
            limits = np.r_[missing, [low for low, _ in room], [-high for _, high in room]]
            if np.maximum(normal * (1 - x), -normal * x).sum() < missing:
                expected = np.inf
            else:
                # Least distance programming of Lawson and Hanson, chapter 23.
                residual_system = np.vstack([sides.T, limits])
                target = np.r_[np.zeros(size), 1.0]
                multipliers, _ = nnls(residual_system, target)
                residual = residual_system @ multipliers - target
                expected = float(np.linalg.norm(residual[:size] / residual[size]))
        else:
            subsets = [np.array([bit == "1" for bit in f"{number:0{size}b}"]) for number in range(2**size)]
            gains = np.maximum(normal * (1 - x), -normal * x)
            expected = min((subset.sum() for subset in subsets if gains @ subset >= missing), default=np.inf)
        assert answer == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", [*CASES, *BOXES], ids=str)
def test_the_cases_have_the_box_active_and_not(case: Case) -> None:
    for index, (image, label) in enumerate(
        zip(case.images.flatten(1).double().numpy(), case.labels.tolist(), strict=True)
    ):
        normals = case.weights - case.weights[label]
        gaps = -(normals @ image + case.bias - case.bias[label])
        others = np.arange(len(normals)) != label
        without_box = (gaps[others] / np.linalg.norm(normals[others], axis=1)).min() * case.domain.scale(Norm.L2)
        if index < 2:
            assert case.optimum(Norm.L2)[index] == pytest.approx(without_box, rel=1e-5)
        else:
            assert case.optimum(Norm.L2)[index] > 1.1 * without_box
