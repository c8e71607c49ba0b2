"""What of a run's records a requirement is about."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.check.runs import Opened
from bench.norms import Norm
from bench.records import Status
from bench.specs import Kind

Floats = NDArray[np.float64]


def _of(frame: pd.DataFrame, network: str, norm: Norm) -> pd.DataFrame:
    return frame[(frame["network"] == network) & (frame["norm"] == norm.value)]


def distances(run: Opened, network: str, norm: Norm) -> Floats:
    """Best known distances of the images on which an attack of the norm ended, or an exact search found something, (n,).

    An image on which every attack failed has no distance: that nothing is known of it does not make it robust.
    """
    best = _of(run.evidence.best, network, norm)
    ended = _searched(run, network, norm)
    return best.loc[best["image"].isin(ended.loc[ended["ended"], "image"]), "distance"].to_numpy(dtype=np.float64)


def failed(run: Opened, network: str, norm: Norm) -> int:
    """How many images every attack of the norm that was run on them failed on."""
    searched = _searched(run, network, norm)
    return int((~searched.groupby("image")["ended"].any()).sum())


def _searched(run: Opened, network: str, norm: Norm) -> pd.DataFrame:
    """The records of what minimises the norm, with ``ended``: whether they say how far it is."""
    records = _of(run.evidence.records, network, norm)
    attack = records["kind"] == Kind.UPPER.value
    looked = attack & (records["status"] == Status.NOT_FOUND.value)
    known = records["status"].isin([Status.FOUND.value, Status.MISCLASSIFIED.value])
    chosen = (attack | (records["kind"] == Kind.EXACT.value)) & (records["status"] != Status.UNSUPPORTED.value)
    return records.assign(ended=looked | known)[chosen]


def bounds(run: Opened, network: str, norm: Norm) -> Floats:
    """Certified lower bounds of the images that a verifier of the norm was run on, (n,); 0 for misclassified ones."""
    records = _of(run.evidence.records, network, norm)
    verified = records[(records["kind"] != Kind.UPPER.value) & (records["status"] != Status.UNSUPPORTED.value)]
    best = _of(run.evidence.best, network, norm)
    return best.loc[best["image"].isin(verified["image"]), "lower"].to_numpy(dtype=np.float64)


def right(run: Opened, network: str) -> tuple[int, int, bool]:
    """On how many clean images the network is right, of how many, and whether these are all of the split.

    The images are those that the manifest's accuracy was measured on, or those of the run where it says nothing of that.
    """
    (described,) = [one for one in run.manifest["networks"] if one["name"] == network]
    accuracy, images = described.get("accuracy"), described.get("accuracy_images")
    if accuracy is None or not images:
        best = run.evidence.best[run.evidence.best["network"] == network].drop_duplicates("image")
        accuracy, images = float((~best["misclassified"].astype(bool)).mean()), len(best)
    return round(accuracy * images), images, images == run.manifest["data"]["size"]
