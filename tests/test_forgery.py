"""Forged runs: whoever changes a record can sign it again, and judging the run again has to find it all the same."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import points
import pytest

from bench import run as runs
from bench import store
from bench.engine import manifest
from bench.engine.verify import Verified, verify
from bench.errors import BenchError
from bench.norms import Norm, distances
from bench.records import Record, Status, to_table
from bench.specs import Kind
from bench.store import writer as store_writer


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over nine points whose records have every status that a record can have, but a timeout."""
    folder = tmp_path_factory.mktemp("forgery")
    suite = points.copied(folder)
    assert runs.main(["--suite", str(suite), "--first", "--workers", "0", "--out", str(folder), "--name", "run"]) == 0
    return folder / "run"


@dataclass
class Forgery:
    """All that a run's folder holds, to be changed and signed again."""

    manifest: dict[str, Any]
    records: list[dict[str, Any]]
    candidates: dict[tuple[str, int], np.ndarray]
    images: np.ndarray

    @classmethod
    def of(cls, folder: Path) -> Forgery:
        run = store.read(folder)
        records = [{str(key): value for key, value in entry.items()} for entry in run.records().to_dict("records")]
        candidates = {
            (row["name"], image): values.copy()
            for row in run.manifest["rows"]
            for image, values in run.candidates("make", row["name"]).items()
        }
        return cls(run.manifest, records, candidates, run.images()[1].copy())

    def first(self, status: str, attack: str = "foolbox-ddn-l2") -> dict[str, Any]:
        return next(entry for entry in self.records if entry["status"] == status and entry["attack"] == attack)

    def example(self, entry: dict[str, Any], values: np.ndarray) -> None:
        """Give a record another example, with the right distances."""
        self.candidates[entry["attack"], entry["image"]] = values.astype(np.float32)
        clean = self.images[entry["image"]].astype(np.float64)
        changes = values.astype(np.float32).astype(np.float64) - clean
        entry |= {norm.value: float(value[0]) for norm, value in distances(changes[None]).items()}
        entry["pixels"] = float((changes != 0).sum())

    def nothing(self, entry: dict[str, Any], status: str = "not_found") -> None:
        """Make a record one of nothing found."""
        entry |= {"status": status, "adversarial_class": -1, "pixels": math.inf} | {
            norm.value: math.inf for norm in Norm
        }

    def image(self, index: int, values: np.ndarray) -> None:
        self.images[index] = values
        self.manifest["image_sha256"][str(index)] = hashlib.sha256(self.images[index].tobytes()).hexdigest()
        self.manifest["image_sha512"][str(index)] = hashlib.sha512(self.images[index].tobytes()).hexdigest()

    def sign(self, folder: Path) -> None:
        """Write it all, with every digest and every name as they have to be."""
        content = self.manifest
        content["identity"] = manifest.identity(content)
        content["plan"] = manifest.plan_of(content["identity"])
        shutil.rmtree(folder)
        with store.writing(folder) as writer:
            content["images_file_sha256"] = writer.images(range(len(self.images)), self.images)
            blocks: dict[tuple[str, int], list[dict[str, Any]]] = {}
            for entry in self.records:
                blocks.setdefault((entry["attack"], entry["block"]), []).append(entry)
            for (attack, number), entries in blocks.items():
                key = store.block_key("make", attack, number)
                found = {
                    e["image"]: self.candidates[attack, e["image"]]
                    for e in entries
                    if (attack, e["image"]) in self.candidates
                }
                pictures = store_writer._pictures(list(found), np.asarray(list(found.values()), dtype=np.float32))
                stored = store_writer._bytes(pictures, {"bench.plan": content["plan"]})
                pair = store.digest(stored)[:32]
                (folder / "candidates" / f"{key}.{pair}.parquet").write_bytes(stored)
                table = to_table([record(entry) for entry in entries])
                stored = store_writer._bytes(table, {"bench.plan": content["plan"], "bench.candidates": pair})
                (folder / "records" / f"{key}.{store.digest(stored)[:32]}.parquet").write_bytes(stored)
            writer.manifest({key: value for key, value in content.items() if key not in ("format", "digest")})


