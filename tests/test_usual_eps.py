"""The field's usual eps: by dataset and norm, in the units of the images."""

from __future__ import annotations

import pytest

from bench.domain import Domain
from bench.norms import Norm
from bench.usual_eps import usual_eps


def pictures(*shape: int, high: float = 1.0, low: float = 0.0) -> Domain:
    return Domain(shape=shape, classes=10, low=low, high=high, channel_axis=0)


@pytest.mark.parametrize(
    ("name", "shape", "norm", "eps"),
    [
        ("mnist", (1, 28, 28), Norm.LINF, (0.3, 0.1)),
        ("torchvision:MNIST", (1, 28, 28), Norm.L2, (2.0,)),
        ("mnist", (1, 28, 28), Norm.L1, (10.0,)),
        ("mnist", (1, 28, 28), Norm.L0, ()),
        ("CIFAR-10", (3, 32, 32), Norm.LINF, (8 / 255,)),
        ("cifar100", (3, 32, 32), Norm.L2, (0.5,)),
        ("ImageNet", (3, 224, 224), Norm.LINF, (4 / 255,)),
        ("imagenet", (3, 299, 299), Norm.L2, (3.0,)),
        ("mnist", (1, 32, 32), Norm.L2, ()),
        ("imagenet", (3, 64, 64), Norm.LINF, ()),
        ("fashionmnist", (1, 28, 28), Norm.LINF, ()),
        ("digits", (1, 8, 8), Norm.LINF, ()),
        ("", (3, 32, 32), Norm.LINF, ()),
    ],
)
def test_each_dataset_has_its_values(name: str, shape: tuple[int, ...], norm: Norm, eps: tuple[float, ...]) -> None:
    assert usual_eps(name, norm, pictures(*shape)) == eps
    assert usual_eps({"data": {"name": name}}, norm, pictures(*shape)) == eps


def test_they_are_in_the_units_of_the_images() -> None:
    assert usual_eps("cifar10", Norm.LINF, pictures(3, 32, 32, high=255)) == pytest.approx((8.0,))
    assert usual_eps("cifar10", Norm.L2, pictures(3, 32, 32, low=-1)) == (1.0,)
    # Where channels are scaled each by itself, distances are in widths of the box, as those of pictures in [0, 1].
    standardised = Domain(shape=(3, 32, 32), classes=10, low=(-2.0,) * 1024 + (-1.0,) * 2048, high=2.0, channel_axis=0)
    assert usual_eps("cifar10", Norm.LINF, standardised) == (8 / 255,)


@pytest.mark.parametrize("manifest", [{}, {"data": None}, {"data": {}}])
def test_a_manifest_without_a_dataset_has_none(manifest: dict[str, object]) -> None:
    assert usual_eps(manifest, Norm.LINF, pictures(1, 28, 28)) == ()
