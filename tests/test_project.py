"""What the project says of itself, against what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import suites
from bench import networks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NETWORKS = (ROOT / "docs" / "reference" / "networks.md").read_text()
SUITES = (ROOT / "docs" / "reference" / "suites.md").read_text()


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    (command,) = re.findall(r"^ {4}(.*\btox)$", README, flags=re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("name", networks.spec.ZOO)
def test_the_stated_accuracies_are_those_of_the_shipped_weights(name: str) -> None:
    record = networks.pinned(name)
    row = f"| `{name}` | {record['train_accuracy']:.2%} | {record['test_accuracy']:.2%} |"
    assert row in NETWORKS


@pytest.mark.parametrize("name", suites.names())
def test_the_page_of_suites_names_every_suite(name: str) -> None:
    assert f"| `{name}` |" in SUITES


def test_no_file_names_a_machine_or_a_registry() -> None:
    hosts = re.compile("py" + r"pi\.org|" + "python" + r"hosted|/opt/pypi")
    for path in [*ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md"), ROOT / ".ci" / "run"]:
        assert path.is_dir() or not hosts.search(path.read_text()), path
