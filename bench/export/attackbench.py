"""AttackBench (Cinà et al., arXiv:2404.19460): a folder of results that its ``analysis`` scripts read.

The layout and the keys are those of ``attack_evaluation/run.py`` and ``utils.py`` of github.com/attackbench/AttackBench: for
each attack ``<dataset>/<threat model>/<model>/batch_size_<n>/<attack>/<id>/`` with ``info.json`` and ``config.json``, and a
file of best distances for each scenario. Images are known by the SHA-512 of their float32 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.errors import StoreError
from bench.export.material import Material
from bench.export.names import safe
from bench.export.target import Place, Target
from bench.norms import Norm
from bench.records import Status

PREFIX = {"foolbox": "fb", "art": "art", "advlib": "adv_lib", "paper": "original", "own": "original"}
"""What AttackBench calls libraries at the beginning of an attack's name; ``original`` is an author's own code."""

BATCH = 1
"""The batch size that an export states: every record holds the costs of its own image, whatever block it was computed in."""

ORDER = (Norm.LINF, Norm.L0, Norm.L1, Norm.L2)
"""The norms in the order of AttackBench's metrics."""


def write(material: Material, place: Place) -> None:
    """Write every attack of every network, and the best known distances.

    Raises:
        StoreError: the run's manifest has no SHA-512 of its images.
    """
    hashes = material.manifest.get("image_sha512")
    if hashes is None:
        raise StoreError(
            f"run {material.name} has no SHA-512 of its images, by which AttackBench knows them: it was made by an earlier "
            "version of the bench; run it again under another name"
        )
    rows = {row["name"]: row for row in material.manifest["rows"]}
    named = _attack_names(rows)
    models = _model_names(material.evidence.networks)
    dataset = safe(material.manifest["data"]["name"])
    for (network, attack), group in material.evidence.attacks.groupby(["network", "attack"], observed=True):
        row = rows[str(attack)]
        scenario = place.folder / dataset / row["norm"] / models[str(network)]
        folder = scenario / f"batch_size_{BATCH}" / named[str(attack)] / "1"
        folder.mkdir(parents=True)
        _json(folder / "info.json", info(group, Norm(row["norm"]), hashes))
        _json(folder / "config.json", _config(material, str(network), row))
    for (network, norm), group in material.evidence.best.groupby(["network", "norm"], observed=True):
        known = {hashes[str(image)]: float(d) for image, d in zip(group["image"], group["distance"], strict=True)}
        _json(place.folder / f"{dataset}-{norm}-{safe(network)}-{BATCH}.json", known)


def info(records: pd.DataFrame, norm: Norm, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``info.json``.

    Args:
        records: of one network and attack, one line per image.
        norm: the attack's.
        hashes: SHA-512 by image.

    Returns:
        ``hashes``, ``ori_success``, ``adv_success``, ``times`` (seconds), ``num_forwards``, ``num_backwards``,
        ``box_failures``, ``batch_failures``: one for each image. ``distances``: likewise, in every norm; 0 where the clean
        image is wrong, infinite where nothing was found. ``best_optim_distances``: of the nearest point seen, in the
        attack's norm; where nothing was watched, the attack's own distance. ``accuracy``, ``ASR``: fractions of 1.
    """
    status = records["status"].astype(str)
    wrong = status == Status.MISCLASSIFIED.value
    success = wrong | (status == Status.FOUND.value)
    distance = records[norm.value].to_numpy(dtype=np.float64)
    seen = records["best_seen"].to_numpy(dtype=np.float64)
    return {
        "hashes": [hashes[str(image)] for image in records["image"]],
        "targeted": False,
        "accuracy": float((~wrong).mean()),
        "ori_success": wrong.tolist(),
        "adv_success": success.tolist(),
        "ASR": float(success.mean()),
        "times": records["seconds"].tolist(),
        "num_forwards": records["forwards"].tolist(),
        "num_backwards": records["backwards"].tolist(),
        "distances": {each.value: records[each.value].tolist() for each in ORDER},
        "best_optim_distances": {norm.value: np.where(np.isnan(seen), distance, seen).tolist()},
        "box_failures": (status == Status.INVALID.value).tolist(),
        "batch_failures": status.isin([Status.ERROR.value, Status.TIMEOUT.value]).tolist(),
    }


def _config(material: Material, network: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``config.json``: what AttackBench's readers look for, and the row as it was run."""
    content, domain = material.manifest, material.manifest["domain"]
    return {
        "seed": content["seed"],
        "cpu": not str(content.get("device") or "cpu").startswith("cuda"),
        "dataset": {"batch_size": BATCH, "num_samples": content["samples"]},
        "model": {"name": network, "dataset": content["data"]["name"]},
        "attack": {"name": row["name"], "threat_model": row["norm"], **(row.get("params") or {})},
        "minimal_norm_bench": material.provenance | {"row": row, "low": domain["low"], "high": domain["high"]},
    }


def _attack_names(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Rows as AttackBench names attacks, ``fb_ddn_l2``; the row's own name where two would be called the same."""
    named: dict[str, str] = {}
    for name, row in rows.items():
        library = str(row["library"])
        rest = name.removeprefix(f"{library}-").replace("-", "_")
        short = safe(f"{PREFIX.get(library, library)}_{rest}")
        named[name] = safe(name.replace("-", "_")) if short in named.values() else short
    return named


def _model_names(networks: tuple[str, ...]) -> dict[str, str]:
    """Folders of networks: AttackBench looks for lower case; a name stays as it is where two would be called the same."""
    lower = [safe(name).lower() for name in networks]
    return {name: low if lower.count(low) == 1 else safe(name) for name, low in zip(networks, lower, strict=True)}


def _json(path: Path, content: Mapping[str, Any]) -> None:
    # Infinity stands there as Python's json writes and reads it, as in AttackBench's own files.
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


TARGET = Target(
    name="attackbench",
    title="results that the analysis scripts of AttackBench read",
    write=write,
)
