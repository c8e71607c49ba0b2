"""What a page is made of: one stored run, or several laid side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import StoreError, printable
from bench.report.data import SEVERAL
from bench.report.gallery import CandidateReader, Pictures


class Stored(Protocol):
    """The reading side of a run: ``bench.store.Run``."""

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run."""
        ...

    def records(self) -> pd.DataFrame:
        """All records."""
        ...

    def images(self) -> tuple[NDArray[np.int32], Pictures]:
        """Indices and clean images."""
        ...

    def candidates(self, network: str, attack: str, blocks: Collection[int] | None = None) -> dict[int, Pictures]:
        """Adversarial examples by image, of the given blocks or of all."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Records with their manifest and pictures, of one run or of several.

    Attributes:
        title: what the page is called.
        manifest: of the run; of several, what they have together.
        records: as the store gives them.
        images: indices (m,) and clean images (m, *shape).
        candidates: reads adversarial examples by network and attack.
        runs: the manifests of the runs as they are stored.
    """

    title: str
    manifest: Mapping[str, Any]
    records: pd.DataFrame
    images: tuple[NDArray[np.int32], Pictures]
    candidates: CandidateReader
    runs: Sequence[Mapping[str, Any]]


def single(run: Stored) -> Source:
    """A run by itself."""
    manifest = shown(run.manifest)
    title = str(manifest.get("name") or "run")
    return Source(title, manifest, _records(run), run.images(), run.candidates, [manifest])


def shown(content: Any) -> Any:
    """JSON data whose texts can be shown.

    Characters that turn the direction of writing, and others that cannot be seen, stand there as escapes; new lines stay.

    Raises:
        StoreError: it is nested too deeply.
    """
    try:
        return _shown(content)
    except RecursionError as error:
        raise StoreError("the manifest is nested too deeply to be shown; restore it from a copy of the run") from error


def _shown(content: Any) -> Any:
    if isinstance(content, str):
        return content if content.isprintable() else "\n".join(map(printable, content.split("\n")))
    if isinstance(content, Mapping):
        return {_shown(key): _shown(value) for key, value in content.items()}
    return [_shown(value) for value in content] if isinstance(content, list) else content


def _records(run: Stored) -> pd.DataFrame:
    records = run.records()
    return records.assign(message=[printable(str(message or "")) for message in records["message"]])


def together(runs: Sequence[Stored]) -> Source:
    """Several runs side by side, as if they were one run with all their networks.

    A network's name that occurs in two runs gets its run's name behind it. Rows of one name are one row: if their
    parameters differ, a warning says so.

    Args:
        runs: at least two.

    Raises:
        StoreError: the runs are not of the same images, or two have one name.
    """
    contents = [shown(run.manifest) for run in runs]
    names = [str(content.get("name") or "run") for content in contents]
    if len(set(names)) < len(names):
        raise StoreError(f"two of the runs are called the same ({', '.join(names)}); give runs of different names")
    _require_same_images(contents, names)
    called = _network_names(runs, names)
    parts = []
    for run, name in zip(runs, names, strict=True):
        records = _records(run).astype({"network": object, "attack": object})
        records["network"] = records["network"].map(lambda network, name=name: called[name, network])
        parts.append(records)
    back = {new: (run, old) for run, name in zip(runs, names, strict=True) for old, new in _own(called, name)}

    def candidates(network: str, attack: str, blocks: Collection[int] | None = None) -> dict[int, Pictures]:
        run, own = back[network]
        return run.candidates(own, attack, blocks)

    pictures = [run.images() for run in runs]
    clean = {int(i): image for indices, images in pictures for i, image in zip(indices, images, strict=True)}
    order = sorted(clean)
    images = np.array(order, dtype=np.int32), np.stack([clean[i] for i in order])
    merged = _merged(contents, names, called)
    return Source(merged["name"], merged, pd.concat(parts, ignore_index=True), images, candidates, contents)


def _own(called: Mapping[tuple[str, str], str], name: str) -> list[tuple[str, str]]:
    return [(old, new) for (run, old), new in called.items() if run == name]


