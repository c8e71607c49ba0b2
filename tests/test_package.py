"""What is released: one version everywhere, a wheel with all that a run needs and nothing else."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import bench

ROOT = Path(__file__).parents[1]

FOLDERS = ("bench", "adapters", "suites")

KINDS = {".py", ".json", ".csv", ".safetensors", ".gz", ".j2", ".js", ".css", ".typed"}
"""Suffixes of files that belong to the package."""


def installed() -> importlib.metadata.Distribution:
    """The bench as it is installed from a wheel; the test is skipped where the tree itself is installed."""
    found = importlib.metadata.distribution("minimal-norm-bench")
    if not any(str(file).startswith("bench/") for file in found.files or ()):
        pytest.skip("the tree is installed in place of a wheel; tox -e tests installs one")
    return found


def test_a_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.groups() == (bench.__version__, citation["date-released"])
    assert citation["version"] == bench.__version__
    assert citation["license"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


@pytest.mark.parametrize("name", ["wrong_number", "crash", "request"])
def test_a_form_asks_for_the_manifest(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    (asked,) = [entry for entry in form["body"] if entry["id"] == "manifest"]
    assert "manifest.json" in asked["attributes"]["label"]


def test_a_wheel_has_every_file_of_the_packages_and_no_other() -> None:
    files = {str(file) for file in installed().files or () if ".dist-info" not in str(file)}
    files = {file for file in files if "__pycache__" not in file and not file.startswith("..")}
    wanted = {
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files == wanted
    assert {Path(file).suffix for file in files} <= KINDS
    assert {"bench/py.typed", "adapters/py.typed", "suites/py.typed"} <= files


@pytest.mark.slow
def test_a_wheel_runs_outside_the_tree(tmp_path: Path) -> None:
    place = str(installed().locate_file("bench"))
    command = [sys.executable, "-I", "-c", "import bench; print(bench.__path__[0])"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == place
    command = [sys.executable, "-I", "-m", "bench.run", "--suite", "smoke", "--samples", "2", "--networks", "MLP"]
    done = subprocess.run([*command, "--workers", "0"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1]).name == "report.html"
    assert (tmp_path / done.stdout.splitlines()[-1]).is_file()
