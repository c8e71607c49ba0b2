"""Reference runs: made, gone on with, taken where they lie finished, and stored thinned."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from damage import resign

from bench import store
from bench.errors import StoreError, UsageError
from bench.guide import reference
from bench.guide.reference import ReferenceRun

ROOT = Path(__file__).parents[1]

RUN = ReferenceRun(name="made", suite="synthetic", networks=("MLP",), data="made-up", samples=6, purpose="a test")


def finished(folder: Path) -> Path:
    return synthetic.write(synthetic.run(networks=("MLP",), samples=6), folder)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words that ``python -m bench.run`` is called with; it does nothing."""
    calls: list[list[str]] = []

    def called(words: list[str]) -> int:
        calls.append(words)
        return 130

    monkeypatch.setattr(reference, "_bench_run", called)
    return calls


def test_a_finished_run_is_taken_as_it_lies(tmp_path: Path, asked: list[list[str]]) -> None:
    finished(tmp_path / "work" / "made")
    assert reference.state(RUN, tmp_path / "work", tmp_path / "into") == "finished, not stored yet"
    assert reference.make(RUN, tmp_path / "work", tmp_path / "into") == 0
    assert store.read(tmp_path / "into" / "made").thinned
    assert reference.state(RUN, tmp_path / "work", tmp_path / "into").startswith("stored, made 2026-01-02")
    assert reference.make(RUN, tmp_path / "work", tmp_path / "into") == 0
    assert asked == []


def test_what_is_not_begun_is_begun_and_what_was_interrupted_goes_on(tmp_path: Path, asked: list[list[str]]) -> None:
    work, into = tmp_path / "work", tmp_path / "into"
    assert reference.state(RUN, work, into) == "not begun"
    assert reference.make(RUN, work, into, workers=2) == 130
    assert asked[0][:2] == ["--suite", "synthetic"]
    assert asked[0][-6:] == ["--out", str(work), "--name", "made", "--workers", "2"]
    path = finished(work / "made")
    resign(path, lambda content: content.update(status="interrupted"))
    assert reference.state(RUN, work, into).startswith("begun: ")
    assert reference.make(RUN, work, into) == 130
    assert asked[1] == ["--resume", str(path)]
    assert not into.exists()


def test_a_run_that_was_made_again_is_stored_again(tmp_path: Path) -> None:
    work, into = tmp_path / "work", tmp_path / "into"
    path = finished(work / "made")
    reference.make(RUN, work, into)
    resign(path, lambda content: content.update(ended="2027-01-01T00:00:00+00:00"))
    assert reference.state(RUN, work, into) == "finished, not stored yet"
    reference.make(RUN, work, into)
    assert store.read(into / "made").manifest["ended"].startswith("2027")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("suite", "other"),
        ("networks", ("CNN",)),
        ("data", "mnist"),
        ("split", "val"),
        ("samples", 7),
        ("full", True),
        ("exact", 5.0),
    ],
)
def test_another_run_is_refused(tmp_path: Path, key: str, value: object) -> None:
    finished(tmp_path / "work" / "made")
    wanted = ReferenceRun(**{"name": "made", "purpose": "a test", **RUN.request, key: value})
    with pytest.raises(StoreError, match=f"has {key} "):
        reference.make(wanted, tmp_path / "work", tmp_path / "into")


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        reference.find("whole_tests")
    assert reference.main(["whole_tests"]) == 2
    assert "error: unknown reference run" in capsys.readouterr().err


def test_options_are_those_of_the_command_line() -> None:
    from bench import run  # noqa: PLC0415 - as a command would

    for one in reference.RUNS:
        options = run.parser().parse_args(one.options)
        assert {
            key: tuple(value) if isinstance(value := getattr(options, key), list) else value for key in one.request
        } == one.request


STORED = sorted(path.parent for path in (ROOT / reference.INTO).glob("*/manifest.json"))


def test_runs_are_stored_and_small() -> None:
    assert {"whole_test", "digits"} <= {path.name for path in STORED}
    assert reference.size(ROOT / reference.INTO) < 20e6


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_a_stored_run_is_whole_and_what_was_asked_for(path: Path) -> None:
    run = store.read(path)
    assert run.thinned
    assert run.manifest["status"] == "finished"
    reference.check(reference.find(path.name), run.manifest)
    records = run.records()
    assert len(records) == run.manifest["planned"]
    assert not records.duplicated(["network", "attack", "image"]).any()
    clean = set(run.images()[0].tolist())
    kept = [
        set(run.candidates(network["name"], row["name"]))
        for network in run.manifest["networks"]
        for row in run.manifest["rows"]
    ]
    assert set().union(*kept) == clean
    assert run.manifest["command"][:3] == ["python", "-m", "bench.run"], "no path of the machine that made it"


@pytest.mark.slow
def test_a_real_run_is_made_listed_and_stored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ReferenceRun(
        name="small",
        suite="smoke",
        networks=("MLP_cancer",),
        data="breast_cancer",
        samples=2,
        purpose="a test",
        page=True,
    )
    monkeypatch.setattr(reference, "RUNS", (small,))
    words = ["small", "--work", str(tmp_path / "work"), "--into", str(tmp_path / "into"), "--workers", "1"]
    assert reference.main(words) == 0
    assert (tmp_path / "into" / "small" / "report.html").exists()
    assert len(store.read(tmp_path / "into" / "small").records()) == 14
    capfd.readouterr()
    assert reference.main([*words, "--list"]) == 0
    out = capfd.readouterr().out
    assert "small" in out
    assert "stored, made" in out
    assert "with 1 workers" in out
