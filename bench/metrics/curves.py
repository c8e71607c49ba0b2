"""Robust accuracy over eps: per network, per attack, and between certified bound and best attack."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.metrics import distribution as dist
from bench.metrics.frames import Evidence

BEST = "best of all"
"""The ``attack`` of curves of all attacks together."""

CERTIFIED = "certified"
"""The ``attack`` of curves of certified bounds."""

_COLUMNS = ["network", "norm", "attack", "eps", "robust_accuracy", "low", "high"]


def best_curves(evidence: Evidence) -> pd.DataFrame:
    """The security evaluation curve of each network in each norm, against all attacks together.

    Returns:
        Columns network, norm, attack (``best of all``), eps, robust_accuracy, and low, high: Wilson's 95 % interval
        at each eps. A step curve: a value holds from its eps to the next.
    """
    groups = evidence.best.groupby(["network", "norm"], observed=True)
    parts = [_curve(str(net), str(norm), BEST, group["distance"].to_numpy()) for (net, norm), group in groups]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def attack_curves(evidence: Evidence) -> pd.DataFrame:
    """The same of each attack by itself, over the images it was planned for; columns as in :func:`best_curves`."""
    groups = evidence.attacks.groupby(["network", "norm", "attack"], observed=True)
    parts = [
        _curve(str(network), str(norm), str(attack), group["distance"].to_numpy(), 150)
        for (network, norm, attack), group in groups
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def certified_curves(evidence: Evidence) -> pd.DataFrame:
    """Certified robust accuracy: the fraction of images whose certified lower bound is > eps, with the same columns.

    Networks and norms without a verifier have no curve.
    """
    parts = []
    for (network, norm), group in evidence.best.groupby(["network", "norm"], observed=True):
        if (str(network), str(norm)) in evidence.bounded:
            parts.append(_curve(str(network), str(norm), CERTIFIED, group["lower"].to_numpy()))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _curve(network: str, norm: str, attack: str, distances: dist.FloatArray, points: int = 400) -> pd.DataFrame:
    eps, accuracy = dist.curve(distances, points)
    low, high = dist.wilson(np.round(accuracy * len(distances)), len(distances))
    return pd.DataFrame(
        {
            "network": network,
            "norm": norm,
            "attack": attack,
            "eps": eps,
            "robust_accuracy": accuracy,
            "low": low,
            "high": high,
        },
        columns=_COLUMNS,
    )


def robust_accuracy_table(evidence: Evidence, steps: int = 5) -> pd.DataFrame:
    """Robust accuracy of every network at a few round eps that span the distances of the run, and at the field's usual ones.

    Returns:
        Columns norm, eps, ``usual`` (whether papers state robust accuracy at this eps), network, robust_accuracy, low, high
        (Wilson's 95 %), certified: the fraction of images with a certified bound > eps, NaN where no verifier was run.
    """
    bounded = evidence.bounded
    lines = []
    for norm in evidence.norms:
        chosen = evidence.best[evidence.best["norm"] == norm.value]
        usual = evidence.usual.get(norm, ())
        grid = sorted({*round_grid(chosen["distance"].to_numpy(), steps, whole=norm.counts), *usual})
        for network, group in chosen.groupby("network", observed=True):
            distance = group["distance"].to_numpy()
            lower = group["lower"].to_numpy()
            for eps in grid:
                accuracy = float(dist.robust_accuracy(distance, eps))
                low, high = dist.wilson(round(accuracy * len(distance)), len(distance))
                lines.append(
                    {
                        "norm": norm.value,
                        "eps": eps,
                        "usual": eps in usual,
                        "network": network,
                        "robust_accuracy": accuracy,
                        "low": float(low),
                        "high": float(high),
                        "certified": float((lower > eps).mean()) if (str(network), norm.value) in bounded else np.nan,
                    }
                )
    columns = ["norm", "eps", "usual", "network", "robust_accuracy", "low", "high", "certified"]
    return pd.DataFrame(lines, columns=columns)


def round_grid(distances: dist.FloatArray, steps: int, *, whole: bool = False) -> list[float]:
    """About ``steps`` round numbers from near 0 to about the 90th percentile of the finite distances; [] for none."""
    finite = np.sort(distances[np.isfinite(distances) & (distances > 0)])
    if not len(finite):
        return []
    top = float(dist.quantiles(finite, np.array([0.9]))[0])
    raw = top / steps
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(min((1, 2, 2.5, 5, 10), key=lambda m: abs(m * power - raw)) * power)
    if whole:
        step = max(1.0, round(step))
    count = max(1, min(steps + 2, round(top / step)))
    return [float(f"{step * (i + 1):.6g}") for i in range(count)]
