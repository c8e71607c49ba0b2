"""A run's folder of somebody else: nothing that it names is executed unless it is trusted, and is what the run was made with."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage import is_one_line, resign

from bench import report, store
from bench import run as runs
from bench.api import open_run
from bench.engine import trust
from bench.report import __main__ as command

MARK = "import pathlib; pathlib.Path(__file__).with_name('executed').touch()\n"

MINE = """
import pathlib

import numpy as np
import torch
from adapters import own
from bench.data import from_arrays
from bench.specs import Suite
from suites import rows
from beside import network

pathlib.Path(__file__).with_name("executed").touch()


def make():
    return network()


def data():
    inputs = np.random.default_rng(1).random((6, 4)).astype(np.float32)
    with torch.no_grad():
        labels = make()(torch.from_numpy(inputs)).argmax(1).numpy()
    return from_arrays(inputs, labels, box=(0, 1), classes=3, name="points")


def away(images_network, images, labels):
    return 1 - images


SUITE = Suite(
    name="mine",
    description="One row.",
    rows=(own.row(__file__ + ":away", norm="l2"),),
    samples=4,
    data=__file__ + ":data",
    networks=(__file__ + ":make",),
)
"""

BESIDE = """
import torch


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trust")
    (folder / "mine.py").write_text(MINE)
    (folder / "beside.py").write_text(BESIDE)
    assert runs.main(["--suite", str(folder / "mine.py"), "--workers", "0", "--out", str(folder), "--name", "run"]) == 0
    shutil.copytree(folder, folder.with_name("trusted"))
    return folder


@pytest.fixture
def run(made: Path) -> Path:
    shutil.rmtree(made)
    shutil.copytree(made.with_name("trusted"), made)
    (made / "executed").unlink()
    return made / "run"


WAYS = {
    "resume": lambda run, *more: runs.main(["--resume", str(run), "--workers", "0", *more]),
    "dry run": lambda run, *more: runs.main(["--resume", str(run), "--dry-run", *more]),
    "verify": lambda run, *more: command.main(["--verify", str(run), "--workers", "0", *more]),
}


def refused(run: Path, capfd: pytest.CaptureFixture[str], way: str, *more: str) -> str:
    """The one line with which a way of reading a run ends; nothing was executed."""
    capfd.readouterr()
    assert WAYS[way](run, *more) == 2
    errors = capfd.readouterr().err
    assert is_one_line(errors), errors
    assert not (run.parent / "executed").exists()
    return errors


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_executed_without_trust(run: Path, capfd: pytest.CaptureFixture[str], way: str) -> None:
    message = refused(run, capfd, way)
    assert str(run.parent / "mine.py") in message
    assert str(run.parent / "beside.py") in message
    assert "network make" in message
    assert "add --trust" in message
    assert WAYS[way](run, "--trust") == 0
    assert (run.parent / "executed").exists()


def test_reading_and_rendering_execute_nothing(run: Path) -> None:
    assert command.main([str(run)]) == 0
    assert len(open_run(run).records) == 4
    report.render_index(run.parent)
    assert not (run.parent / "executed").exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("file", ["mine.py", "beside.py"])
def test_another_file_is_refused_before_anything_is_executed(
    run: Path, capfd: pytest.CaptureFixture[str], way: str, file: str
) -> None:
    path = run.parent / file
    path.write_text(MARK + path.read_text())
    message = refused(run, capfd, way, "--trust")
    assert f"{path} is not the file that the run was made with" in message
    path.unlink()
    assert f"{path} is not the file that the run was made with: it cannot be read" in refused(
        run, capfd, way, "--trust"
    )


