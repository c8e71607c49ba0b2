"""A user's file with all that a run needs, small enough to be run in seconds; tests copy it to a folder of their own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adapters import own
from bench.data import Dataset, from_arrays
from bench.specs import Suite
from suites import rows

IMAGES = Path(__file__).with_name("points.npz")


def make() -> nn.Module:
    """The network of the points."""
    return network(4)


def network(features: int) -> nn.Sequential:
    """A small network with weights of its own."""
    generator = torch.Generator().manual_seed(0)
    first = nn.Linear(features, 8)
    made = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
        # The middle of the box lies on every boundary of the first layer, so that inputs are of several classes.
        first.bias.copy_(-first.weight @ torch.full((features,), 0.5))
    return made


def data() -> Dataset:
    """Nine points, one of them with a label that the network does not give; from a file, if there is one."""
    if IMAGES.is_file():
        with IMAGES.open("rb") as file, np.load(file) as content:
            return from_arrays(content["inputs"], content["labels"], box=(0, 1), classes=3, name="points")
    inputs = np.random.default_rng(1).random((9, 4)).astype(np.float32)
    with torch.no_grad():
        labels = make()(torch.from_numpy(inputs)).argmax(1).numpy()
    labels[4] = (labels[4] + 1) % 3
    return from_arrays(inputs, labels, box=(0, 1), classes=3, name="points")


def scatter(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Random points, drawn towards the image as far as they fool."""
    points = torch.rand(images.shape)
    best = points.clone()
    for part in torch.linspace(1, 0.02, 50):
        tried = images + part * (points - images)
        fools = network(tried).argmax(1) != labels
        best[fools] = tried[fools]
    return best


def fails(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """An error, nothing, or no image."""
    if (images[:, 0] > 0.6).any():
        raise ValueError("no")
    return torch.where((images[:, :1] > 0.3), images, torch.nan)


SUITE = Suite(
    name="points",
    description="Rows that end in every way.",
    rows=(
        own.row(__file__ + ":scatter", norm="l2", access="decision", block=3),
        own.row(__file__ + ":fails", norm="l2", access="decision", block=3),
        *rows(name="foolbox-ddn-l2"),
        *rows(name="certify-lower-l2"),
        *(replace(row, cap=4) for row in rows(name="certify-exact-l2", suite="exact")),
    ),
    samples=9,
    data=__file__ + ":data",
    networks=(__file__ + ":make",),
)


def copied(folder: Path, *, weights: bool = False) -> Path:
    """This file in another folder; with ``weights``, its images and the network's weights as files beside it."""
    path = Path(shutil.copy(__file__, folder / "points.py"))
    if weights:
        dataset = data()
        inputs, labels = dataset.load(dataset.usual_split)
        np.savez(folder / "points.npz", inputs=inputs, labels=labels)
        save_file(make().state_dict(), folder / "points.safetensors")
    return path
