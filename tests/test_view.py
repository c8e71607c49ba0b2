"""Views of networks: what an attack sees, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adapters import art_classifier, foolbox_model
from adapters.view import View

SHAPE = (1, 6, 6)


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 4)
    )


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(36, 4)))


class KeepsItsLastOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
        self.last: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.last = self.body(images)
        return self.last


class CountsItsModes(nn.Module):
    """More happens in ``train`` than setting the flags."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 4)
        self.merged = False

    def train(self, mode: bool = True) -> CountsItsModes:
        self.merged = not mode
        super().train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        assert self.merged
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def scripted() -> nn.Module:
    with pytest.warns(FutureWarning, match="deprecated"):
        module: nn.Module = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Dropout(0.5)))
    return module


NETWORKS = [cnn, old_weight_norm, KeepsItsLastOutput, CountsItsModes, scripted]


def art(network: nn.Module) -> Callable[[Tensor], Tensor]:
    classifier = art_classifier(network, shape=SHAPE, box=(0, 1))
    return lambda images: torch.from_numpy(classifier.predict(images.numpy()))


WRAPPED: dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {
    "view": View,
    "foolbox": lambda network: foolbox_model(network, box=(0, 1)),
    "art": art,
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", NETWORKS)
def test_it_is_the_network_in_eval_mode_now_and_later(
    make: Callable[[], nn.Module], training: bool, wrap: Callable[[nn.Module], Callable[[Tensor], Tensor]]
) -> None:
    torch.manual_seed(0)
    network = make()
    images = torch.rand((3, *SHAPE))
    network.eval()
    before = network(images).detach()
    network.train(training)
    view = wrap(network)
    for _ in range(2):
        assert torch.equal(view(images).detach(), before)
        assert network.training is training
        assert all(layer.training is training for layer in network.modules())
    with torch.no_grad():
        list(network.parameters())[-1].add_(1.0)
    assert not torch.equal(view(images).detach(), before), "what changes the network is seen"
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_layer_with_a_mode_of_its_own_keeps_it() -> None:
    network = cnn().train()
    network[1].eval()  # type: ignore[index]  # a Sequential
    View(network)(torch.rand((2, *SHAPE)))
    assert [layer.training for layer in network.children()] == [True, False, True, True, True, True]


def test_no_gradient_of_a_parameter_is_computed() -> None:
    network = cnn()
    variable = torch.rand((2, *SHAPE)).requires_grad_()
    View(network)(variable).sum().backward()
    assert variable.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_all_is_as_it_was_when_the_network_raises() -> None:
    network = cnn().train()
    with pytest.raises(RuntimeError):
        View(network)(torch.rand((2, 5)))
    assert all(layer.training for layer in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_first_order_expansion_is_autograds() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.Tanh(), nn.Linear(5, 3))
    points, classes = torch.rand((4, *SHAPE)), torch.tensor([0, 2, 1, 2])
    logits, gradient = View(network).linearised(points)
    assert torch.equal(logits, network(points))
    assert not logits.requires_grad
    expected = torch.func.vmap(torch.func.jacrev(lambda point: network(point[None])[0]))(points)
    torch.testing.assert_close(gradient(classes), expected[torch.arange(4), classes])
    torch.testing.assert_close(gradient(classes.flip(0)), expected[torch.arange(4), classes.flip(0)])
