"""Networks as newcomers bring them, each with something wrong: ``bad_networks.py:nan``."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench import networks
from bench.networks.mnist import MLP


class Mlp(nn.Module):
    """The trained MLP with something done to its input and output."""

    def __init__(self, after: Callable[[Tensor], object], before: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.network = networks.load("MLP")
        self.after, self.before = after, before

    def forward(self, images: Tensor) -> object:
        return self.after(self.network(self.before(images)))


def fail(_: Tensor) -> object:
    raise ZeroDivisionError("division by zero")


def nan() -> nn.Module:
    return Mlp(lambda z: z * float("nan"))


def infinite() -> nn.Module:
    return Mlp(lambda z: torch.where(z > 5, float("inf"), z))


def constant() -> nn.Module:
    return Mlp(torch.zeros_like)


def dropout() -> nn.Module:
    return Mlp(lambda z: nn.functional.dropout(z, 0.5, training=True))


def one_class() -> nn.Module:
    return Mlp(lambda z: z[:, :1])


def few_classes() -> nn.Module:
    return Mlp(lambda z: z[:, :5])


def wrong_shape() -> nn.Module:
    return Mlp(lambda z: z[0])


def raises() -> nn.Module:
    return Mlp(fail)


def returns_tuple() -> nn.Module:
    return Mlp(lambda z: (z, 2 * z))


def returns_numpy() -> nn.Module:
    return Mlp(lambda z: z.detach().numpy())


def factory_raises() -> nn.Module:
    raise RuntimeError("two\nlines")


def factory_exits() -> nn.Module:
    sys.exit("bye")


def no_module() -> object:
    return 42


def needs_argument(network: nn.Module) -> nn.Module:
    return network


def probabilities() -> nn.Module:
    return Mlp(lambda z: z.softmax(1))


def bytes_wanted() -> nn.Module:
    return Mlp(lambda z: z, lambda x: x / 255)


def untrained() -> nn.Module:
    torch.manual_seed(0)
    return MLP()


def unseeded() -> nn.Module:
    torch.seed()
    # Linear, so that images and their negatives get several classes whatever the weights are.
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
