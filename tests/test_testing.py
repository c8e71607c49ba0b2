"""What authors test their own attacks with: sound ones pass, and each fault is found and named."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake_run
import pytest
import torch
from torch import Tensor, nn

import bench
import suites
from adapters import own
from bench.specs import AttackSpec
from bench.testing import AttackError, check_attack


def linear(network: nn.Module, images: Tensor, labels: Tensor, *, steps: int = 30, reach: float = 1.02) -> Tensor:
    """DeepFool's step on the two classes with the largest logits; exact on a linear network of two classes."""
    found = images.clone()
    for _ in range(steps):
        variable = found.detach().requires_grad_()
        logits = network(variable)
        ahead = logits - logits.gather(1, labels[:, None])
        ahead = ahead.scatter(1, labels[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(ahead.sum(), variable)
        free = ((gradient > 0) & (found < 1)) | ((gradient < 0) & (found > 0))
        gradient = (gradient * free).flatten(1)
        step = (-ahead.detach()).clamp(min=0) * reach / gradient.square().sum(1).clamp(min=1e-9)
        found = (found + (step[:, None] * gradient).view_as(found)).clamp(0, 1)
    return found


def test_a_sound_attack_passes() -> None:
    check_attack(linear, norm="l2", tolerance=2.0)


def deepfool() -> AttackSpec:
    (row,) = suites.rows(name="paper-deepfool-linf")
    assert isinstance(row, AttackSpec)
    return row


def test_a_row_of_ours_passes() -> None:
    check_attack(deepfool())


def targeted(network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The step of the linearised boundary with one class, in Linf."""
    found = images.clone()
    for _ in range(20):
        variable = found.detach().requires_grad_()
        logits = network(variable)
        ahead = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
        (gradient,) = torch.autograd.grad(ahead.sum(), variable)
        free = ((gradient > 0) & (found < 1)) | ((gradient < 0) & (found > 0))
        gradient = gradient * free
        step = (-ahead.detach()).clamp(min=0) * 1.01 / gradient.flatten(1).abs().sum(1).clamp(min=1e-9)
        found = (found + step.view(-1, *[1] * (images.ndim - 1)) * gradient.sign()).clamp(0, 1)
    return found


def test_a_targeted_attack_runs_towards_the_nearest_classes() -> None:
    check_attack(targeted, norm="linf", tolerance=1.6)


class Remembers:
    """Steps more often at each call."""

    __name__ = "remembers"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        return linear(network, images, labels, reach=1 + self.calls / 100)


def no_gradient(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return torch.where(network(images).argmax(1)[:, None] >= 0, images.flatten(1), 0).view_as(images)


def raises(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    raise RuntimeError("not today")


def wrong_shape(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return linear(network, images, labels)[:, :1].flatten(1)[:, :3]


def leaves_the_box(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return linear(network, images, labels) * 3 - 1


def averages(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    found = linear(network, images, labels)
    return (found + 0.05 * found.mean(0, keepdim=True)).clamp(0, 1)


def trains(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01)
    return linear(network, images, labels)


def every_class(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    classes = network(images).shape[1]
    for _ in range(classes):
        network(images)
    return linear(network, images, labels)


def draws(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    found = linear(network, images, labels)
    generator = torch.Generator()
    generator.seed()
    return (found + 0.01 * torch.rand(found.shape, generator=generator)).clamp(0, 1)


def far(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return linear(network, images, labels, reach=20.0)


def gives_up(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    found = linear(network, images, labels)
    wrong = network(found).argmax(1) != labels
    return torch.where(wrong.view(-1, *[1] * (images.ndim - 1)), found, torch.nan)


FAULTS: list[tuple[Any, dict[str, Any], str]] = [
    (raises, {}, "it raised RuntimeError: not today"),
    (wrong_shape, {}, "the attack returned shape"),
    (leaves_the_box, {}, r"candidates leave the box \[0, 1\]: their values go from"),
    (averages, {}, "alone and among others: image 0 gets another candidate alone than among 4"),
    (trains, {}, "a weight is not as before"),
    (every_class, {}, "many classes: 500 classes that are never near cost 1087 forward"),
    (draws, {}, "the seed decides: run twice with one seed it returns two results"),
    (no_gradient, {}, "asks for no gradient, but its access is 'gradient'; say access='decision'"),
    (no_gradient, {"access": "decision"}, "of 4 images 0 have an adversarial candidate"),
    (linear, {"access": "decision"}, "gradients, but its access is 'decision'"),
    (gives_up, {}, "nothing to find: candidates hold NaN or infinity; return the clean image where nothing is found"),
    (far, {"tolerance": 1.3}, "times as far as the nearest ones; at most 1.3 is allowed"),
    (Remembers(), {}, "keep nothing from one call to the next"),
]


@pytest.mark.parametrize(("attack", "options", "reason"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_found_and_named(attack: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(AttackError, match=reason) as failure:
        check_attack(attack, norm="l2", **{"tolerance": 2.0, **options})
    first, *reasons = str(failure.value).splitlines()
    assert re.fullmatch(r"attack .* in L2 fails \d+ checks:", first)
    assert len(reasons) >= 1


def test_what_is_given_twice_or_not_at_all_is_refused() -> None:
    with pytest.raises(TypeError, match="give the norm"):
        check_attack(linear)
    with pytest.raises(TypeError, match="a row has a norm"):
        check_attack(deepfool(), norm="l2")


def test_a_row_for_each_family_is_found_whatever_the_case_of_its_name() -> None:
    assert suites.rows(family="deepfool") == suites.rows(family="DeepFool")


def test_every_option_of_a_row_is_an_option_of_a_check() -> None:
    assert inspect.signature(check_attack).parameters["options"].kind is inspect.Parameter.VAR_KEYWORD
    check_attack(linear, norm="l2", tolerance=2.0, block=2, params={"steps": 30}, name="Mine")
    assert own.row(linear, norm="l2", name="Mine").title == "Mine"


def test_the_attack_of_the_documentation_is_sound_and_stands_beside_ours(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "howto" / "own_attack.md").read_text()
    (code,) = re.findall(r"# Your own attack.*?```python\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "mine.py"
    script.write_text(code.replace('norms=["linf"])', 'norms=["linf"], samples=3, workers=0, out="mine")'))
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, env=fake_run.environment())
    summary = bench.open_run(tmp_path / "mine").summary().set_index("attack")
    assert (summary["found_rate"] == 1).all()
    assert set(summary.index) == {"own-fgsm-linf", "foolbox-deepfool-linf", "paper-deepfool-linf"}
