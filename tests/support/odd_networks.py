"""Networks that do odd things at each call; what they compute is the trained MLP's, or no function of the image.

``SAME``, ``PAIRS`` and ``REFUSED`` say what is right for each.
"""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench import networks

Step = Callable[[Tensor], Any]


class Net(nn.Module):
    """The trained MLP with something done to its input and output."""

    def __init__(self, before: Step = lambda x: x, after: Step = lambda z: z) -> None:
        super().__init__()
        self.body = networks.load("MLP")
        self.before, self.after = before, after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.body(self.before(images)))


class Doing(Net):
    """A network that does something of no consequence at each call."""

    def __init__(self, what: Callable[[], object]) -> None:
        super().__init__()
        self.what = what

    def forward(self, images: Tensor) -> Any:
        self.what()
        return super().forward(images)


STATE = torch.get_rng_state()


def switches_gradients_off() -> nn.Module:
    return Doing(lambda: torch.set_grad_enabled(False))


def changes_the_dtype() -> nn.Module:
    return Doing(lambda: torch.set_default_dtype(torch.float64))


def asks_for_determinism() -> nn.Module:
    return Doing(lambda: torch.use_deterministic_algorithms(True))


def seeds_torch() -> nn.Module:
    return Doing(lambda: torch.manual_seed(1234))


def seeds_numpy() -> nn.Module:
    return Doing(lambda: np.random.seed(1234))  # noqa: NPY002 - what users write


def seeds_python() -> nn.Module:
    return Doing(lambda: random.seed(1234))


def puts_a_state_back() -> nn.Module:
    return Doing(lambda: torch.set_rng_state(STATE))


def draws_in_vain() -> nn.Module:
    return Doing(lambda: (torch.randn(3), np.random.rand(3), random.random()))  # noqa: NPY002 - as above


def changes_the_folder() -> nn.Module:
    return Doing(lambda: os.chdir("/"))


def is_strict_with_numbers() -> nn.Module:
    return Doing(lambda: np.seterr(all="raise"))


def is_strict_with_warnings() -> nn.Module:
    return Doing(lambda: warnings.simplefilter("error"))


def changes_the_path() -> nn.Module:
    return Doing(lambda: sys.path.insert(0, "/nowhere"))


def writes_the_environment() -> nn.Module:
    return Doing(lambda: os.environ.update(MINE=str(time.time())))


def rectifies() -> nn.Module:
    return Net(nn.ReLU())


def rectifies_in_place() -> nn.Module:
    return Net(nn.ReLU(inplace=True))


class Counting(Net):
    """It counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Any:
        self.calls += 1
        return super().forward(images)


class Keeping(Net):
    """It keeps what it computed last."""

    def forward(self, images: Tensor) -> Any:
        self.features = images * 2.0
        return super().forward(images)


class Filtering(Net):
    """It keeps a filter that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = torch.tensor([[0, 0, 0], [0, 1.0, 0], [0, 0, 0]]).view(1, 1, 3, 3)

    def forward(self, images: Tensor) -> Any:
        return super().forward(nn.functional.conv2d(images, self.kernel, padding=1))


class Showing(Net):
    """Addresses of memory are in its printed form."""

    def extra_repr(self) -> str:
        return f"{fails_backwards} {object()}"


class Mute(Net):
    """It cannot be printed."""

    def __repr__(self) -> str:
        raise ValueError("no")


class Extra(Net):
    """It has state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}

    def set_extra_state(self, state: object) -> None:
        pass


class Caching(Net):
    """It makes a mask at the first call for each size and dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[object, Tensor] = {}

    def forward(self, images: Tensor) -> Any:
        key = (len(images), images.dtype)
        if key not in self.masks:
            self.masks[key] = torch.ones_like(images)
        return super().forward(images * self.masks[key])


ONE = Caching()


def the_same_module() -> nn.Module:
    return ONE


def half_a_buffer() -> nn.Module:
    network = Net()
    network.register_buffer("ema", torch.zeros(3, dtype=torch.bfloat16))
    return network


def normed_weights() -> nn.Module:
    network = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for layer in list(network.body.modules()):
            if isinstance(layer, nn.Linear):
                nn.utils.weight_norm(layer.requires_grad_(True))
    return network


def parametrised() -> nn.Module:
    network = Net()
    for layer in list(network.body.modules()):
        if isinstance(layer, nn.Linear):
            nn.utils.parametrizations.weight_norm(layer)
    return network


def parallel() -> nn.Module:
    return nn.DataParallel(Net())


instance = Net()

SAME = (
    "changes_the_dtype",
    "asks_for_determinism",
    "seeds_torch",
    "seeds_numpy",
    "seeds_python",
    "puts_a_state_back",
    "draws_in_vain",
    "changes_the_folder",
    "is_strict_with_numbers",
    "is_strict_with_warnings",
    "changes_the_path",
    "writes_the_environment",
    "Counting",
    "Keeping",
    "Filtering",
    "Showing",
    "Mute",
    "Extra",
    "the_same_module",
    "half_a_buffer",
    "normed_weights",
    "parametrised",
    "parallel",
    "instance",
    "Net",
)
"""They compute what the trained MLP does."""


