"""Runs as AttackBench keeps them: names of images, files, and numbers that its readers read back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from bench import data, export, metrics, store
from bench.engine.images import Images
from bench.engine.plan import Plan
from bench.export import __main__ as command
from bench.norms import Norm
from bench.records import Status

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
    theirs = hashlib.sha512(np.ascontiguousarray(grey.to(torch.float32).div(255).numpy()).data).hexdigest()
    assert list(images.digests("sha512").values()) == [FIRST_OF_MNIST, theirs]
    assert images.digests("sha256")["7"] == hashlib.sha256(images.inputs[1].tobytes()).hexdigest()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = synthetic.run(samples=8, networks=["MLP", "CNN_d"], seed=4, clean_errors=0.2, failures=0.5)
    return synthetic.write(run, tmp_path_factory.mktemp("results") / "made")


@pytest.fixture(scope="module")
def folder(stored: Path) -> Path:
    return export.export(stored, "attackbench")


def results(folder: Path) -> dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]]:
    """Every result that AttackBench's scripts would find, read as they read it: by (model, attack) info and config."""
    found = {}
    for path in folder.glob("*/*/*/batch_size_*/**/info.json"):
        config = json.loads((path.parent / "config.json").read_text())
        assert path.parents[4].name == config["attack"]["threat_model"]
        assert path.parents[5].name == config["model"]["dataset"]
        assert path.parents[3].name == config["model"]["name"].lower()
        assert path.parents[2].name == f"batch_size_{config['dataset']['batch_size']}"
        found[config["model"]["name"], config["attack"]["name"]] = json.loads(path.read_text()), config
    return found


def distances(info: dict[str, Any], config: dict[str, Any], kind: str) -> dict[str, float]:
    """By hash: infinite where the attack failed, 0 where the clean image is already wrong, as AttackBench counts them."""
    values = np.array(info[kind][config["attack"]["threat_model"]])
    values[~np.array(info["adv_success"])] = np.inf
    values[np.array(info["ori_success"])] = 0
    return dict(zip(info["hashes"], values.tolist(), strict=True))


def test_attackbench_reads_the_distances_of_the_run(stored: Path, folder: Path) -> None:
    run = store.read(stored)
    hashes = run.manifest["image_sha512"]
    records = metrics.evidence(run.records(), run.manifest).attacks
    read = results(folder)
    assert set(read) == set(records[["network", "attack"]].astype(str).itertuples(index=False, name=None))
    for (network, attack), group in records.groupby(["network", "attack"], observed=True):
        info, config = read[str(network), str(attack)]
        found = distances(info, config, "distances")
        assert found == {hashes[str(line.image)]: line.distance for line in group.itertuples()}
        seen = distances(info, config, "best_optim_distances")
        assert all(seen[image] <= found[image] for image in found)
        assert info["num_forwards"] == group["forwards"].tolist()
        assert info["num_backwards"] == group["backwards"].tolist()
        assert info["times"] == group["seconds"].tolist()
        assert sum(info["batch_failures"]) == group["status"].isin(["error", "timeout"]).sum()
        assert info["ASR"] == group["status"].isin([Status.FOUND.value, Status.MISCLASSIFIED.value]).mean()
        assert list(info["distances"]) == ["linf", "l0", "l1", "l2"]
    assert any(np.isinf(values).any() for info, _ in read.values() for values in info["distances"].values())


def test_attackbench_reads_the_best_distances(stored: Path, folder: Path) -> None:
    run = store.read(stored)
    best = metrics.evidence(run.records(), run.manifest).best
    for norm in (Norm.L0, Norm.L2, Norm.LINF):
        for network in ("MLP", "CNN_d"):
            read = json.loads((folder / f"made-up-{norm.value}-{network}-1.json").read_text())
            own = best[(best["network"] == network) & (best["norm"] == norm.value)]
            assert list(read) == [run.manifest["image_sha512"][str(image)] for image in own["image"]]
            assert list(read.values()) == own["distance"].tolist()


def test_attacks_have_the_prefixes_by_which_attackbench_knows_libraries(folder: Path) -> None:
    names = {path.parents[1].name for path in folder.rglob("info.json")}
    assert {"fb_deepfool_l2", "art_cw_repaired_l2", "original_deepfool_linf"} <= names
    assert all(name.startswith(("fb_", "art_", "original_")) for name in names)


def test_a_run_without_sha512_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = synthetic.run(samples=3, networks=["MLP"])
    del run.manifest["image_sha512"]
    path = synthetic.write(run, tmp_path / "old")
    assert command.main([str(path), "--to", "attackbench"]) == 2
    line = (
        "error: run synthetic has no SHA-512 of its images, by which AttackBench knows them: it was made by an earlier "
        "version of the bench; run it again under another name\n"
    )
    assert capsys.readouterr().err == line
    assert not (path / "export").exists()
    assert command.main([str(path), "--to", "csv"]) == 0
