"""What networks return, and what they are fed: logits in any shape of output, standardised inputs."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anywhere import BINARY, MAKE, POINTS, loaded
from torch import Tensor, nn

from bench import networks
from bench.certify import reading
from bench.domain import Domain
from bench.errors import NetworkError, UsageError
from bench.networks import NetworkSpec, specs
from bench.networks.outputs import Picked
from bench.problem import Standardised


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MAKE)
    return path


class Returning(nn.Module):
    def __init__(self, after: Callable[[Tensor], Any], classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Linear(4, classes)
        self.after = after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.body(images))


class ModelOutput(OrderedDict[str, Any]):
    """As Hugging Face's: a mapping whose entries are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass
class Answer:
    logits: Tensor
    loss: None = None


Pair = namedtuple("Pair", ["logits", "aux"])  # noqa: PYI024 - as torchvision has them

TAKEN: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a tuple": (lambda z: (z, z[:, :2]), "output: entry 0 of a tuple"),
    "the second": (lambda z: [None, z.mean(), z], "output: entry 2 of a list"),
    "a dict": (lambda z: {"logits": z, "features": z}, "output: key 'logits' of a dict"),
    "another key": (lambda z: {"out": z, "mask": z > 0}, "output: key 'out' of a dict"),
    "an output": (lambda z: ModelOutput(loss=z.mean(), logits=z), "output: key 'logits' of a ModelOutput"),
    "an object": (Answer, "output: attribute 'logits' of a Answer"),
    "a named tuple": (lambda z: Pair(z, z), "output: attribute 'logits' of a Pair"),
}


def taken(module: nn.Module, domain: Domain) -> networks.Source:
    with networks.live({"mine": module}):
        return networks.source(NetworkSpec("mine", "live:mine"), "cpu", domain)


@pytest.mark.parametrize("what", TAKEN)
def test_logits_are_found_in_what_a_network_returns(what: str) -> None:
    after, note = TAKEN[what]
    module = Returning(after)
    made = taken(module, POINTS)
    images = torch.rand(5, 4)
    assert torch.equal(made.module(images), module.body(images))
    assert made.notes == (note,)
    assert isinstance(made.module, Picked)
    assert not made.module.training
    networks.check_output(made.module, POINTS, "mine")


@pytest.mark.parametrize(
    "after",
    [lambda z: (z, 2 * z), lambda z: {"a": z, "b": z}, lambda z: {"a": z[:, :1], "b": z[:, :2]}],
)
def test_several_tensors_that_may_be_the_logits_are_named(after: Callable[[Tensor], Any]) -> None:
    with pytest.raises(
        NetworkError, match=r"network mine returns a (tuple|dict) with .*(0|'a') \(3, \d\).*logits of 3 classes; return"
    ):
        taken(Returning(after), POINTS)


@pytest.mark.parametrize(
    ("after", "notes"),
    [
        (lambda z: z, 1),
        (lambda z: z[:, 0], 1),
        (lambda z: z.squeeze(), 1),
        (lambda z: {"logit": z}, 2),
        (lambda z: (z[:, 0],), 2),
    ],
)
def test_one_logit_is_two(after: Callable[[Tensor], Any], notes: int) -> None:
    module = Returning(after, classes=1)
    made = taken(module, BINARY)
    for n in (1, 2, 5):
        images = torch.rand(n, 4)
        z = module.body(images)
        assert torch.equal(made.module(images), torch.cat([torch.zeros_like(z), z], 1))
    assert len(made.notes) == notes
    assert made.notes[-1] == "one logit z read as two: (0, z)"
    # Of ten classes one logit is none.
    assert taken(Returning(lambda z: z, classes=1), POINTS).notes == ()


def test_a_verifier_reads_a_network_of_one_logit_that_is_standardised() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    with networks.live({"mine": module}):
        spec = NetworkSpec("mine", "live:mine", normalize=((0.1, 0.2, 0.3, 0.4), (0.5,)))
        made = networks.source(spec, "cpu", BINARY)
    images = torch.rand(3, 4)
    plain = reading.read(made.module, images)
    expected = made.module(images)
    assert np.allclose(plain.logits(images.numpy()), expected.numpy(), atol=1e-6)
    z = module((images - torch.tensor([0.1, 0.2, 0.3, 0.4])) / torch.tensor(0.5))
    assert torch.equal(expected[:, 1:], z)


@pytest.mark.parametrize("domain", [POINTS, None])
def test_a_plain_network_stays_what_it_is(file: Path, domain: Domain | None) -> None:
    made = loaded(f"{file}:make", domain)
    assert type(made.module) is nn.Sequential
    assert networks.fingerprint(made.module) == networks.fingerprint(loaded(f"{file}:make", None).module)
    assert made.notes == ()


@pytest.mark.parametrize(
    ("domain", "pair"),
    [
        (Domain(shape=(3, 5, 5), classes=3, low=0, high=1, channel_axis=0), ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))),
        (Domain(shape=(5, 5, 3), classes=3, low=0, high=255, channel_axis=2), ((0.4, 0.5, 0.6), (3.0,))),
        (Domain(shape=(5, 15), classes=3, low=0, high=1), ((0.1307,), (0.3081,))),
    ],
)
def test_inputs_are_standardised_as_torchvision_does(domain: Domain, pair: Any) -> None:
    images = torch.rand(4, *domain.shape)
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 3))
    with networks.live({"mine": module}):
        made = networks.source(NetworkSpec("mine", "live:mine", normalize=pair), "cpu", domain)
    mean, std = (torch.tensor(part).reshape([len(part) if i == domain.channel_axis else 1 for i in range(len(domain.shape))]) for part in pair)  # fmt: skip
    assert torch.equal(made.module(images), module((images - mean) / std))
    assert isinstance(next(made.module.children()), Standardised)
    plain = reading.read(made.module, images)
    assert np.allclose(plain.logits(images.flatten(1).numpy()), made.module(images).numpy(), atol=1e-5)
    assert made.notes[0].startswith("standardised inside: (input - 0.")


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (((0.0,), (0.0,)), "STD 0 is not possible; give a finite number above 0"),
        (((0.0,), (-1.0,)), "STD -1 is not possible"),
        (((0.0,), (1e-300,)), "STD 1e-300 is not possible"),
        (((float("nan"),), (1.0,)), "MEAN nan is not possible; give a finite number"),
        (((), (1.0,)), "MEAN is empty"),
    ],
)
def test_what_cannot_be_divided_by_is_refused(pair: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        specs(["f.py:make"], None, pair)


def test_a_standardisation_needs_a_network_and_the_right_number_of_values(file: Path) -> None:
    with pytest.raises(UsageError, match="is for networks of one's own; those of the bench take the data as they are"):
        specs(["MLP"], None, ((0.0,), (1.0,)))
    mixed = specs(["MLP", f"{file}:make"], None, ((0.0,), (1.0,)))
    assert [spec.normalize for spec in mixed] == [None, ((0.0,), (1.0,))]
    with pytest.raises(
        UsageError, match=r"MEAN has 2 numbers; inputs of shape \(4,\) take 1, or 4, one for each value"
    ):
        loaded(f"{file}:make", normalize=((0.0, 1.0), (1.0,)))
    with pytest.raises(NetworkError, match="say the domain of its inputs"):
        loaded(f"{file}:make", None, normalize=((0.0,), (1.0,)))
