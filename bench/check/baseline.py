"""What of a run compares with a baseline: the same images, attacked by the same attacks; and what was left out, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import metrics
from bench.check.runs import Opened
from bench.errors import UsageError
from bench.norms import Norm
from bench.records import Status
from bench.specs import Kind

_ENDED = (Status.FOUND, Status.MISCLASSIFIED)
"""How a record ends that has a distance; of an attack, that it found nothing says something as well."""

_SEARCHING = (Kind.UPPER, Kind.EXACT)
"""The rows that look for adversarial examples."""

_WORDS = frozenset(
    {"method", "variant", "label", "title", "reasons", "defects", "paper", "idea", "formula", "cap", "batch", "block"}
)
"""Of a row, what does not change what its attack does: words, which images, and how many at once."""

_BOX = ("shape", "low", "high", "classes", "channel_axis")
_LISTED = 5


@dataclass(frozen=True)
class Common:
    """The part of two runs that compares.

    Attributes:
        candidate, baseline: best known distances, as ``Evidence.best``, over the same networks, images and attacks.
        networks: the networks of the run that the baseline has as well.
        notes: what was left out or differs, a line each.
    """

    candidate: pd.DataFrame
    baseline: pd.DataFrame
    networks: Mapping[str, str]
    notes: tuple[str, ...]

    def distances(self, network: str, norm: Norm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The distances of the run and of the baseline, (n,) float64 each, the i-th of both on one image.

        An image counts where an attack that minimises the norm ended in both runs.
        """
        one, two = (self._of(frame, network, norm) for frame in (self.candidate, self.baseline))
        both = pd.concat([one, two], axis=1, join="inner").to_numpy(dtype=np.float64)
        return both[:, 0], both[:, 1]

    @staticmethod
    def _of(best: pd.DataFrame, network: str, norm: Norm) -> pd.Series:
        chosen = (best["network"] == network) & (best["norm"] == norm.value) & best["searched"].astype(bool)
        return best[chosen].set_index("image")["distance"]


def common(run: Opened, baseline: Opened) -> Common:
    """Lay a run beside its baseline.

    Images are the same where their index in the split, their SHA-256 and their label are. Of each image those attacks count
    that are rows of both runs with the same parameters and ended in both, so that no run is ahead for having had another
    attack, or one that failed.

    Raises:
        UsageError: the runs are of another dataset, split or domain, or have no image, network or attack in common.
    """
    _require_same_data(run, baseline)
    networks = _networks(run, baseline)
    images, notes = _images(run, baseline)
    rows, of_rows = _rows(run, baseline)
    one = _usable(run.evidence.records, list(networks), images, rows)
    two = _usable(baseline.evidence.records, list(networks.values()), images, rows)
    back = {there: here for here, there in networks.items()}
    two = two.assign(network=two["network"].map(back))
    keys = ["network", "attack", "image"]
    labels = one[[*keys, "label"]].merge(two[[*keys, "label"]], on=keys, suffixes=("", "_there"))
    other = labels.loc[labels["label"] != labels["label_there"], "image"].unique()
    one, two = (frame[~frame["image"].isin(other)] for frame in (one, two))
    pairs = one[keys].assign(here=_ended(one)).merge(two[keys].assign(there=_ended(two)), on=keys)
    ended, once = pairs.loc[pairs["here"] & pairs["there"], keys], int((pairs["here"] ^ pairs["there"]).sum())
    if len(other):
        notes.append(f"{len(other)} images have another label in the baseline and are left out")
    if once:
        notes.append(
            f"{once} of {len(pairs)} results are left out, as in one of the two runs the attack failed on that image, or the "
            "exact search found no example"
        )
    best = [
        metrics.evidence(frame.merge(ended, on=keys), {**run.manifest, "rows": rows_of(run.manifest, rows)}).best
        for frame in (one, two)
    ]
    renamed = [
        f"network {here} is compared with {there} of the baseline" for here, there in networks.items() if here != there
    ]
    return Common(best[0], best[1], networks, (*renamed, *notes, *of_rows, *_versions(run, baseline, rows)))


def rows_of(manifest: Mapping[str, Any], names: Collection[str]) -> list[Mapping[str, Any]]:
    """The rows of these names, as the manifest has them."""
    return [row for row in manifest["rows"] if row["name"] in names]