def record(entry: dict[str, Any]) -> Record:
    lengths = {norm: entry[norm.value] for norm in Norm}
    rest = {key: value for key, value in entry.items() if key not in {norm.value for norm in Norm}}
    return Record(
        **rest | {"norm": Norm(entry["norm"]), "kind": Kind(entry["kind"]), "status": Status(entry["status"])},
        distances=lengths,
    )


def label_and_near_example(forged: Forgery) -> None:
    entry = forged.first("found")
    near = forged.images[entry["image"]].copy()
    near[0] += 0.001 if near[0] < 0.5 else -0.001
    forged.example(entry, near)
    entry["adversarial_class"] = entry["label"]
    entry["label"] = entry["predicted"] = (entry["label"] + 1) % 3


def every_label_of_an_image(forged: Forgery) -> None:
    for entry in forged.records:
        if entry["image"] == 0:
            entry["label"] = (entry["label"] + 1) % 3


def not_found_without_example(forged: Forgery) -> None:
    entry = forged.first("found")
    forged.nothing(entry)
    del forged.candidates[entry["attack"], entry["image"]]


def not_found_with_example(forged: Forgery) -> None:
    forged.nothing(forged.first("found"))


def distance_halved(forged: Forgery) -> None:
    forged.first("found")["l2"] /= 2


def other_distance_halved(forged: Forgery) -> None:
    forged.first("found")["linf"] /= 2


def class_changed(forged: Forgery) -> None:
    entry = forged.first("found")
    entry["adversarial_class"] = ({0, 1, 2} - {entry["label"], entry["adversarial_class"]}).pop()


def image_changed(forged: Forgery) -> None:
    entry = forged.first("found")
    middle = (forged.images[entry["image"]] + forged.candidates[entry["attack"], entry["image"]]) / 2
    forged.image(entry["image"], middle)
    for other in forged.records:
        if other["image"] == entry["image"] and other["status"] == "found":
            forged.example(other, forged.candidates[other["attack"], other["image"]])


def record_dropped(forged: Forgery) -> None:
    forged.records.remove(forged.first("found", "own-scatter-l2"))
    forged.manifest["planned"] -= 1


def block_dropped(forged: Forgery) -> None:
    forged.records = [e for e in forged.records if (e["attack"], e["block"]) != ("own-fails-l2", 1)]
    forged.manifest["planned"] -= 3


def record_doubled(forged: Forgery) -> None:
    forged.records.append(dict(forged.first("found")))
    forged.manifest["planned"] += 1


def record_of_another_image(forged: Forgery) -> None:
    entry = forged.first("found", "own-scatter-l2")
    other = next(e for e in forged.records if e["attack"] == entry["attack"] and e["block"] != entry["block"])
    for key in ("image", "label", "predicted"):
        entry[key] = other[key]


def lower_raised(forged: Forgery) -> None:
    entry = (
        forged.first("found", "certify-lower-l2")
        if any(e["status"] == "found" and e["attack"] == "certify-lower-l2" for e in forged.records)
        else forged.first("not_found", "certify-lower-l2")
    )
    entry["lower"] *= 1.01


def exact_lower_above_truth(forged: Forgery) -> None:
    entry = forged.first("found", "certify-exact-l2")
    values = forged.candidates[entry["attack"], entry["image"]]
    farther = values + 0.05 * (values - forged.images[entry["image"]])
    forged.example(entry, np.clip(farther, 0, 1))
    entry["lower"] = entry["l2"] * (1 - 1e-5)
    for other in forged.records:
        if other["image"] == entry["image"] and other["attack"] not in ("certify-exact-l2", "own-fails-l2"):
            forged.nothing(other)
            forged.candidates.pop((other["attack"], other["image"]), None)
            other["lower"] = 0.0


