"""A stored run of format 1 is read, rendered and judged again; it cannot go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import report, run, store
from bench.engine.verify import verify
from bench.metrics import evidence

STORED = Path(__file__).parent / "data" / "format1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(STORED, tmp_path / "old")


def test_it_is_read_in_the_layout_of_today(old: Path) -> None:
    stored = store.read(old)
    assert stored.manifest["format"] == 1
    records = stored.records()
    assert len(records) == stored.manifest["planned"]
    assert (records["pixels"] == records["l0"]).all()
    assert stored.manifest["data"]["title"] == "MNIST"
    assert stored.manifest["domain"]["shape"] == [1, 28, 28]
    rows = evidence(records, stored.manifest).rows.set_index("attack")
    assert rows.loc["foolbox-ddn-l2", "native"]
    # What was written here stood under a library's name then, and is no evidence about that library.
    assert not rows.loc["foolbox-sparsefool-l0", "native"]


def test_it_is_rendered(old: Path) -> None:
    page = report.render(old).read_text()
    assert "the first 3 of the test split of MNIST" in page


def test_every_example_of_it_is_judged_again(old: Path) -> None:
    found = verify(store.read(old))
    assert (found.judged, found.computed, found.broken) == (len(store.read(old).records()), 0, ())
    (line,) = found.unchecked
    assert "an older version wrote the run" in line


def test_it_cannot_go_on(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--resume", str(old)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "older version" in message
    assert message.count("\n") == 1
