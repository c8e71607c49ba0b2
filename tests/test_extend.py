"""Each thing that may be added is added from outside, by touching what docs/architecture.md says, and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fake_run
import pytest

from bench import store

ROOT = Path(__file__).parents[1]

MINE = """
import numpy as np
import torch
from torch import nn

from adapters import own
from bench.specs import Suite
from suites import rows

random = np.random.default_rng(0)
WEIGHT = random.standard_normal((3, 6)).astype("float32")
IMAGES = random.uniform(-1, 3, (8, 6)).astype("float32")


def make():
    layer = nn.Linear(6, 3)
    layer.load_state_dict({"weight": torch.from_numpy(WEIGHT), "bias": -torch.from_numpy(WEIGHT).sum(1)})
    return layer


def data():
    from bench.data import from_arrays

    labels = (IMAGES @ WEIGHT.T - WEIGHT.sum(1)).argmax(1)
    return from_arrays(IMAGES, labels, box=(-1, 3), class_names=["a", "b", "c"], name="points")


def walk(network, images, labels, *, steps=200):
    points = images.clone()
    for _ in range(steps):
        points.requires_grad_(True)
        logits = network(points)
        right = logits.argmax(1) == labels
        margin = logits.gather(1, labels[:, None])[:, 0] - logits.scatter(1, labels[:, None], -1e9).amax(1)
        (gradient,) = torch.autograd.grad(margin.sum(), points)
        step = 0.01 * gradient / gradient.norm(dim=1, keepdim=True) * right[:, None]
        points = (points.detach() - step).clamp(0, 1)
    return points


SUITE = Suite(
    name="mine",
    description="A function beside a row of ours.",
    rows=(own.row(__file__ + ":walk", norm="l2"), *rows(name="foolbox-ddn-l2")),
    samples=8,
    data=__file__ + ":data",
    networks=(__file__ + ":make",),
)
"""


def bench_run(folder: Path, *arguments: str, path: tuple[Path, ...] = (), module: str = "bench.run") -> str:
    environment = fake_run.environment()
    environment["PYTHONPATH"] = os.pathsep.join([*map(str, path), environment["PYTHONPATH"]])
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


@pytest.mark.slow
def test_a_suite_a_dataset_a_network_and_an_attack_from_one_file(mine: Path) -> None:
    folder = mine.parent
    bench_run(folder, "--suite", "mine.py", "--workers", "1", "--name", "r")
    run = store.read(folder / "results" / "r")
    records = run.records()
    assert set(records["attack"].astype(str)) == {"own-walk-l2", "foolbox-ddn-l2"}
    assert set(records["status"].astype(str)) == {"found"}
    assert run.manifest["data"]["name"] == "points"
    assert run.manifest["domain"]["class_names"] == ["a", "b", "c"]
    assert run.manifest["networks"][0]["source"] == f"{mine}:make"
    assert run.manifest["command"] == [
        "python",
        "-m",
        "bench.run",
        "--suite",
        "mine.py",
        "--workers",
        "1",
        "--name",
        "r",
    ]
    best = records.groupby("attack", observed=True)["l2"].median()
    assert best["own-walk-l2"] < 1.2 * best["foolbox-ddn-l2"]
    page = (folder / "results" / "r" / "report.html").read_text()
    assert "points" in page
    # The same things, each named on the command line beside those of the bench.
    named = (
        "--suite",
        "smoke",
        "--attacks",
        "foolbox-ddn-l2",
        "--data",
        "mine.py:data",
        "--networks",
        "line=mine.py:make",
    )
    bench_run(folder, *named, "--workers", "0", "--name", "s")
    again = store.read(folder / "results" / "s").records()
    assert again["l2"].tolist() == records.loc[records["attack"] == "foolbox-ddn-l2", "l2"].tolist()
    # Another content of the file is another run.
    mine.write_text(MINE.replace("steps=200", "steps=100"))
    environment = fake_run.environment()
    command = [sys.executable, "-m", "bench.run", "--resume", "results/r", "--trust"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not the file that the run was made with" in done.stderr


LIBRARY = """
from bench.libraries import Library
from bench.norms import Norm
from bench.specs import Access, AttackSpec, Family, Method, Suite

LIBRARY = Library(name="coins", label="Coins", attacker="coins.attack:ATTACKER", packages=("coins",), marker="h")
METHOD = Method(slug="toss", title="Toss", family=Family.REFERENCE, access=Access.DECISION, paper="", idea="", formula="")
SUITE = Suite(
    name="coins",
    description="Random images.",
    rows=(AttackSpec(method=METHOD, library="coins", norm=Norm.LINF, target="coins.attack:toss", block=4),),
    samples=4,
    networks=("MLP",),
)
"""

ATTACK = """
import torch


class Attacker:
    def attack(self, spec, problem):
        generator = torch.Generator().manual_seed(problem.seed)
        tosses = torch.randint(0, 2, problem.images.shape, generator=generator).float()
        return tosses


ATTACKER = Attacker()
"""


@pytest.mark.slow
def test_a_library_as_an_installed_package(tmp_path: Path) -> None:
    site = tmp_path / "site"
    package = site / "coins"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LIBRARY)
    (package / "attack.py").write_text(ATTACK)
    information = site / "coins-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: coins\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(
        "[minimal_norm_bench.libraries]\ncoins = coins:LIBRARY\n[minimal_norm_bench.suites]\ncoins = coins:SUITE\n"
    )
    listed = bench_run(tmp_path, "--list", path=(site,))
    assert "coins-toss-linf" in listed
    assert "Toss Linf (Coins)" in listed
    bench_run(tmp_path, "--suite", "coins", "--workers", "1", "--name", "r", path=(site,))
    run = store.read(tmp_path / "results" / "r")
    assert set(run.records()["status"].astype(str)) <= {"found", "not_found"}
    (library,) = run.manifest["libraries"]
    assert (library["label"], library["ours"], library["versions"]) == ("Coins", False, {"coins": "1.2"})
    assert "Coins" in (tmp_path / "results" / "r" / "report.html").read_text()


NORM = """    LINF = ("linf", "Linf", "largest change of a value", _linf)
    L4 = ("l4", "L4", "fourth root of the sum of fourth powers", lambda rows: (rows**4).sum(axis=1) ** 0.25)
"""


@pytest.mark.slow
def test_a_norm_is_one_member(mine: Path) -> None:
    tree = mine.parent / "tree"
    for package in ("bench", "adapters", "suites"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = tree / "bench" / "norms.py"
    text = source.read_text()
    old = NORM.splitlines(keepends=True)[0]
    assert old in text
    source.write_text(text.replace(old, NORM))
    mine.write_text(MINE.replace('norm="l2"', 'norm="l4"'))
    bench_run(mine.parent, "--suite", "mine.py", "--norms", "l4", "--workers", "0", "--name", "r", path=(tree,))
    summary = json.loads((mine.parent / "results" / "r" / "summary.json").read_text())
    assert "l4" in json.dumps(summary)
    assert "L4" in (mine.parent / "results" / "r" / "report.html").read_text()
    bench_run(mine.parent, "--verify", "--trust", "results/r", path=(tree,), module="bench.report")
