"""Breast cancer from scikit-learn (UCI Breast Cancer Wisconsin, Diagnostic): 30 features of cell nuclei, two classes.

``test`` is every third row, ``train`` the others. Each feature has a box of its own, from its lowest to its highest value in
the whole table.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.data.arrays import thirds
from bench.data.dataset import Dataset, Images
from bench.domain import Domain

SIZE = 569
"""How many rows there are."""

CLASSES = ("malignant", "benign")

NAMES = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry",
    "fractal dimension",
)  # fmt: skip

FEATURES = (
    *(f"mean {name}" for name in NAMES),
    *(f"{name} error" for name in NAMES),
    *(f"worst {name}" for name in NAMES),
)

LOW = (
    6.981, 9.71, 43.79, 143.5, 0.05263, 0.01938, 0.0, 0.0, 0.106, 0.04996, 0.1115, 0.3602, 0.757, 6.802, 0.001713, 0.002252,
    0.0, 0.0, 0.007882, 0.0008948, 7.93, 12.02, 50.41, 185.2, 0.07117, 0.02729, 0.0, 0.0, 0.1565, 0.05504,
)  # fmt: skip
HIGH = (
    28.11, 39.28, 188.5, 2501.0, 0.1634, 0.3454, 0.4268, 0.2012, 0.304, 0.09744, 2.873, 4.885, 21.98, 542.2, 0.03113, 0.1354,
    0.396, 0.05279, 0.07895, 0.02984, 36.04, 49.54, 251.2, 4254.0, 0.2226, 1.058, 1.252, 0.291, 0.6638, 0.2075,
)  # fmt: skip
"""The box, feature by feature: known without reading the table."""


@cache
def _read() -> Images:
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - takes a second

    features, labels = load_breast_cancer(return_X_y=True)
    return features.astype(np.float32), labels.astype(np.int64)


DATASET = Dataset(
    name="breast_cancer",
    title="breast cancer (scikit-learn)",
    domain=Domain(
        shape=(30,), classes=2, low=LOW, high=HIGH, channel_axis=None, class_names=CLASSES, feature_names=FEATURES
    ),
    splits=thirds(_read, SIZE),
    usual_split="test",
    start_split="train",
)
