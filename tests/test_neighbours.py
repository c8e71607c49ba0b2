"""Strange things in a results folder, and texts of others: a report is never failed by them, a terminal never obeys them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import points
import pytest
from damage import is_one_line, resign

from bench import report, store
from bench import run as runs
from bench.errors import StoreError, printable
from bench.report import __main__ as command
from bench.report import exports

HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202egnp.exe\u2066\r\n= cmd"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours")
    suite = points.copied(folder)
    arguments = ["--suite", str(suite), "--attacks", "own-*", "foolbox-*", "--workers", "0"]
    assert runs.main([*arguments, "--out", str(folder / "results"), "--name", "run"]) == 0
    return folder / "results" / "run"


def deep(run: Path) -> None:
    (run / "manifest.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def deep_list(run: Path) -> None:
    resign(run, lambda content: content["machine"].update(deep=json.loads("[" * 400 + "]" * 400)))


def nan(run: Path) -> None:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": NaN'))


def huge(run: Path) -> None:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 0', f'"seed": {"9" * 10_000}'))


def huge_signed(run: Path) -> None:
    resign(run, lambda content: content.update(seed=10**400, samples=10**30, planned=10**40, time_limit=1e308))


def no_libraries(run: Path) -> None:
    resign(run, lambda content: content.update(libraries=[]))


def no_rows(run: Path) -> None:
    resign(run, lambda content: content.update(rows=[], networks=[]))


def mistyped(run: Path) -> None:
    resign(run, lambda content: content.update(request=[1], machine=3, identity="x"))


def hostile(run: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["name"] = content["data"]["title"] = content["suite"]["name"] = HOSTILE
        content["warnings"] = [{"network": HOSTILE, "message": HOSTILE}]
        content["domain"]["class_names"] = [HOSTILE, "b", "c"]
        for row in content["rows"]:
            row["label"] = HOSTILE
        for network in content["networks"]:
            network["structure"] = HOSTILE

    resign(run, change)


def lone_surrogate(run: Path) -> None:
    resign(run, lambda content: content.update(name="\udcff"))


def fifo(run: Path) -> None:
    (run / "manifest.json").unlink()
    os.mkfifo(run / "manifest.json")


STRANGE: list[Callable[[Path], None]] = [
    deep,
    deep_list,
    nan,
    huge,
    huge_signed,
    no_libraries,
    no_rows,
    mistyped,
    hostile,
    lone_surrogate,
    fifo,
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange.__name__)
def test_a_strange_run_is_one_line_and_fails_no_neighbour(
    stored: Path, tmp_path: Path, strange: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    run = shutil.copytree(stored, results / "run")
    neighbour = shutil.copytree(stored, results / os.fsdecode(b"a\xff\x1b[31m\xe2\x80\xae"))
    strange(neighbour)
    assert command.main([str(run)]) == 0
    listed = (results / "index.html").read_text()
    assert "run/report.html" in listed
    for path in (neighbour, results):
        for arguments in ([str(path)], ["--verify", "--workers", "0", str(path)]):
            capfd.readouterr()
            try:
                code = command.main(arguments)
            except SystemExit as ended:
                # The command line takes no name that cannot be shown.
                assert path is neighbour
                code = int(str(ended.code))
            output, errors = capfd.readouterr()
            assert code in {0, 1, 2}
            assert (errors.count("\n") == 1 and errors.startswith("error: ")) if code == 2 else errors == ""
            assert not any(character in output + errors for character in "\x1b\x07\u202e\u2066")
    page = neighbour / "report.html"
    if page.is_file():
        content = page.read_text() + (results / "index.html").read_text()
        assert not any(character in content for character in "\x1b\x07\u202e\u2066")


@pytest.mark.parametrize("strange", [mistyped, huge_signed, no_rows], ids=lambda strange: strange.__name__)
def test_an_odd_manifest_is_mended_or_one_line(
    stored: Path, tmp_path: Path, strange: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(stored, tmp_path / "run")
    strange(run)
    code = runs.main(["--resume", str(run), "--trust", "--workers", "0"])
    errors = capfd.readouterr().err
    if code == 2:
        assert is_one_line(errors), errors
    else:
        assert (code, errors) == (0, "")
        assert store.read(run).manifest["planned"] == len(store.read(run).records())


@pytest.mark.parametrize(
    "change",
    [
        {"samples": "3"},
        {"networks": 3},
        {"networks": [3]},
        {"seed": -1},
        {"seed": 1.5},
        {"device": "\x1b"},
        {"full": "no"},
        {"x": 1},
    ],
    ids=repr,
)
def test_a_mistyped_request_is_one_line(
    stored: Path, tmp_path: Path, change: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(stored, tmp_path / "run")
    resign(run, lambda content: content["request"].update(change))
    assert runs.main(["--resume", str(run), "--trust", "--workers", "0"]) == 2
    errors = capfd.readouterr().err
    assert is_one_line(errors), errors
    assert "\x1b" not in errors


def test_a_results_folder_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        report.render_index(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", " \n @x", "\tx", "\nx"]
)
def test_no_cell_of_a_spreadsheet_begins_a_formula(text: str) -> None:
    frame = pd.DataFrame({"name": [text, "plain"]})
    for content in (exports.csv_text(frame), exports.records_csv(frame).decode()):
        line = content.replace('"', "").splitlines()[1]
        assert line.startswith("'")
    assert printable(text) == printable(printable(text))


def test_a_text_is_printed_as_it_is_or_as_escapes() -> None:
    assert printable("Zürich 数 ≥ 3") == "Zürich 数 ≥ 3"
    assert printable(HOSTILE) == "\\x1b]0;owned\\x07\\x1b[31m\\u202egnp.exe\\u2066 = cmd"
