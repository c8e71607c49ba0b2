"""Before and after: networks of two runs compared with themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from bench import metrics, report
from bench.report import sources
from bench.report.changed import changed
from bench.report.frames import Frames


def runs(factor: float, *, samples: int = 40, networks: tuple[str, ...] = ("MLP", "CNN"), **after: Any) -> Frames:
    """A run, and another in which MLP's distances are larger by a factor."""
    one = synthetic.run(samples=samples, name="one", networks=networks, failures=0)
    two = synthetic.run(samples=samples, name="two", networks=networks, failures=0, **after)
    scaled = two.frame["network"].astype(str) == "MLP"
    for norm in ("l1", "l2", "linf"):
        two.frame.loc[scaled, norm] *= factor
    source = sources.together([one, two])
    return report.prepared(source)[0]


def test_a_network_that_is_better_afterwards_is_confirmed_and_one_that_is_the_same_is_not() -> None:
    frames = runs(1.2)
    lines = {(line["norm"], line["name"]): line for line in frames.plain("changes").to_dict("records")}
    line = lines["l2", "MLP"]
    assert line["change"] == "larger"
    assert line["median_after"] == pytest.approx(1.2 * line["median_before"])
    assert line["low"] > 0
    assert (line["larger_on"], line["smaller_on"]) == (pytest.approx(1, abs=0.1), 0)
    same = lines["l2", "CNN"]
    assert (same["change"], same["difference"], same["p_holm"]) == ("", 0, 1)


def test_attack_by_attack_the_ratio_is_that_of_the_distances() -> None:
    table = runs(0.5).plain("attack_changes")
    own = table[(table["name"] == "MLP") & (table["norm"] == "l2") & np.isfinite(table["median_before"])]
    assert len(own) > 3
    assert own["ratio"].to_numpy() == pytest.approx(0.5)
    assert (own.loc[own["images"] >= 20, "change"] == "smaller").all()
    assert (table.loc[table["name"] == "CNN", "ratio"] == 1).all()


def test_images_that_one_run_lacks_do_not_count() -> None:
    one = synthetic.run(samples=40, name="one", networks=("MLP",), failures=0)
    two = synthetic.run(samples=12, name="two", networks=("MLP",), failures=0)
    table = report.prepared(sources.together([one, two]))[0].plain("changes")
    assert set(table["images"]) == {12}


def test_other_attacks_before_and_after_do_not_compare() -> None:
    one = synthetic.run(samples=20, name="one", networks=("MLP",))
    two = synthetic.run(samples=20, name="two", networks=("MLP",))
    two = replace(
        two, frame=two.frame[two.frame["attack"].astype(str) != "foolbox-reference-l2"].reset_index(drop=True)
    )
    frames = report.prepared(sources.together([one, two]))[0]
    assert frames.plain("changes")["p_holm"].isna().all()
    assert "other attacks" in changed(frames)[0]
    assert len(frames.plain("attack_changes")), "attack by attack they do"


def test_a_run_by_itself_has_no_before() -> None:
    run = synthetic.run(samples=3)
    evidence = metrics.evidence(run.records(), run.manifest)
    for name in ("changes", "attack_changes"):
        table = metrics.METRICS[name](evidence)
        assert isinstance(table, pd.DataFrame)
        assert not len(table)
    assert changed(Frames(evidence)) == []


def test_the_page_says_what_changed() -> None:
    frames = runs(1.2)
    lines = changed(frames)
    assert any(line.startswith("MLP in L2: median") and "larger afterwards, confirmed" in line for line in lines)
    assert any(line.startswith("CNN in L2") and "no change is confirmed" in line for line in lines)


def test_a_network_whose_checks_fail_is_never_called_better() -> None:
    frames = runs(1.2)
    hidden = Frames(frames.evidence, ["MLP (two)"])
    lines = {(line["norm"], line["name"]): line for line in hidden.plain("changes").to_dict("records")}
    assert np.isnan(lines["l2", "MLP"]["p_holm"])
    assert lines["l2", "MLP"]["change"] == ""
    assert lines["l2", "CNN"]["p_holm"] == 1
    assert any(line.startswith("MLP in L2") and "do not compare" in line for line in changed(hidden))


@pytest.mark.parametrize("how", ["missing", "error"])
def test_an_attack_that_ended_in_one_run_only_favours_none(how: str) -> None:
    one = synthetic.run(samples=40, name="one", networks=("MLP",), failures=0, solved=0.0)
    two = synthetic.run(samples=40, name="two", networks=("MLP",), failures=0, solved=0.0)
    frame = two.frame
    best = frame.groupby("attack", observed=True)["l2"].median().idxmin()
    gone = (frame["attack"].astype(str) == str(best)) & (frame["image"] >= 5)
    if how == "missing":
        frame = frame[~gone].reset_index(drop=True)
    else:
        frame.loc[gone, ["l0", "l1", "l2", "linf"]] = np.inf
        frame["status"] = frame["status"].astype(object).mask(gone, "error")
    two = replace(two, frame=frame)
    table = report.prepared(sources.together([one, two]))[0].plain("changes")
    assert (table["difference"] == 0).all(), "the other attacks found the same"
    assert (table["change"] == "").all()