def misclassified_made_found(forged: Forgery) -> None:
    entry = forged.first("misclassified")
    entry |= {"status": "found", "adversarial_class": entry["predicted"], "predicted": entry["label"]}
    forged.example(entry, 1 - forged.images[entry["image"]])


def found_made_misclassified(forged: Forgery) -> None:
    entry = forged.first("found")
    del forged.candidates[entry["attack"], entry["image"]]
    entry |= {
        "status": "misclassified",
        "predicted": entry["adversarial_class"],
        "adversarial_class": -1,
        "pixels": 0.0,
    }
    entry |= {norm.value: 0.0 for norm in Norm}


def error_hidden(forged: Forgery) -> None:
    entry = forged.first("error", "own-fails-l2")
    entry |= {"status": "not_found", "message": ""}


def error_explained_otherwise(forged: Forgery) -> None:
    forged.first("error", "own-fails-l2")["message"] = "MemoryError: the machine had no room"


def invalid_hidden(forged: Forgery) -> None:
    entry = forged.first("invalid", "own-fails-l2")
    entry |= {"status": "not_found", "message": ""}


def predicted_changed(forged: Forgery) -> None:
    entry = forged.first("misclassified")
    entry["predicted"] = ({0, 1, 2} - {entry["label"], entry["predicted"]}).pop()


def weights_of_another(forged: Forgery) -> None:
    forged.manifest["networks"][0]["sha256"] = "0" * 64


def steps_changed(forged: Forgery) -> None:
    row = next(row for row in forged.manifest["rows"] if row["name"] == "foolbox-ddn-l2")
    row["params"]["steps"] *= 10


def seed_changed(forged: Forgery) -> None:
    forged.manifest["seed"] = forged.manifest["request"]["seed"] = 1


def seed_of_the_manifest_changed(forged: Forgery) -> None:
    forged.manifest["seed"] = 1


def accuracy_changed(forged: Forgery) -> None:
    forged.manifest["networks"][0]["accuracy"] = 1.0


def samples_changed(forged: Forgery) -> None:
    forged.manifest["samples"] = forged.manifest["request"]["samples"] = 10
    forged.manifest["planned"] = 50


def samples_fewer(forged: Forgery) -> None:
    forged.manifest["samples"] = forged.manifest["request"]["samples"] = 8
    del forged.manifest["image_sha256"]["8"]
    del forged.manifest["image_sha512"]["8"]
    forged.images = forged.images[:8]
    forged.records = [entry for entry in forged.records if entry["image"] < 8]
    forged.candidates = {key: values for key, values in forged.candidates.items() if key[1] < 8}
    forged.manifest["planned"] = 40


def sha512_changed(forged: Forgery) -> None:
    forged.manifest["image_sha512"]["0"] = "0" * 128


def kind_changed(forged: Forgery) -> None:
    row = next(row for row in forged.manifest["rows"] if row["name"] == "foolbox-ddn-l2")
    row["kind"] = "exact"
    for entry in forged.records:
        if entry["attack"] == row["name"]:
            entry["kind"] = "exact"
            entry["lower"] = entry["l2"] if entry["status"] == "found" else 0.0


def block_changed(forged: Forgery) -> None:
    for entry in forged.records:
        if (entry["attack"], entry["block"]) == ("own-scatter-l2", 2):
            entry["block"] = 3


def block_size_changed(forged: Forgery) -> None:
    next(row for row in forged.manifest["rows"] if row["name"] == "own-scatter-l2")["block"] = 9
    for entry in forged.records:
        if entry["attack"] == "own-scatter-l2":
            entry["block"] = 0


def finding_removed(forged: Forgery) -> None:
    checks = forged.manifest["networks"][0]["preflight"]
    del checks[next(iter(checks))]