def network_of(source: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["request"]["networks"] = [f"make={source}"]
        content["networks"][0]["source"] = source

    return change


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["os:abort", "sys:exit", "antigravity:fly_high", "evil:make", "package.evil:make"])
def test_a_module_is_no_way_round(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, way: str, source: str
) -> None:
    (run.parent / "package").mkdir()
    for path in ("evil.py", "package/__init__.py", "package/evil.py"):
        (run.parent / path).write_text(MARK.replace("__file__", repr(str(run.parent / "x"))))
    monkeypatch.syspath_prepend(str(run.parent))
    resign(run, network_of(source))
    assert "network make" in refused(run, capfd, way)
    # What the manifest has no digest of is not executed for those who trust it either.
    assert "has no SHA-256" in refused(run, capfd, way, "--trust")


@pytest.mark.parametrize("key", ["suite", "data"])
def test_the_request_and_the_rest_of_the_manifest_are_both_looked_at(
    run: Path, capfd: pytest.CaptureFixture[str], key: str
) -> None:
    other = run.parent / "other.py"
    other.write_text(MARK + MINE)
    resign(run, lambda content: content["request"].update({key: f"{other}:data" if key == "data" else str(other)}))
    for way in WAYS:
        assert str(other) in refused(run, capfd, way, "--trust")
    resign(run, lambda content: content["data"].update(source=f"{other}:data"))
    for way in WAYS:
        assert str(other) in refused(run, capfd, way, "--trust")


def test_a_neighbour_that_the_manifest_leaves_out_is_not_executed(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def change(content: dict[str, Any]) -> None:
        for files in content["files"].values():
            files.pop(str(run.parent / "beside.py"), None)

    resign(run, change)
    (run.parent / "beside.py").write_text(MARK.replace("executed", "beside-executed") + BESIDE)
    sys.modules.pop("beside", None)
    assert WAYS["resume"](run, "--trust") == 2
    assert "beside.py is not among the files" in capfd.readouterr().err
    assert not (run.parent / "beside-executed").exists()


def test_forged_bytecode_is_not_executed(run: Path) -> None:
    path = run.parent / "beside.py"
    honest = path.read_bytes()
    bad = MARK.replace("executed", "bytecode") + BESIDE
    path.write_text(bad + "#" * max(len(honest) - len(bad), 0))
    cached = py_compile.compile(str(path), importlib.util.cache_from_source(str(path)))
    assert cached is not None
    status = path.stat()
    path.write_bytes(honest)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    content = bytearray(Path(cached).read_bytes())
    content[12:16] = len(honest).to_bytes(4, "little")
    Path(cached).write_bytes(content)
    sys.modules.pop("beside", None)
    assert WAYS["resume"](run, "--trust") == 0
    assert not (run.parent / "bytecode").exists()


def test_trust_that_is_not_asked_for_is_told(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--suite", "smoke", "--trust"]) == 2
    assert command.main(["--trust", str(run)]) == 2
    assert capfd.readouterr().err.count("\n") == 2


def test_what_is_built_in_needs_no_trust(run: Path) -> None:
    assert {code.what for code in trust.named(store.read(run).manifest)} == {
        "suite",
        "data",
        "network make",
        "attack own-away-l2",
    }

    def change(content: dict[str, Any]) -> None:
        content["request"] |= {"suite": "smoke", "data": "mnist", "networks": ["MLP"]}
        content["data"]["source"] = "mnist"
        content["networks"][0] |= {"name": "MLP", "source": None}
        content["rows"][0]["library"] = "foolbox"

    resign(run, change)
    assert trust.named(store.read(run).manifest) == ()


def test_the_advice_after_an_interruption_says_trust_where_it_is_needed(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.engine.runner.run", interrupted)
    assert WAYS["resume"](run, "--trust") == 130
    output = capfd.readouterr().out
    assert f"Go on with: python -m bench.run --resume {run} --trust\n" in output
    arguments = ["--suite", "smoke", "--networks", "MLP", "--samples", "1", "--workers", "0"]
    assert runs.main([*arguments, "--out", str(run.parent), "--name", "plain"]) == 130
    assert f"--resume {run.parent / 'plain'}\n" in capfd.readouterr().out
