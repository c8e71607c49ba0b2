"""The networks trained on MNIST, with the hyperparameters that they are trained with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import nn

from bench.networks.adversary import Adversary
from bench.norms import Norm

CLASSES = 10


class Network(nn.Sequential):
    """A trained network of the bench: logits out, and the hyperparameters it is trained with.

    Inputs are (n, *shape) float32 of its dataset, of MNIST (n, 1, 28, 28) in [0, 1]; outputs (n, classes) float32 logits.
    """

    data: ClassVar[str] = "mnist"
    epochs: ClassVar[int] = 30
    batch_size: ClassVar[int] = 32
    lr: ClassVar[float] = 3e-4
    optimizer: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam
    loss: ClassVar[Callable[[], nn.Module]] = nn.CrossEntropyLoss
    adversary: ClassVar[Adversary | None] = None


def _mlp(dropout: float | None) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, inputs in ((1, 784), (2, 128)):
        layers[f"hidden{number}"] = nn.Linear(inputs, 128)
        layers[f"relu{number}"] = nn.ReLU()
        if dropout is not None:
            layers[f"dropout{number}"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(128, CLASSES)
    return layers


def _cnn(dropout: float | None) -> OrderedDict[str, nn.Module]:
    # ReLU and max-pooling commute; pooling first leaves a quarter of the values to rectify.
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(1, 20, kernel_size=5),
        pool1=nn.MaxPool2d(2),
        relu1=nn.ReLU(),
        conv2=nn.Conv2d(20, 40, kernel_size=3),
        pool2=nn.MaxPool2d(2),
        relu2=nn.ReLU(),
        flatten=nn.Flatten(),
    )
    if dropout is not None:
        layers["dropout1"] = nn.Dropout(dropout)
    layers["hidden"] = nn.Linear(1000, 120)
    layers["relu3"] = nn.ReLU()
    if dropout is not None:
        layers["dropout2"] = nn.Dropout(dropout)
    layers["logits"] = nn.Linear(120, CLASSES)
    return layers


class MLP(Network):
    """784-128-128-10, ReLU."""

    def __init__(self) -> None:
        super().__init__(_mlp(dropout=None))


class MLP_d(Network):  # noqa: N801 - the name is fixed by the project
    """784-128-128-10, ReLU, dropout 0.4 after each hidden layer."""

    def __init__(self) -> None:
        super().__init__(_mlp(dropout=0.4))


class CNN(Network):
    """Conv 5x5 1->20, max-pool 2, conv 3x3 20->40, max-pool 2, 1000-120-10, ReLU."""

    def __init__(self) -> None:
        super().__init__(_cnn(dropout=None))


class CNN_d(Network):  # noqa: N801 - the name is fixed by the project
    """The CNN with dropout 0.4 before both fully connected layers."""

    def __init__(self) -> None:
        super().__init__(_cnn(dropout=0.4))


class CNN_at_linf(CNN):  # noqa: N801 - as the others
    """The CNN, adversarially trained in Linf at 0.3."""

    epochs = 12
    batch_size = 64
    adversary = Adversary(norm=Norm.LINF, size=0.3, steps=15, stepsize=0.15, warm_up=4)


class CNN_at_l2(CNN):  # noqa: N801 - as the others
    """The CNN, adversarially trained in L2 at 2."""

    epochs = 12
    batch_size = 64
    adversary = Adversary(norm=Norm.L2, size=2.0, steps=10, stepsize=0.25, warm_up=4)