def finding_changed(forged: Forgery) -> None:
    checks = forged.manifest["networks"][0]["preflight"]
    checks["gradients"]["status"] = "fail"
    forged.manifest["warnings"] = [{"network": "make", "message": checks["gradients"]["message"]}]


def farther_example(forged: Forgery) -> None:
    for entry in forged.records:
        if entry["status"] == "found" and entry["attack"] == "foolbox-ddn-l2":
            values = forged.candidates[entry["attack"], entry["image"]]
            clean = forged.images[entry["image"]]
            forged.example(entry, np.clip(values + 0.01 * (values - clean), 0, 1))


def cost_changed(forged: Forgery) -> None:
    forged.first("found")["backwards"] /= 2


def seen_nearer(forged: Forgery) -> None:
    forged.first("found")["best_seen"] /= 2


def decision_based(forged: Forgery) -> dict[str, Any]:
    """A record with a curve."""
    return next(entry for entry in forged.records if entry["curve"] is not None and np.isfinite(entry["curve"]).any())


def curve_lowered(forged: Forgery) -> None:
    entry = decision_based(forged)
    entry["curve"] = entry["curve"] / 2


def curve_that_rises(forged: Forgery) -> None:
    entry = decision_based(forged)
    entry["curve"] = np.append(entry["curve"][:-1], math.inf)


def curve_of_a_gradient_attack(forged: Forgery) -> None:
    forged.first("found")["curve"] = decision_based(forged)["curve"]


def curve_dropped(forged: Forgery) -> None:
    decision_based(forged)["curve"] = None


def box_changed(forged: Forgery) -> None:
    forged.manifest["domain"]["high"] = 2.0


def title_changed(forged: Forgery) -> None:
    forged.manifest["data"]["title"] = "ImageNet"


def library_changed(forged: Forgery) -> None:
    for item in forged.manifest["libraries"]:
        item["ours"] = not item["ours"]


FORGERIES: list[Callable[[Forgery], None]] = [
    label_and_near_example,
    every_label_of_an_image,
    not_found_without_example,
    not_found_with_example,
    distance_halved,
    other_distance_halved,
    class_changed,
    image_changed,
    record_dropped,
    block_dropped,
    record_doubled,
    record_of_another_image,
    lower_raised,
    exact_lower_above_truth,
    misclassified_made_found,
    found_made_misclassified,
    error_hidden,
    error_explained_otherwise,
    invalid_hidden,
    predicted_changed,
    weights_of_another,
    steps_changed,
    seed_changed,
    seed_of_the_manifest_changed,
    accuracy_changed,
    samples_changed,
    samples_fewer,
    sha512_changed,
    kind_changed,
    block_changed,
    block_size_changed,
    finding_removed,
    finding_changed,
    farther_example,
    cost_changed,
    seen_nearer,
    curve_lowered,
    curve_that_rises,
    curve_of_a_gradient_attack,
    curve_dropped,
    box_changed,
    title_changed,
    library_changed,
]


def verified(folder: Path) -> Verified:
    return verify(store.read(folder), trusted=True)


def test_the_run_has_records_of_every_kind_and_signing_it_again_changes_nothing(honest: Path, tmp_path: Path) -> None:
    forged = Forgery.of(honest)
    assert {entry["status"] for entry in forged.records} == set(Status) - {"timeout", "unsupported"}
    folder = shutil.copytree(honest, tmp_path / "run")
    forged.sign(folder)
    found = verified(folder)
    assert found.broken == ()
    assert found.unchecked == ()
    assert found.computed == found.blocks


@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: change.__name__)
def test_a_forgery_is_found(honest: Path, tmp_path: Path, change: Callable[[Forgery], None]) -> None:
    folder = shutil.copytree(honest, tmp_path / "run")
    forged = Forgery.of(folder)
    change(forged)
    forged.sign(folder)
    try:
        lines = verified(folder).broken
    except BenchError as error:
        lines = (str(error),)
    assert lines
    assert all("\n" not in line for line in lines)
