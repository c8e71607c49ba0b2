"""Bad networks, each as a newcomer would bring it: found before the first attack, in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import bad_networks
import pytest
import synthetic
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench import data, networks, run
from bench.domain import Domain
from bench.errors import NetworkError
from bench.findings import CheckName
from bench.networks.trained import TRAINED
from bench.preflight import Finding, Level, check, require
from bench.preflight.descent import descend

N = 60
DIGITS = synthetic.DIGITS


def digits() -> tuple[Tensor, Tensor]:
    """The first images of the test split of MNIST, and their labels."""
    return data.tensors("mnist", "test", N)


class Around(nn.Module):
    """The trained MLP with something done to its input or output."""

    def __init__(self) -> None:
        super().__init__()
        self.network = networks.load("MLP")

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.network(self.before(images)))

    def before(self, images: Tensor) -> Tensor:
        return images

    def after(self, logits: Tensor) -> Tensor:
        return logits


class NanLogits(Around):
    def after(self, logits: Tensor) -> Tensor:
        return torch.where(logits > 10, torch.nan, logits)


class InfiniteLogits(Around):
    def after(self, logits: Tensor) -> Tensor:
        return torch.where(logits < -5, -torch.inf, logits)


class Constant(Around):
    def after(self, logits: Tensor) -> Tensor:
        return torch.zeros_like(logits)


class OneClass(Around):
    def after(self, logits: Tensor) -> Tensor:
        return logits + 1e4 * nn.functional.one_hot(torch.tensor(3), 10)


class DropoutLeftOn(Around):
    def after(self, logits: Tensor) -> Tensor:
        return nn.functional.dropout(logits, 0.5, training=True)


class BatchStatistics(Around):
    def after(self, logits: Tensor) -> Tensor:
        return (logits - logits.mean(0)) / (logits.std(0, correction=0) + 1e-3)


class Probabilities(Around):
    def after(self, logits: Tensor) -> Tensor:
        return logits.softmax(1)


class Bytes(Around):
    def before(self, images: Tensor) -> Tensor:
        return images / 255


class Raises(Around):
    def before(self, images: Tensor) -> Tensor:
        if len(images) > 2:
            raise IndexError("only two")
        return images


class SingleOnly(Around):
    def before(self, images: Tensor) -> Tensor:
        return images + torch.zeros(1, dtype=torch.float32) @ torch.zeros((1, 1), dtype=images.dtype)


class FewClasses(Around):
    def after(self, logits: Tensor) -> Tensor:
        return logits[:, :5]


class Integers(Around):
    def after(self, logits: Tensor) -> Tensor:
        return (logits * 100).long()


class Quantised(Around):
    def before(self, images: Tensor) -> Tensor:
        return (images * 8).round() / 8


class NoGraph(Around):
    def before(self, images: Tensor) -> Tensor:
        return images.detach()


class Saturated(Around):
    def after(self, logits: Tensor) -> Tensor:
        return logits * 1e4


def command(tmp_path: Path, name: str, *more: str) -> list[str]:
    own = f"{bad_networks.__file__}:{name}"
    rest = ["--samples", "5", "--attacks", "foolbox-ddn-l2", "--workers", "0", "--out", str(tmp_path), "--name", "run"]
    return ["--suite", "smoke", "--networks", own, *more, *rest]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nan", "network nan: its logits are NaN or infinite for 5 of 5 images"),
        ("infinite", "network infinite: its logits are NaN or infinite"),
        ("constant", "network constant: its logits are the same for every image"),
        ("dropout", "network dropout: two forward passes of the same images differ"),
        ("one_class", r"returns \(2, 1\) for 2 images; it must return logits of shape \(2, classes\), classes >= 2"),
        ("few_classes", "has 5 classes; the dataset has 10"),
        ("wrong_shape", r"returns \(10,\) for 2 images; it must return logits"),
        ("raises", "fails on a .* input: ZeroDivisionError: division by zero"),
        (
            "returns_tuple",
            r"returns a tuple with 0 \(3, 10\), 1 \(3, 10\) for 3 inputs, and several of them may be the logits",
        ),
        ("returns_numpy", "returns ndarray for 2 images; it must return logits"),
        ("factory_raises", "raises RuntimeError: two lines$"),
        ("factory_exits", "raises SystemExit: bye$"),
        ("no_module", "returned int; it must return a torch.nn.Module"),
        ("needs_argument", "missing 1 required positional argument"),
        ("nowhere", "has no 'nowhere'"),
        ("unseeded", "its factory returns another network every time"),
    ],
)
def test_a_bad_network_is_one_line_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    assert run.main(command(tmp_path, name)) == 2
    output, errors = capsys.readouterr()
    assert re.fullmatch(rf"error: .*{message}.*", errors.removesuffix("\n")), errors
    assert re.fullmatch(r"((loading|checking|measuring) ?.*\n)*", output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("probabilities", "its outputs are probabilities"),
        ("bytes_wanted", "it seems to expect another input range"),
        ("untrained", "it is right on none of the 5 images"),
    ],
)
def test_a_strange_network_is_warned_of_on_the_screen_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    assert run.main(command(tmp_path, name)) == 0
    output, errors = capsys.readouterr()
    assert f"warning: network {name}: " in output
    assert message in " ".join(output.split())
    assert errors == ""
    assert message in (tmp_path / "run" / "report.html").read_text()


def weights_without_a_layer(path: Path) -> None:
    state = networks.load("MLP").state_dict()
    del state["logits.weight"]
    save_file(state, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (weights_without_a_layer, "do not fit the network: .*logits.weight"),
        (lambda path: path.write_bytes(b"junk" * 99), "are not a safetensors file"),
        (lambda path: torch.save(networks.load("MLP").state_dict(), path), "are not a safetensors file"),
        (lambda path: None, "cannot be read: No such file"),
    ],
)
def test_bad_weights_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "weights")
    assert run.main(command(tmp_path / "results", "untrained", "--weights", str(tmp_path / "weights"))) == 2
    errors = capsys.readouterr().err
    assert re.match(f"error: weights .*{message}", errors)
    assert errors.count("\n") == 1


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {finding.check.value: finding for finding in found}


def findings(network: nn.Module) -> dict[str, Finding]:
    others = {name: networks.load(name) for name in ("CNN", "MLP")}
    return by_name(check(network.eval(), *digits(), DIGITS, others))


@pytest.mark.parametrize("name", [name for name, cls in TRAINED.items() if cls.data == "mnist"])
def test_the_networks_of_the_zoo_pass_every_check(name: str) -> None:
    found = findings(networks.load(name))
    assert len(found) == 13
    odd = {check: finding.status for check, finding in found.items() if finding.status is not Level.PASS}
    # Adversarial training in Linf teaches the network to cut off small values, and gradients vanish there.
    allowed = {CheckName.MORE_STEPS.value, CheckName.TRANSFER.value} if name == "CNN_at_linf" else set()
    assert set(odd) <= allowed
    assert set(odd.values()) <= {Level.WARN}


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (NanLogits, "finite_logits", "NaN or infinite for .* of 60 images"),
        (InfiniteLogits, "finite_logits", "NaN or infinite"),
        (Constant, "depends_on_the_image", "the same for every image"),
        (OneClass, "depends_on_the_image", "the one class 3"),
        (DropoutLeftOn, "repeats", r"two forward passes of the same images differ .* random numbers.*network.eval\(\)"),
        (BatchStatistics, "batches", "every image must be classified by itself"),
        (Raises, "runs", "IndexError: only two"),
        (SingleOnly, "float64", "does not run in float64.*Avoid fixed dtypes"),
        (FewClasses, "runs", "5 classes; the labels need at least 10"),
        (Integers, "runs", "torch.int64; it must return floating-point logits"),
    ],
)
def test_what_makes_every_number_meaningless_stops_the_run(network: type[Around], name: str, message: str) -> None:
    found = list(findings(network()).values())
    assert [finding.check for finding in found if finding.status is Level.STOP] == [name]
    with pytest.raises(NetworkError, match=f"network mine: .*{message}"):
        require("mine", found)


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (Probabilities, "logits", "probabilities .* not logits"),
        (Bytes, "clean_accuracy", "values from 0 to 255: it seems to expect another input range"),
        (Saturated, "gradients", "gradient of the loss underflows"),
    ],
)
def test_what_is_legitimate_but_strange_is_a_warning(network: type[Around], name: str, message: str) -> None:
    found = findings(network())
    assert [finding.check for finding in found.values() if finding.status is not Level.PASS] == [name]
    assert found[name].status is Level.WARN
    require("mine", list(found.values()))
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found[name].message)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Quantised, "gradient of the margin vanishes for 100% of the images"),
        (NoGraph, "no gradient reaches the image"),
    ],
)
def test_masked_gradients_fail_and_the_run_goes_on(network: type[Around], message: str) -> None:
    found = findings(network())
    failed = {name for name, finding in found.items() if finding.status is Level.FAIL}
    assert failed == {"gradients", "loss_falls", "more_steps", "transfer"}
    assert message in found["gradients"].message
    assert found["transfer"].value == 1, "whatever fools another network is nearer, on every image"
    assert "iterative_beats_single_step" not in found, "where neither finds anything there is nothing to compare"
    require("mine", list(found.values()))


class Staircase(Around):
    """Steps in the input with the gradient of a wave: following it leads astray."""

    def before(self, images: Tensor) -> Tensor:
        return (images * 4).round() / 4 - 1e-3 * torch.sin(1e3 * images)


def test_gradients_that_lead_astray_fail() -> None:
    found = findings(Staircase())
    assert found["gradients"].status is Level.PASS, "there are gradients"
    assert found["loss_falls"].status is Level.FAIL
    assert found["transfer"].status is Level.FAIL


def test_a_descent_on_a_linear_network_finds_the_known_distance() -> None:
    network = nn.Linear(4, 2, bias=True).requires_grad_(False)
    network.weight[:] = torch.tensor([[1.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    network.bias[:] = torch.tensor([-2.0, 0.0])
    images = torch.full((1, 4), 0.5)
    found = descend(network, images, torch.tensor([0]), 40)
    assert found.distances.tolist() == pytest.approx([0.5 / 3], rel=0.05)
    assert bool((found.margins.diff(dim=0) < 0).all())
    assert found.margins[-1, 0] < 0 <= found.margins[-2, 0], "it ends at the first point that is wrong"


def linear(seed: int, values: int = 12, classes: int = 3) -> nn.Module:
    """A linear network of images of the unit box, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(values, classes)).requires_grad_(False)
    for parameter in network.parameters():
        parameter[:] = torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize(
    "domain",
    [
        Domain(shape=(3, 2, 2), classes=3, low=0, high=1, channel_axis=0),
        Domain(shape=(3, 2, 2), classes=3, low=0, high=255, channel_axis=0),
        Domain(shape=(12,), classes=3, low=tuple(range(-12, 0)), high=tuple(range(1, 13))),
    ],
)
def test_a_network_of_any_domain_has_the_findings_of_the_same_in_the_unit_box(domain: Domain) -> None:
    class Behind(nn.Module):
        """The linear network behind the map from the domain's box to the unit box."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            low, high = (torch.as_tensor(end.copy()) for end in domain.ends)
            self.low, self.width = low, high - low

        def forward(self, images: Tensor) -> Tensor:
            unit = (images - self.low.to(images.dtype)) / self.width.to(images.dtype)
            logits: Tensor = self.inner(unit)
            return logits

    unit = torch.rand(20, *domain.shape, generator=torch.Generator().manual_seed(1))
    images = torch.from_numpy(
        domain.checked(domain.ends[0] + (domain.ends[1] - domain.ends[0]) * unit.double().numpy())
    )
    network, other = linear(0), linear(1)
    labels = network(unit).argmax(1)
    plain = Domain(shape=domain.shape, classes=3, low=0, high=1, channel_axis=domain.channel_axis)
    expected = check(network, unit, labels, plain, {"other": other})
    found = check(Behind(network).eval(), images, labels, domain, {"other": Behind(other)})
    assert [one.check for one in found] == [one.check for one in expected]
    assert {one.check for one in found} >= {"loss_falls", "more_steps", "transfer"}
    assert [one.status for one in found] == [one.status for one in expected]
    assert [one.value for one in found if one.value] == pytest.approx(
        [one.value for one in expected if one.value], abs=1e-2
    )


def test_without_other_networks_nothing_is_transferred() -> None:
    domain = Domain(shape=(12,), classes=3, low=0, high=1)
    network, images = linear(0), torch.rand(20, 12, generator=torch.Generator().manual_seed(1))
    labels = network(images).argmax(1)
    found = check(network, images, labels, domain)
    assert "transfer" not in {finding.check for finding in found}
    assert {finding.check for finding in found} >= {"loss_falls", "more_steps"}

    class Broken(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("broken")

    found = check(network, images, labels, domain, {"broken": Broken()})
    assert "transfer" not in {finding.check for finding in found}, "a fault of another network is not this one's"


def test_a_network_that_is_right_on_nothing_fails() -> None:
    domain = Domain(shape=(12,), classes=3, low=0, high=1)
    network, images = linear(0), torch.rand(20, 12, generator=torch.Generator().manual_seed(1))
    found = by_name(check(network, images, (network(images).argmax(1) + 1) % 3, domain))
    assert found["clean_accuracy"].status is Level.FAIL
    assert "loss_falls" not in found, "there is nothing to attack"


def test_a_network_of_another_range_is_told_which() -> None:
    domain = Domain(shape=(12,), classes=3, low=0, high=255)
    inner = linear(0)
    images = 255 * torch.rand(60, 12, generator=torch.Generator().manual_seed(1))
    labels = inner(images / 255).argmax(1)
    found = by_name(check(inner, images, labels, domain))
    assert found["clean_accuracy"].status is Level.WARN
    assert "given values from 0 to 1: it seems to expect another input range" in found["clean_accuracy"].message
    assert "images here are in [0, 255]" in found["clean_accuracy"].message


def test_modules_in_training_mode_are_named() -> None:
    network = nn.Sequential(networks.load("MLP"), nn.Dropout(0.5)).eval()
    network[1].train()
    found = check(network, *digits(), DIGITS)
    assert found[-1].check == "repeats"
    assert "modules in training mode: 1" in found[-1].message


def test_a_value_that_is_not_finite_is_none_in_a_manifest() -> None:
    for value in (math.inf, -math.inf, math.nan):
        assert Finding(CheckName.MORE_STEPS, Level.FAIL, value, "why").to_json()["value"] is None
