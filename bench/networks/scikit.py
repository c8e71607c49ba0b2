"""The networks trained on the small datasets of scikit-learn."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from torch import nn

from bench.networks.mnist import Network


class MLP_digits(Network):  # noqa: N801 - named like the others
    """64-32-32-10, ReLU, on 8 x 8 pictures with grey levels from 0 to 16."""

    data: ClassVar[str] = "digits"
    epochs = 60

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden1=nn.Linear(64, 32),
                relu1=nn.ReLU(),
                hidden2=nn.Linear(32, 32),
                relu2=nn.ReLU(),
                logits=nn.Linear(32, 10),
            )
        )


class MLP_cancer(Network):  # noqa: N801 - as above
    """30-16-2, ReLU, on features that a batch norm without weights standardises."""

    data: ClassVar[str] = "breast_cancer"
    epochs = 60

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                standardised=nn.BatchNorm1d(30, affine=False),
                hidden=nn.Linear(30, 16),
                relu=nn.ReLU(),
                logits=nn.Linear(16, 2),
            )
        )
