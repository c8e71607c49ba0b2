"""FMN at the ends of the box."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adapters.paper.attacks import FMN
from adapters.view import View


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_value_that_cannot_move_does_not_hold_up_the_others(norm: str) -> None:
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0, 0.0], [1000.0, 1.0]]))
        network.bias.copy_(torch.tensor([0.0, -1000.7]))
    image = torch.tensor([[1.0, 0.2]])  # the first value is at its end already: the second one has to reach 0.7
    attack = FMN(norm=norm, steps=200)
    found = attack.run(View(network.requires_grad_(False)), image, torch.tensor([0]))
    assert found[0].tolist() == pytest.approx([1.0, 0.7], abs=0.01)