def _require_same_data(run: Opened, baseline: Opened) -> None:
    one, two = run.manifest, baseline.manifest
    pairs = [("dataset", one["data"]["name"], two["data"]["name"]), ("split", one["split"], two["split"])]
    pairs += [(f"{key} of the images", one["domain"].get(key), two["domain"].get(key)) for key in _BOX]
    for what, here, there in pairs:
        if here != there:
            raise UsageError(
                f"{run.name} and its baseline {baseline.name} differ in the {what} ({_short(here)} and {_short(there)}); "
                "give a baseline on the same data"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _networks(run: Opened, baseline: Opened) -> dict[str, str]:
    """The networks that both runs have; a run's only network is compared with a baseline's only one whatever their names."""
    here, there = run.evidence.networks, baseline.evidence.networks
    if len(here) == len(there) == 1:
        return {here[0]: there[0]}
    both = {name: name for name in here if name in there}
    if not both:
        raise UsageError(
            f"{run.name} has the networks {', '.join(here)} and its baseline {baseline.name} has {', '.join(there)}: none in "
            "common; give the networks the same names"
        )
    return both


def _images(run: Opened, baseline: Opened) -> tuple[list[int], list[str]]:
    one, two = run.manifest["image_sha256"], baseline.manifest["image_sha256"]
    shared = [index for index in one if index in two]
    same = [int(index) for index in shared if one[index] == two[index]]
    if not same:
        raise UsageError(
            f"{run.name} and its baseline {baseline.name} have no image in common ({len(shared)} of the same index in the "
            "split, none with the same SHA-256); give a baseline on the same images"
        )
    notes = []
    if len(shared) > len(same):
        notes.append(f"{len(shared) - len(same)} images have another content in the baseline and are left out")
    if len(shared) < len(one):
        notes.append(f"{len(same)} of the {len(one)} images of the run are in the baseline")
    return same, notes


def _rows(run: Opened, baseline: Opened) -> tuple[list[str], list[str]]:
    """The names of the rows that are the same in both runs, and what is said of the others."""
    one, two = (
        {str(row["name"]): row for row in each.manifest["rows"] if row["kind"] in _SEARCHING}
        for each in (run, baseline)
    )
    same = [name for name in one if name in two and _doing(one[name]) == _doing(two[name])]
    if not same:
        raise UsageError(
            f"{run.name} and its baseline {baseline.name} have no attack in common with the same parameters; give a baseline "
            "of the same suite"
        )
    groups = {
        "only in the run": [name for name in one if name not in two],
        "only in the baseline": [name for name in two if name not in one],
        "with other parameters in the baseline": [name for name in one if name in two and name not in same],
    }
    return same, [f"attacks {where}, left out: {_listed(names)}" for where, names in groups.items() if names]


def _doing(row: Mapping[str, Any]) -> dict[str, Any]:
    """What decides what a row's attack does."""
    return {key: value for key, value in row.items() if key not in _WORDS}


def _usable(
    records: pd.DataFrame, networks: Collection[str], images: Iterable[int], rows: Iterable[str]
) -> pd.DataFrame:
    chosen = (
        records["network"].isin(list(networks))
        & records["image"].isin(list(images))
        & records["attack"].isin(list(rows))
    )
    found: pd.DataFrame = records[chosen].astype({"network": object, "attack": object})
    return found


def _ended(records: pd.DataFrame) -> pd.Series:
    """Whether each record says how far its attack, or exact search, came."""
    looked = (records["kind"] == Kind.UPPER.value) & (records["status"] == Status.NOT_FOUND.value)
    return looked | records["status"].isin([status.value for status in _ENDED])


def _versions(run: Opened, baseline: Opened, rows: Collection[str]) -> list[str]:
    """What the attacks' own code differs in."""
    used = {str(row["library"]) for row in rows_of(run.manifest, rows)}
    one, two = (
        {
            package: version
            for library in each.manifest["libraries"]
            if library["name"] in used
            for package, version in library.get("versions", {}).items()
        }
        for each in (run, baseline)
    )
    differing = [f"{name} {two[name]} and {one[name]}" for name in one if two.get(name, one[name]) != one[name]]
    notes = [f"versions in the baseline and in the run: {_listed(differing)}"] if differing else []
    if run.manifest.get("code") != baseline.manifest.get("code"):
        notes.append("the baseline was computed by another version of the bench's own code")
    return notes


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more"