def clamps() -> nn.Module:
    return Net(lambda x: x.clamp(0.1, 0.9))


def clamps_in_place() -> nn.Module:
    return Net(lambda x: x.clamp_(0.1, 0.9))


def scales() -> nn.Module:
    return Net(lambda x: x * 0.9)


def scales_in_place() -> nn.Module:
    return Net(lambda x: x.mul_(0.9))


def cuts() -> nn.Module:
    return Net(lambda x: nn.functional.threshold(x, 0.2, 0.0))


def cuts_in_place() -> nn.Module:
    return Net(lambda x: nn.functional.threshold(x, 0.2, 0.0, inplace=True))


PAIRS = (
    ("rectifies", "rectifies_in_place"),
    ("clamps", "clamps_in_place"),
    ("scales", "scales_in_place"),
    ("cuts", "cuts_in_place"),
)
"""The second of each writes into its argument, and computes what the first does."""


def _hidden(x: Tensor) -> Tensor:
    x.data.clamp_(0.1, 0.9)
    return x


def hides_a_step() -> nn.Module:
    return Net(_hidden)


def _detached(x: Tensor) -> Tensor:
    x.detach().mul_(0.5)
    return x


def hides_a_step_otherwise() -> nn.Module:
    return Net(_detached)


def draws_from_torch() -> nn.Module:
    return Net(lambda x: x + 0.1 * torch.randn_like(x))


def draws_from_numpy() -> nn.Module:
    return Net(lambda x: x + float(np.random.rand()))  # noqa: NPY002 - as above


def draws_from_python() -> nn.Module:
    return Net(lambda x: x + random.random())


def reads_the_clock() -> nn.Module:
    return Net(lambda x: x + time.perf_counter() % 1)


GENERATOR = torch.Generator()


def draws_from_its_own() -> nn.Module:
    return Net(lambda x: x + torch.rand(1, generator=GENERATOR))


class Seeing(Net):
    """Its range grows with what it sees."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, images: Tensor) -> Any:
        with torch.no_grad():
            self.seen.copy_(torch.maximum(self.seen, images.sum()))
        return super().forward(images) * (1 + self.seen)


class Ageing(Net):
    """It counts its calls in an attribute, and tires."""

    calls = 0

    def forward(self, images: Tensor) -> Any:
        self.calls += 1
        return super().forward(images) / self.calls


def differs_alone() -> nn.Module:
    return Net(lambda x: x * (1 + (len(x) == 1)))


def drops_the_batch() -> nn.Module:
    return Net(after=lambda z: z.squeeze())


def normalises_by_the_batch() -> nn.Module:
    normalisation = nn.BatchNorm1d(9, track_running_stats=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 9), normalisation, nn.Linear(9, 10))


def is_lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def ends_the_process() -> nn.Module:
    return Net(lambda _: sys.exit(3))


def returns_classes() -> nn.Module:
    return Net(after=lambda z: z.argmax(1, keepdim=True).expand(-1, 10))


def returns_sparse() -> nn.Module:
    return Net(after=lambda z: z.to_sparse())


def returns_complex() -> nn.Module:
    return Net(after=lambda z: torch.complex(z, z))


def wants_single_precision() -> nn.Module:
    return Net(lambda x: x @ torch.eye(28))


def fails_backwards() -> nn.Module:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(_: Any, *gradients: Tensor) -> Tensor:
            raise ValueError("no way back")

    return Net(Broken.apply)


def replaces_a_layer() -> nn.Module:
    nn.Linear.forward = lambda _, x: x  # type: ignore[method-assign,assignment]
    return Net()


def needs_a_gradient() -> nn.Module:
    def step(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((x * 2).sum(), x)
        return x + gradient

    return Net(step)


REFUSED = {
    "hides_a_step": "writes into its argument where autograd does not see it",
    "hides_a_step_otherwise": "writes into its argument where autograd does not see it",
    "draws_from_torch": r"draws random numbers \(torch's random numbers\)",
    "draws_from_numpy": r"draws random numbers \(NumPy's random numbers\)",
    "draws_from_python": r"draws random numbers \(Python's random numbers\)",
    "reads_the_clock": "with the same random numbers, too",
    "draws_from_its_own": "with the same random numbers, too",
    "Seeing": r"changes with the images it sees: seen\)",
    "Ageing": r"changes with the images it sees: calls\)",
    "differs_alone": "with the other images in its batch",
    "drops_the_batch": r"returns \(10,\) for 1 image; it must return logits of shape \(1, classes\)",
    "normalises_by_the_batch": r"fails on a \(1, 1, 28, 28\) float32 input",
    "is_lazy": "has lazy layers without weights",
    "ends_the_process": "ends the process: SystemExit: 3",
    "returns_classes": "returns torch.int64",
    "returns_sparse": "torch.sparse_coo",
    "returns_complex": "returns torch.complex64",
    "wants_single_precision": "does not run in float64",
    "replaces_a_layer": r"replaces torch\.nn\.[\w.]*Linear\.forward for the whole process",
    "needs_a_gradient": "does not require grad",
}
"""They are no functions of the image, or cannot be attacked: what the error says."""

HERE = Path(__file__)
