"""Class by class: which classes are easily left, and for which."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics.distribution import median
from bench.metrics.frames import Evidence


def class_medians(evidence: Evidence) -> pd.DataFrame:
    """The median of the best known distances of each true class.

    Returns:
        Columns network, norm, label, images, median.
    """
    lines = [
        {
            "network": network,
            "norm": norm,
            "label": label,
            "images": len(group),
            "median": median(group["distance"].to_numpy()),
        }
        for (network, norm, label), group in evidence.best.groupby(["network", "norm", "label"], observed=True)
    ]
    return pd.DataFrame(lines, columns=["network", "norm", "label", "images", "median"])


def class_changes(evidence: Evidence) -> pd.DataFrame:
    """What images of each class are taken for by their nearest known adversarial example.

    Returns:
        Columns network, norm, label (true class), adversarial_class, images, and fraction of the true class's images
        that have an adversarial example. Misclassified images are left out.
    """
    known = evidence.best[np.isfinite(evidence.best["distance"]) & ~evidence.best["misclassified"]]
    keys = ["network", "norm", "label"]
    counted = known.groupby([*keys, "adversarial_class"], observed=True).size().rename("images").reset_index()
    total = counted.groupby(keys, observed=True)["images"].transform("sum")
    counted["fraction"] = counted["images"] / total
    return pd.DataFrame(counted)