def _network_names(runs: Sequence[Stored], names: Sequence[str]) -> dict[tuple[str, str], str]:
    own = [
        (name, str(network["name"]))
        for run, name in zip(runs, names, strict=True)
        for network in run.manifest["networks"]
    ]
    count = pd.Series([network for _, network in own]).value_counts()
    return {(name, network): f"{network} ({name})" if count[network] > 1 else network for name, network in own}


def _require_same_images(manifests: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    known: dict[str, tuple[str, str]] = {}
    for manifest, name in zip(manifests, names, strict=True):
        for key in ("shape", "low", "high", "classes"):
            one, other = manifests[0]["domain"][key], manifest["domain"][key]
            if one != other:
                raise StoreError(f"runs {names[0]} and {name} differ in {key} of their images; they cannot be compared")
        for index, sha256 in manifest["image_sha256"].items():
            other, first = known.setdefault(index, (sha256, name))
            if other != sha256:
                raise StoreError(
                    f"image {index} is another one in run {first} than in run {name}; runs side by side need the same images"
                )


def _merged(
    manifests: Sequence[Mapping[str, Any]], names: Sequence[str], called: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    warnings = [
        {"network": f"{warning.get('network', '')} ({name})", "message": warning.get("message", "")}
        for manifest, name in zip(manifests, names, strict=True)
        for warning in manifest.get("warnings", [])
    ]
    for manifest, name in zip(manifests, names, strict=True):
        for row in manifest["rows"]:
            first = rows.setdefault(row["name"], row)
            if first.get("params") != row.get("params"):
                message = (
                    f"{row['label']} has other parameters in run {name} than in run {names[0]}; compare it with care"
                )
                warnings.append({"network": "", "message": message})
    chosen = {str(manifest["data"].get("chosen")) for manifest in manifests}
    states = [str(manifest.get("status", "finished")) for manifest in manifests]
    unfinished = [state for state in states if state != "finished"]
    planned = [manifest.get("planned") for manifest in manifests]
    return dict(manifests[0]) | {
        "name": " and ".join(names),
        "data": dict(manifests[0]["data"]) | ({"chosen": SEVERAL} if len(chosen) > 1 else {}),
        "status": unfinished[0] if unfinished else "finished",
        "started": min(str(manifest["started"]) for manifest in manifests),
        "suite": {
            "name": ", ".join(dict.fromkeys(str(manifest["suite"]["name"]) for manifest in manifests)),
            "description": f"{len(names)} runs side by side",
        },
        "split": ", ".join(dict.fromkeys(str(manifest["split"]) for manifest in manifests)),
        "seed": ", ".join(dict.fromkeys(str(manifest["seed"]) for manifest in manifests)),
        "samples": _range(sorted({int(manifest["samples"]) for manifest in manifests})),
        "libraries": _distinct_by_name([library for manifest in manifests for library in manifest["libraries"]]),
        "rows": list(rows.values()),
        "holes": _distinct([hole for manifest in manifests for hole in manifest.get("holes", [])]),
        "networks": [
            dict(network) | {"name": called[name, str(network["name"])]}
            for manifest, name in zip(manifests, names, strict=True)
            for network in manifest["networks"]
        ],
        "before_after": _before_after(names, called),
        "warnings": warnings,
        "planned": sum(int(count) for count in planned if count is not None) if None not in planned else None,
    }


def _before_after(names: Sequence[str], called: Mapping[tuple[str, str], str]) -> list[dict[str, str]]:
    """Networks of one name in two runs, in the order of the runs; of several runs, each with the one before it."""
    found = []
    for network in dict.fromkeys(network for _, network in called):
        there = [called[name, network] for name in names if (name, network) in called]
        found += [{"network": network, "before": before, "after": after} for before, after in pairwise(there)]
    return found


def _range(samples: Sequence[int]) -> int | str:
    """How many images the runs have: a number, or ``6 to 50``."""
    return samples[0] if len(samples) == 1 else f"{samples[0]:,} to {samples[-1]:,}"


def _distinct_by_name(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({str(item["name"]): item for item in reversed(items)}.values())[::-1]


def _distinct(holes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list({tuple(sorted(hole.items())): hole for hole in holes}.values())
