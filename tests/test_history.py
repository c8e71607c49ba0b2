"""The list of runs: what they found, and what changed from run to run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from bench import report, store
from bench.report import history
from bench.report.tables import figure


def written(folder: Path, name: str, day: int, factor: float = 1.0, **changes: Any) -> None:
    """A run of a day, in which MLP's distances are larger by a factor."""
    how: dict[str, Any] = {"samples": 40, "networks": ("MLP", "CNN"), "failures": 0, "solved": 0.0} | changes
    run = synthetic.run(
        name=name, started=f"2026-11-{day:02}T10:00:00+00:00", ended=f"2026-11-{day:02}T10:02:30+00:00", **how
    )
    scaled = run.frame["network"].astype(str) == "MLP"
    for norm in ("l1", "l2", "linf"):
        run.frame.loc[scaled, norm] *= factor
    synthetic.write(run, folder / name)
    report.render(folder / name)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    written(folder, "one", 1)
    written(folder, "two", 2, 1.2)
    written(folder, "same", 3, 1.2)
    written(folder, "small", 4, 1.2, samples=7)
    return folder


def test_what_the_paired_test_confirms_from_run_to_run(results: Path) -> None:
    (course,) = history.histories([past(results / name) for name in ("two", "one", "same", "small")])
    lines = {(line["norm"], line["network"], line["after"]): line for line in course.changes.to_dict("records")}
    better = lines["l2", "MLP", "two"]
    assert (better["before"], better["change"]) == ("one", "larger")
    assert better["median_after"] == pytest.approx(1.2 * better["median_before"], rel=1e-4)
    assert better["low"] > 0
    assert lines["l2", "CNN", "two"]["change"] == ""
    assert lines["l2", "MLP", "same"]["change"] == ""
    assert lines["l2", "MLP", "small"]["images"] == 7
    assert list(dict.fromkeys(course.medians["run"])) == ["one", "two", "same", "small"]
    assert np.isfinite(course.medians[["median", "low", "high"]].to_numpy()).all()


def past(path: Path) -> history.Past:
    found = history.read(path, store.read(path).manifest)
    assert found is not None
    return found


def test_runs_with_other_attacks_are_not_compared(results: Path) -> None:
    one, two = past(results / "one"), past(results / "two")
    other = history.Past(**{name: getattr(two, name) for name in two.__slots__} | {"attacks": "others"})
    (course,) = history.histories([one, other])
    assert not len(course.changes)


def test_a_network_whose_checks_fail_is_not_compared(results: Path) -> None:
    one, two = past(results / "one"), past(results / "two")
    other = history.Past(
        **{name: getattr(two, name) for name in two.__slots__} | {"verdicts": {"MLP": "fail", "CNN": "pass"}}
    )
    (course,) = history.histories([one, other])
    assert set(course.changes["network"]) == {"CNN"}


def test_images_on_which_fewer_attacks_ended_are_not_compared(results: Path) -> None:
    one, two = past(results / "one"), past(results / "two")
    capped = {
        key: {image: (value, ended - (place % 2)) for place, (image, (value, ended)) in enumerate(images.items())}
        for key, images in two.distances.items()
    }
    other = history.Past(**{name: getattr(two, name) for name in two.__slots__} | {"distances": capped})
    (course,) = history.histories([one, other])
    assert set(course.changes["images"]) == {20}


def test_other_images_under_the_same_numbers_are_not_compared(results: Path) -> None:
    one, two = past(results / "one"), past(results / "two")
    others = {key: {f"other {name}": value for name, value in images.items()} for key, images in two.distances.items()}
    other = history.Past(**{name: getattr(two, name) for name in two.__slots__} | {"distances": others})
    (course,) = history.histories([one, other])
    assert not len(course.changes)


def test_the_list_shows_what_was_found(results: Path) -> None:
    text = report.render_index(results).read_text()
    summary = json.loads((results / "one" / "summary.json").read_text())
    median = next(line["median"] for line in summary["networks"] if (line["network"], line["norm"]) == ("CNN", "l2"))
    assert f"CNN {figure(median)}" in text
    assert "0:02:30" in text
    assert "larger afterwards" in text
    assert "trustworthy" in text


def test_a_run_links_the_one_before_it_and_the_list(results: Path) -> None:
    text = (results / "two" / "report.html").read_text()
    assert 'href="../one/report.html"' in text
    assert 'href="../index.html"' in text
    assert "the run before" not in (results / "one" / "report.html").read_text()


@pytest.mark.parametrize("name", ["summary.json", "best.csv"])
@pytest.mark.parametrize("content", [None, "", "{", "[]", "1", '{"networks": 3}', "a,b\n1,2\n"])
def test_a_run_whose_report_is_missing_or_damaged_is_listed_without_its_numbers(
    results: Path, tmp_path: Path, name: str, content: str | None
) -> None:
    for run in ("one", "two"):
        shutil.copytree(results / run, tmp_path / run)
    broken = tmp_path / "two" / name
    broken.unlink()
    if content is not None:
        broken.write_text(content)
    text = report.render_index(tmp_path).read_text()
    assert "two/report.html" in text
    assert "run after run" not in text
