"""Handwritten digits of 8 x 8 pixels, from scikit-learn (UCI Optical Recognition of Handwritten Digits).

``test`` is every third picture, ``train`` the others. Pictures have grey levels from 0 to 16.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.data.arrays import thirds
from bench.data.dataset import Dataset, Images
from bench.domain import Domain

SIZE = 1_797
"""How many pictures there are."""


@cache
def _read() -> Images:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    images, labels = load_digits(return_X_y=True)
    return images.astype(np.float32).reshape(-1, 1, 8, 8), labels.astype(np.int64)


DATASET = Dataset(
    name="digits",
    title="digits (scikit-learn)",
    domain=Domain(shape=(1, 8, 8), classes=10, low=0.0, high=16.0, channel_axis=0, unit="grey level"),
    splits=thirds(_read, SIZE),
    usual_split="test",
    start_split="train",
)
