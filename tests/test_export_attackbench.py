"""Runs as AttackBench keeps them: names of images, files, and numbers that its readers read back."""

from __future__ import annotations

import hashlib

import numpy as np
import synthetic
import torch

from bench import data
from bench.engine.images import Images
from bench.engine.plan import Plan

FIRST_OF_MNIST = (
    "d4810641202b8ea885671b6ba8b28f18d083a4bcac532b14db2f9f820ba6b494"
    "1d9a845f0da096c8cb57c4485a45e26cad2f6102b076e0140d1640722e4881e3"
)
"""SHA-512 of the first test image of MNIST: (1, 28, 28) float32, grey levels divided by 255."""


def test_an_image_has_the_name_that_attackbench_gives_it() -> None:
    plan = Plan(suite=synthetic.SUITE, rows=(), holes=(), networks=(), indices=(0, 7), seed=0, time_limit=1)
    images = Images(data.find("mnist"), "test", plan)
    assert images.digests("sha512")["0"] == FIRST_OF_MNIST
    # As its loader makes an image, and as its run_attack hashes it.
    grey = torch.from_numpy(np.round(images.inputs[1] * 255).astype(np.uint8))
    theirs = hashlib.sha512(np.ascontiguousarray(grey.to(torch.float32).div(255).numpy())).hexdigest()
    assert list(images.digests("sha512").values()) == [FIRST_OF_MNIST, theirs]
    assert images.digests("sha256")["7"] == hashlib.sha256(images.inputs[1].tobytes()).hexdigest()
