"""Every row of every suite against networks whose minimal distances are known in closed form."""

from __future__ import annotations

import copy

import closed_form
import numpy as np
import pytest
import rows
import torch
from closed_form import CASES, Case
from scipy.optimize import linprog, nnls
from torch import nn

from bench.norms import Norm, distances, without_small_changes
from bench.specs import AttackSpec

ROUNDING = 1e-5
"""How far below the optimum float32 images may lie."""


@rows.every_attack(slow=frozenset({"boundary", "cw", "cw-repaired", "bb", "hopskipjump"}))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_finds_the_optimum_within_its_bound(row: AttackSpec, case: Case) -> None:
    candidates = rows.attack(row, case.network, case.images, case.labels).double().numpy()
    if row.norm is Norm.L0:
        candidates = without_small_changes(case.images.numpy(), candidates)
    with torch.no_grad():
        logits = copy.deepcopy(case.network).double()(torch.from_numpy(candidates))
    found = (logits.argmax(1) != case.labels).numpy()
    ratios = distances(case.images.numpy(), candidates)[row.norm] / case.optimum(row.norm)

    assert candidates.min() >= 0
    assert candidates.max() <= 1
    assert (ratios[found] >= 1 - ROUNDING).all(), f"below the optimum: {ratios}"
    assert (ratios[found] <= row.bound).all(), f"above {row.bound} times the optimum: {ratios}"
    if row.defects:
        assert found.any()
    else:
        assert found.all(), f"not found: {found}"


@pytest.mark.parametrize("norm", [Norm.L0, Norm.L2, Norm.LINF])
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


def test_the_cases_have_the_box_active_and_not() -> None:
    for case in CASES:
        layer = case.network[1]
        assert isinstance(layer, nn.Linear)
        for index, (image, label) in enumerate(zip(case.images.flatten(1), case.labels.tolist(), strict=True)):
            normals = (layer.weight - layer.weight[label]).double()
            gaps = -(normals @ image.double() + (layer.bias - layer.bias[label]).double())
            others = torch.arange(len(normals)) != label
            without_box = (gaps[others] / normals[others].norm(dim=1)).min().item()
            if index < 2:
                assert case.optimum(Norm.L2)[index] == pytest.approx(without_box, rel=1e-5)
            else:
                assert case.optimum(Norm.L2)[index] > 1.1 * without_box
