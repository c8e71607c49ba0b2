"""Damaged runs through the command line, as a user meets them: one clear line and exit code 2, or the same numbers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damage import is_one_line, mutated, resign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import report, store
from bench import run as runs
from bench.report import __main__ as command

FACTORY = """
from bench.networks.mnist import MLP

def mine():
    return MLP()
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real run of a user's network with weights of its own, and of one of the bench's."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "nets.py").write_text(FACTORY)
    shutil.copy(
        Path(report.__file__).parents[1] / "networks" / "weights" / "MLP.safetensors", folder / "mine.safetensors"
    )
    arguments = ["--suite", "smoke", "--samples", "3", "--attacks", "foolbox-ddn-l2", "art-deepfool-l2"]
    arguments += ["--networks", "MLP", f"{folder / 'nets.py'}:mine", "--weights", str(folder / "mine.safetensors")]
    assert runs.main([*arguments, "--workers", "0", "--out", str(folder), "--name", "run"]) == 0
    return folder / "run"


@contextmanager
def kept(run: Path) -> Iterator[None]:
    """Give a run's folder, and the weights beside it, back as they were."""
    copy = run.parent / "copy"
    shutil.copytree(run, copy / "run")
    shutil.copy(run.parent / "mine.safetensors", copy)
    try:
        yield
    finally:
        shutil.rmtree(run)
        shutil.copytree(copy / "run", run)
        shutil.copy(copy / "mine.safetensors", run.parent)
        shutil.rmtree(copy)


def numbers(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return content


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_a_mutated_file_is_one_clear_line_or_changes_no_number(
    stored: Path, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    files = sorted([*stored.rglob("*.parquet"), stored / "manifest.json", stored.parent / "mine.safetensors"])
    path = data.draw(st.sampled_from(files))
    before = numbers(stored)
    verify = data.draw(st.booleans()) or "candidates" in path.parts or path.suffix == ".safetensors"
    with kept(stored):
        original = path.read_bytes()
        path.write_bytes(mutated(original, data, files))
        unchanged = path.read_bytes() == original
        capsys.readouterr()
        code = command.main(
            ["--verify", "--trust", "--workers", "0", "--seconds", "0", str(stored)] if verify else [str(stored)]
        )
        output, errors = capsys.readouterr()
        if code == 2:
            assert is_one_line(errors), errors
            assert path.name in errors or str(stored) in errors or "mine" in errors
            assert not unchanged
        else:
            assert (code, errors) == (0, "")
            assert numbers(stored) == before
            if not unchanged:
                # White space in JSON says nothing; a file of the report itself is written again.
                assert path.name == "manifest.json"
                assert store.read(stored).manifest
        assert "Traceback" not in output + errors


KEYS = (
    "name",
    "suite",
    "rows",
    "networks",
    "samples",
    "split",
    "seed",
    "domain",
    "data",
    "libraries",
    "image_sha256",
    "plan",
)


@pytest.mark.parametrize("key", [*KEYS, "started", "images_file_sha256"])
@pytest.mark.parametrize("value", [3, "text", [], {}, [{}], ...], ids=repr)
def test_a_foreign_manifest_is_one_clear_line(
    stored: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any
) -> None:
    def change(content: dict[str, Any]) -> None:
        if value is ...:
            del content[key]
        else:
            content[key] = value

    with kept(stored):
        resign(stored, change)
        capsys.readouterr()
        code = command.main([str(stored)])
        errors = capsys.readouterr().err
        if code == 2:
            assert is_one_line(errors), errors
        else:
            # Another name, split or seed is as good as the one that was there; hashes matter to those who compare runs.
            assert (code, errors) == (0, "")
            assert key in {"name", "split", "seed", "started", "samples"} or (key, value) in (
                ("image_sha256", {}),
                ("libraries", []),
            )


def test_every_file_and_key_of_a_run_is_documented(stored: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "store.md").read_text()
    files, _, manifest = page.partition("## The manifest")
    names = {path.name for path in stored.iterdir() if not path.name.startswith(".")}
    assert [name for name in sorted(names) if f"`{name}" not in files] == []
    keys = {
        key
        for line in manifest.partition("## ")[0].splitlines()
        if line.startswith("| `")
        for key in re.findall("`([a-z0-9_]+)`", line.split("|")[1])
    }
    assert keys == set(json.loads((stored / "manifest.json").read_text()))


@pytest.mark.parametrize("folder", ["records", "candidates"])
def test_a_part_under_another_blocks_name_is_told(
    stored: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    with kept(stored):
        first, second = sorted((stored / folder).glob("*foolbox-ddn-l2*"))
        first.rename(
            second.with_name(
                second.name.rpartition(".parquet")[0].rpartition(".")[0] + "." + first.name.split(".")[-2] + ".parquet"
            )
        )
        second.unlink()
        assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(stored)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_part_that_is_gone_is_counted(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with kept(stored):
        next((stored / "records").iterdir()).unlink()
        assert command.main([str(stored)]) == 0
        page = (stored / "report.html").read_text()
        assert "This run breaks a rule that must hold." in page
        assert "9 of 12 planned records are stored" in page
        assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(stored)]) == 1
        assert "BROKEN: Every planned record is stored: 9 of 12" in capsys.readouterr().out


def test_verifying_a_run_says_what_was_judged(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(stored)]) == 0
    assert (
        "12 adversarial examples judged again, 0 of 4 blocks computed again: all as their records say"
        in capsys.readouterr().out
    )


def test_verifying_with_other_weights_is_refused(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with kept(stored):
        other = Path(report.__file__).parents[1] / "networks" / "weights" / "CNN.safetensors"
        shutil.copy(other, stored.parent / "mine.safetensors")
        assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(stored)]) == 2
        assert "do not fit the network" in capsys.readouterr().err
