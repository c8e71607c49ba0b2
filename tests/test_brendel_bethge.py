"""Brendel-Bethge from many starts: which of them it takes, and what becomes of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adapters.paper import brendel_bethge
from adapters.paper.attacks import BrendelBethge
from adapters.paper.projections import length
from adapters.view import View

NORMS = ("l1", "l2", "linf")


class Pockets(nn.Module):
    """Points of the unit square: class 1 within a disc of radius 0.1 around (0.3, 0.5), or around (0.9, 0.5); else class 0."""

    def forward(self, points: Tensor) -> Tensor:
        """(n, 2) to (n, 2)."""
        centres = points.new_tensor([[0.3, 0.5], [0.9, 0.5]])
        depth = (0.1 - (points.unsqueeze(1) - centres).square().sum(2).clamp(min=1e-12).sqrt()).amax(1)
        return torch.stack([-depth, depth], 1)


def candidate(starts: list[list[float]], norm: str = "l2", image: tuple[float, float] = (0.1, 0.5)) -> Tensor:
    attack = BrendelBethge(norm=norm)
    images, labels = torch.tensor([image]), torch.zeros(1, dtype=torch.int64)
    return attack.run_from(View(Pockets()), images, labels, torch.tensor([starts]))


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_of_what_all_starts_lead_to_is_kept(norm: str) -> None:
    image = torch.tensor([[0.1, 0.5]])
    far, both = (candidate(starts, norm) for starts in ([[0.92, 0.5]], [[0.92, 0.5], [0.32, 0.52]]))
    assert float(length(far - image, norm)) == pytest.approx(0.7, rel=0.01)
    assert float(length(both - image, norm)) == pytest.approx(0.1, rel=0.01)


def test_starts_that_are_not_adversarial_are_passed_over() -> None:
    found = candidate([[0.5, 0.1], [torch.nan, torch.nan], [0.92, 0.5]])
    assert found[0].tolist() == pytest.approx([0.8, 0.5], abs=2e-3)
    assert candidate([[0.5, 0.1]])[0].tolist() == pytest.approx([0.1, 0.5])


def test_no_more_starts_are_taken_than_asked_for() -> None:
    attack = BrendelBethge(norm="l2", starts=1)
    images, labels = torch.tensor([[0.1, 0.5]]), torch.zeros(1, dtype=torch.int64)
    starts = torch.tensor([[[0.5, 0.1], [0.92, 0.5], [0.32, 0.52]]])
    assert attack.run_from(View(Pockets()), images, labels, starts)[0, 0] > 0.5, "the first one that is adversarial"


@pytest.mark.parametrize("norm", NORMS)
def test_many_images_pass_a_part_at_a_time(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    network = nn.Linear(12, 4).requires_grad_(False)
    network.weight.copy_(torch.randn((4, 12), generator=generator))
    images, starts = torch.rand((5, 12), generator=generator), torch.rand((5, 3, 12), generator=generator)
    labels = network(images).argmax(1)
    attack = BrendelBethge(norm=norm)
    whole = attack.run_from(View(network), images, labels, starts)
    monkeypatch.setattr(brendel_bethge, "VALUES", 2 * attack.starts * 12)
    parts = attack.run_from(View(network), images, labels, starts)
    assert torch.allclose(length(whole - images, norm), length(parts - images, norm), rtol=1e-3)
