"""The step along the boundary: no worse than what a general solver finds, and never outside of box and trust region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from adapters.paper import trust_region
from adapters.paper.projections import length

NORMS = ("l1", "l2", "linf")


def problem(norm: str, seed: int, values: int = 6, radius: float = 0.3) -> trust_region.Boundary:
    """Points and images in the box, a normal, and a boundary that the trust region and the box reach."""
    generator = torch.Generator().manual_seed(seed)
    points, images, normal = (torch.rand((3, values), generator=generator) for _ in range(3))
    normal = normal - 0.5
    needed = 0.3 * radius * (2 * torch.rand(3, generator=generator) - 1) * normal.norm(dim=1)
    return trust_region.boundary(points, images, normal, needed=needed, radii=torch.full((3,), radius), norm=norm)


def farness(step: Tensor, one: trust_region.Boundary) -> Tensor:
    return length(one.back - step, one.norm)


@given(st.sampled_from(NORMS), st.integers(0, 10_000), st.integers(1, 40), st.sampled_from((0.01, 0.3, 3.0)))
def test_a_step_stays_in_the_box_and_in_the_trust_region(norm: str, seed: int, values: int, radius: float) -> None:
    one = problem(norm, seed, values, radius)
    step = one.step()
    assert step.isfinite().all()
    assert (step.norm(dim=1, keepdim=True) <= one.radii * (1 + 1e-5)).all()
    assert ((one.points + step >= -1e-6) & (one.points + step <= 1 + 1e-6)).all()


@pytest.mark.parametrize("norm", NORMS)
def test_steps_are_as_near_to_the_image_as_those_of_a_general_solver(norm: str) -> None:
    gaps = []
    for seed in range(40):
        one = problem(norm, seed)
        step = one.step()
        missed = (one.normal * step).sum(1, keepdim=True) - one.needed
        assert (missed.abs() <= 0.06 * one.radii).all(), "the step ends at the boundary"
        before, after = farness(torch.zeros_like(step), one), farness(step, one)
        best = [solved(one, row) for row in range(len(step))]
        gaps += [float((end - b) / begin) for end, begin, b in zip(after, before, best, strict=True) if b is not None]
    assert len(gaps) > 100
    assert max(gaps) < 0.25
    assert np.quantile(gaps, 0.9) < 0.03
    assert min(gaps) > -0.02, "no step is nearer than the nearest"


def solved(one: trust_region.Boundary, row: int) -> float | None:
    """The smallest distance to the image that SciPy finds; None where the problem has no point."""
    points, back, normal = (part[row].double().numpy() for part in (one.points, one.back, one.normal))
    needed, radius, values = float(one.needed[row]), float(one.radii[row]), len(points)
    # In L1 and Linf with bounds t of the differences, so that all is smooth: the unknowns are step and t.
    extra = {"l1": values, "l2": 0, "linf": 1}[one.norm]
    ones = np.ones((values, 1)) if one.norm == "linf" else np.eye(values)[:, :extra]
    start = np.concatenate([np.zeros(values), np.full(extra, np.abs(back).max())])
    side = np.concatenate([normal, np.zeros(extra)])
    constraints: list[Any] = [
        LinearConstraint(side[None], needed, needed),
        {"type": "ineq", "fun": lambda z: radius**2 - (z[:values] ** 2).sum()},
    ]
    if extra:
        constraints += [
            LinearConstraint(np.hstack([np.eye(values), ones]), lb=back),
            LinearConstraint(np.hstack([-np.eye(values), ones]), lb=-back),
        ]
    objective: Any = (lambda z: z[values:].sum()) if extra else (lambda z: ((z - back) ** 2).sum())
    found: Any = minimize(
        objective,
        start,
        method="SLSQP",
        bounds=[(-p, 1 - p) for p in points] + [(0, None)] * extra,
        constraints=constraints,
        options={"maxiter": 500, "ftol": 1e-10},
    )
    if not found.success:
        return None
    return float(np.linalg.norm(back - found.x[:values], {"l1": 1, "l2": 2, "linf": np.inf}[one.norm]))


@pytest.mark.parametrize("norm", NORMS)
def test_where_the_boundary_is_out_of_reach_the_step_goes_towards_it(norm: str) -> None:
    points, images = torch.full((1, 4), 0.5), torch.zeros(1, 4)
    normal = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    one = trust_region.boundary(
        points, images, normal, needed=torch.tensor([5.0]), radii=torch.tensor([0.2]), norm=norm
    )
    step = one.step()
    assert 0.19 <= step[0, 0] <= 0.2


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_normal_the_step_goes_to_the_image(norm: str) -> None:
    points, images = torch.full((1, 4), 0.5), torch.full((1, 4), 0.4)
    one = trust_region.boundary(
        points, images, torch.zeros(1, 4), needed=torch.zeros(1), radii=torch.ones(1), norm=norm
    )
    step = one.step()
    assert torch.allclose(step, images - points, atol=1e-3)
