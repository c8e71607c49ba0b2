"""Command lines made up by hypothesis: whatever is typed ends in a result, or in one line that begins ``error:``."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import run, train
from bench.arguments import typed
from bench.check import __main__ as check
from bench.export import __main__ as export
from bench.guide import costs
from bench.report import __main__ as report
from bench.score import __main__ as score

ODD_TEXT = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=6).map(os.fsdecode),
    st.sampled_from(["", " ", ":", "=", "a=b=c", "\0", "x\ny", "\udcff", "a" * 5000, "-", "--", "~", "~nobody/x", "*", "[", "é", "\u202e"]),
)  # fmt: skip
ODD_PATHS = st.builds(
    "{}{}".format,
    st.sampled_from(
        ["", "x=", "MLP=", "onnx:", "x=onnx:", "torchvision:", "timm:", "/nowhere/", "folder", "pipe", "file", "/dev/zero", "/dev/null", "latin.py", "nul.py", "pipe.py", "folder.py", "ends.py", "/", ".", ".."]
    ),
    st.sampled_from(["", ":", ":f", ":g", ":f.g", ".py", ".py:f", "/x", ":f:g", "=x", ":f(1)", ":f(a=b)", ":f@", ":f@w.pt", ".onnx"]) | ODD_TEXT,
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "smoke",
        "MLP",
        "CNN",
        "mnist",
        "test",
        "val",
        "l2",
        "linf",
        "foolbox",
        "foolbox-ddn-l2",
        "os:getcwd",
        "os:path",
        "sys:argv",
    ]
)
NUMBERS = st.one_of(
    st.sampled_from(
        ["nan", "inf", "-inf", "1e400", "-1", "0", "-0", "1e3", "1_0", "٣", "0x10", str(10**22), str(2**31), "9" * 5000]
    ),
    st.integers().map(str),
    st.floats().map(str),
)
DEVICES = st.sampled_from(["cpu", "cpu:0", "meta", "hpu", "mps", "cuda", "cuda:99", "cuda:-1", "", "quantum"])
VALUES = ODD_TEXT | ODD_PATHS | NAMES | NUMBERS | DEVICES

OF_RUN = [
    "--suite", "--networks", "--weights", "--normalize", "--data", "--split", "--samples", "--norms", "--libraries", "--attacks", "--exact", "--seed",
    "--workers", "--executor", "--scheduler", "--device", "--time-limit", "--out", "--name", "--resume", "--full",
]  # fmt: skip


@st.composite
def options(draw: st.DrawFn, names: Sequence[str]) -> list[str]:
    """Options with any values, joined with ``=`` or as words of their own."""
    words = []
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        value = draw(VALUES)
        words += draw(st.sampled_from([[f"{name}={value}"], [name, value], [name]]))
    return words


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of a test, with files and folders that are none of what is asked for."""
    folder = tmp_path_factory.mktemp("odd")
    for name in ("folder", "folder.py"):
        (folder / name).mkdir()
    for name in ("pipe", "pipe.py"):
        os.mkfifo(folder / name)
    (folder / "file").write_text("x")
    (folder / "latin.py").write_bytes(b"# \xe9\xff\ndef f(): pass\n")
    (folder / "nul.py").write_bytes(b"\0")
    (folder / "ends.py").write_text("raise SystemExit(3)\n")
    with contextlib.chdir(folder):
        yield folder


def ends_well(main: Callable[[list[str]], int], arguments: list[str]) -> None:
    """Run a command line; check how it ends."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code: object = main(arguments)
        except SystemExit as end:
            code = end.code
    error = errors.getvalue()
    assert code in (0, 2)
    assert (code == 2) == error.startswith("error: ")
    assert error.count("\n") == (code == 2)
    assert "Traceback" not in error


@given(options(OF_RUN))
@settings(max_examples=120)
def test_a_plan_of_anything(odd_folder: Path, words: list[str]) -> None:
    ends_well(run.main, ["--suite", "smoke", "--dry-run", *words])


@given(options([*OF_RUN, "--list"]))
@settings(max_examples=40)
def test_anything_alone(odd_folder: Path, words: list[str]) -> None:
    ends_well(run.main, ["--dry-run", *words])


@given(st.sampled_from([name for name in OF_RUN if name not in {"--executor", "--scheduler", "--workers"}]), VALUES)
@settings(max_examples=8)
def test_a_run_of_anything(odd_folder: Path, name: str, value: str) -> None:
    small = ["--suite", "smoke", "--networks", "MLP", "--samples", "1", "--attacks", "foolbox-ddn-l2", "--workers", "0"]
    ends_well(run.main, [*small, f"{name}={value}" if name != "--full" else name])


@given(VALUES)
@settings(max_examples=30)
def test_going_on_with_anything(odd_folder: Path, value: str) -> None:
    ends_well(run.main, [f"--resume={value}"])


@given(st.lists(VALUES, max_size=2), options(["--out", "--verify", "--trust", "--seconds", "--workers"]))
@settings(max_examples=60)
def test_a_report_of_anything(odd_folder: Path, names: list[str], words: list[str]) -> None:
    ends_well(report.main, [*names, *words])
    ends_well(costs.main, [*names, *words])


REQUIREMENTS = st.lists(
    st.sampled_from(
        ["l2.median", "l2", "no-worse", "verdict", "attack.", ">=", "=", "pass", "1", "[", "]", ":", "by", "5%"]
    )
    | ODD_TEXT
    | NUMBERS,
    max_size=5,
).map(" ".join)


@given(
    VALUES,
    st.lists(REQUIREMENTS, max_size=2),
    options(["--require", "--baseline", "--config", "--undecided", "--github"]),
)
@settings(max_examples=80)
def test_a_check_of_anything(odd_folder: Path, name: str, required: list[str], words: list[str]) -> None:
    ends_well(check.main, [name, *(f"--require={text}" for text in required), *words])


@given(VALUES, st.sampled_from(["csv", "netcdf", "mlflow"]) | VALUES, options(["--out", "--with", "--force"]))
@settings(max_examples=60)
def test_an_export_of_anything(odd_folder: Path, name: str, target: str, words: list[str]) -> None:
    ends_well(export.main, [name, f"--to={target}", *words])


@given(VALUES, options(["--best", "--norm", "--out", "--force"]))
@settings(max_examples=60)
def test_a_score_of_anything(odd_folder: Path, name: str, words: list[str]) -> None:
    (odd_folder / "good.csv").write_text("image,a\n1,0.5\n")
    ends_well(score.main, [name, *words])
    ends_well(score.main, ["good.csv", *words])


@pytest.mark.parametrize("seconds", ["nan", "-1", "-inf"])
def test_seconds_that_are_none_are_refused(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert report.main(["--verify", f"--seconds={seconds}", "results/none"]) == 2
    assert capsys.readouterr().err == f"error: --seconds {seconds} is not possible; give 0 or more, or inf\n"


@given(options(["--epochs", "--samples", "--seed", "--device", "--out", "--lr"]))
@settings(max_examples=40)
def test_training_of_anything(odd_folder: Path, words: list[str]) -> None:
    # The folder cannot be written, so that nothing is trained.
    ends_well(train.main, ["MLP", "--save", "--out", "file/x", *words, "--out=file"])


@pytest.mark.parametrize("file", ["/home/me/bench/bench/run.py", r"C:\bench\bench\run.py"])
def test_a_command_is_stored_as_it_is_typed(file: str) -> None:
    assert typed([file, "--suite", "smoke"]) == ["python", "-m", "bench.run", "--suite", "smoke"]
    assert typed(["mine.py", file]) == ["mine.py", file]
    assert typed([]) == []
