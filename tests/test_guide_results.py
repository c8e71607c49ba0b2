"""The chapters of the results: they say what the records say, whatever that is, and what is stored is what the records make."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from bench import store
from bench.errors import StoreError, UsageError
from bench.guide import reference
from bench.guide.results import __main__ as command
from bench.guide.results import facts, figures, pages, stored
from bench.guide.results.words import Words, outcome

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "results" / "reference"
IMAGES = 40
SWAPPED = {"MLP": "MLP_d", "MLP_d": "MLP", "CNN": "CNN_d", "CNN_d": "CNN"}

is_stored = pytest.mark.skipif(
    not (REFERENCE / stored.NEEDED).exists(), reason=f"results/reference/{stored.NEEDED} is not stored"
)


def kept(run: synthetic.SyntheticRun, folder: Path, name: str = stored.NEEDED) -> Path:
    """A synthetic run, stored and thinned as a reference run of this name; returns the folder of all of them."""
    whole = synthetic.write(run, folder / "whole" / name)
    reference.thinned(store.read(whole), folder / "reference" / name)
    return folder / "reference"


def renamed(run: synthetic.SyntheticRun, names: dict[str, str]) -> synthetic.SyntheticRun:
    """A run whose networks have changed their names, and with them their distances."""
    frame = run.frame.assign(network=run.frame["network"].astype(object).map(names))
    changed = {(names[network], attack): found for (network, attack), found in run.changed.items()}
    return dataclasses.replace(run, frame=synthetic.typed(frame), changed=changed)


def same_networks(run: synthetic.SyntheticRun) -> synthetic.SyntheticRun:
    """A run in which every network has the distances of the first."""
    names = [network["name"] for network in run.manifest["networks"]]
    own = run.frame[run.frame["network"] == names[0]].astype({"network": object})
    frame = pd.concat([own.assign(network=name) for name in names], ignore_index=True)
    changed = {(name, attack): found for name in names for (of, attack), found in run.changed.items() if of == names[0]}
    return dataclasses.replace(run, frame=synthetic.typed(frame), changed=changed)


def made(folder: Path) -> dict[str, str]:
    """Every page of a folder of reference runs, with all figures that they would show."""
    runs = stored.load(folder)
    alts = {name: plan.alt for name, plan in figures.planned(runs, None).items()}
    return pages.pages(facts.everything(runs, None), alts)


@pytest.fixture(scope="module")
def synthetic_run() -> synthetic.SyntheticRun:
    return synthetic.run(samples=IMAGES, clean_errors=0.0)


@pytest.fixture(scope="module")
def folder(synthetic_run: synthetic.SyntheticRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(synthetic_run, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def plain(folder: Path) -> dict[str, str]:
    return made(folder)


@pytest.fixture(scope="module")
def swapped(synthetic_run: synthetic.SyntheticRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return made(kept(renamed(synthetic_run, SWAPPED), tmp_path_factory.mktemp("swapped")))


@pytest.fixture(scope="module")
def equal(synthetic_run: synthetic.SyntheticRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return made(kept(same_networks(synthetic_run), tmp_path_factory.mktemp("equal")))


def test_what_is_said_of_dropout_turns_with_the_records(
    plain: dict[str, str], swapped: dict[str, str], equal: dict[str, str]
) -> None:
    texts = [page["3-distributions"] for page in (plain, swapped, equal)]
    said = [re.findall(r"\| (more robust|less robust|not settled) \|", text) for text in texts]
    assert said[0].count("more robust") >= 4
    assert said[0].count("less robust") == 0
    assert said[1].count("less robust") == said[0].count("more robust")
    assert set(said[2]) == {"not settled"}
    assert "yes for MLP" in texts[0]
    assert "no for MLP" in texts[1]
    assert "no significant difference in any of 6 comparisons" in texts[2]


def test_dropout_in_french_turns_as_well(plain: dict[str, str], swapped: dict[str, str]) -> None:
    counts = [re.search(r"dans (\d+) cas sur 6, moins robuste dans (\d+)", page["fr"]) for page in (plain, swapped)]
    assert counts[0]
    assert counts[1]
    assert counts[0].groups() == counts[1].groups()[::-1]


def test_the_most_robust_network_turns_with_the_records(
    plain: dict[str, str], swapped: dict[str, str], equal: dict[str, str]
) -> None:
    assert "**CNN_d is the most robust network in L2, significantly**" in plain["3-distributions"]
    assert "**CNN is the most robust network in L2, significantly**" in swapped["3-distributions"]
    assert "most robust network in L2, significantly" not in equal["3-distributions"]
    assert "le réseau le plus robuste en L2, de façon significative" in plain["fr"]
    assert "de façon significative**" not in equal["fr"]


def test_medians_are_those_of_the_records(plain: dict[str, str], synthetic_run: synthetic.SyntheticRun) -> None:
    frame = synthetic_run.frame
    section = plain["3-distributions"].partition("## L2")[2].partition("## Linf")[0]
    for network in synthetic.NETWORK_SCALE:
        median = float(np.median(frame[frame["network"] == network].groupby("image")["l2"].min()))
        shown = re.search(rf"\| `{network}` \| ([\d.]+) \(", section)
        assert shown
        assert float(shown[1]) == pytest.approx(median, rel=6e-3)


def test_exact_distances_are_counted_from_the_records(
    plain: dict[str, str], synthetic_run: synthetic.SyntheticRun
) -> None:
    frame = synthetic_run.frame
    own = frame[frame["network"] == "MLP"]
    best = own.groupby("image")["l2"].min()
    lower = own[(own["kind"] != "upper") & (own["norm"] == "l2")].groupby("image")["lower"].max()
    count = int((lower >= best * (1 - 1.0001e-4)).sum())
    assert 0 < count < IMAGES
    assert f"| `MLP` | L2 | {count} of {IMAGES} |" in plain["4-nearest"]


def of_fixed_work(run: synthetic.SyntheticRun) -> synthetic.SyntheticRun:
    """A run whose exact searches are rows of kind ``lower``."""
    rows = [row | {"kind": "lower" if row["kind"] == "exact" else row["kind"]} for row in run.manifest["rows"]]
    frame = run.frame.astype({"kind": object}).replace({"kind": {"exact": "lower"}})
    return dataclasses.replace(run, manifest=run.manifest | {"rows": rows}, frame=synthetic.typed(frame))


@pytest.mark.parametrize(("kind", "title"), [("lower", "## Fixed work"), ("exact", "## Search with a time limit")])
def test_bounds_stand_beside_the_best_known_distances(
    synthetic_run: synthetic.SyntheticRun, tmp_path: Path, kind: str, title: str
) -> None:
    run = of_fixed_work(synthetic_run) if kind == "lower" else synthetic_run
    frame = run.frame
    best = frame[frame["network"] == "CNN"].groupby("image")["l2"].min()
    own = frame[(frame["network"] == "CNN") & (frame["kind"] == kind) & (frame["norm"] == "l2")]
    assert len(own) == IMAGES
    section = made(kept(run, tmp_path))["7-bounds"].partition(title)[2].partition("\n## ")[0]
    ratios = (own.set_index("image")["lower"] / best).to_numpy()
    shown = re.search(r"\| `CNN` \| L2 \|.*\| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \|", section)
    assert shown
    expected = [np.median(ratios), ratios.min(), ratios.max()]
    assert [float(part) for part in shown.groups()] == pytest.approx(expected, rel=6e-2)
    exact = int((ratios >= 1 - 1.0001e-4).sum())
    assert re.search(rf"\| `CNN` \| L2 \| {IMAGES} .*\| {exact}( \(\d+%\))? \|", section)


def test_defects_of_rows_stand_with_their_numbers(plain: dict[str, str], synthetic_run: synthetic.SyntheticRun) -> None:
    section = plain["5-libraries"].partition("### C&W L2 (ART)")[2].partition("\n### ")[0]
    assert "C&W, repaired L2 (ART): " in section
    frame = synthetic_run.frame
    cells = [
        frame[frame["attack"] == name].set_index(["network", "image"])["l2"]
        for name in ("art-cw-l2", "art-cw-repaired-l2")
    ]
    both = pd.concat(cells, axis=1, join="inner").to_numpy()
    shown = re.search(r"repaired L2 \(ART\): ([\d.]+) times", section)
    assert shown
    assert float(shown[1]) == pytest.approx(float(np.median(both[:, 1] / both[:, 0])), rel=6e-3)


def test_other_runs_have_sections_only_where_they_are_stored(
    folder: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    other = synthetic.run(samples=12, seed=3, clean_errors=0.0)
    together = kept(other, tmp_path, "val")
    kept(synthetic.run(samples=IMAGES, clean_errors=0.0), tmp_path)
    both = made(together)
    assert "(`val`)" not in plain["3-distributions"]
    assert "(`val`)" in both["3-distributions"]
    assert "- `val`: of " in both["6-weakness"]
    assert "- `val`: of " not in plain["6-weakness"]


def test_exact_searches_of_another_run_join_the_same_networks_and_images_only(tmp_path: Path) -> None:
    whole = synthetic.run(samples=12, clean_errors=0.0)
    searches = [row.name for row in synthetic.SUITE.rows if row.kind != "upper"]
    rows = whole.frame["attack"].isin(searches)
    parts = []
    for name, chosen in (("minimal_norm", ~rows), ("exact", rows)):
        names = set(whole.frame.loc[chosen, "attack"])
        manifest = whole.manifest | {
            "rows": [row for row in whole.manifest["rows"] if row["name"] in names],
            "plan": "p",
        }
        parts.append(stored.Stored(name, manifest, whole.frame[chosen].reset_index(drop=True)))
    main, exact = parts
    joined = stored.with_exact(main, exact)
    assert len(joined.records) == len(whole.frame)
    assert joined.frames.plain("networks")["exact"].sum() > 0
    for key, change in (
        ("sha256", {"networks": [network | {"sha256": "0"} for network in exact.manifest["networks"]]}),
        ("image", {"image_sha256": {"0": "1"}}),
    ):
        changed = stored.Stored("exact", dict(exact.manifest) | change, exact.records)
        assert stored.with_exact(main, changed) is main, key


def test_all_is_written_checked_and_found_changed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, docs = tmp_path / "README.md", tmp_path / "docs"
    readme.write_text(f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n")
    words = ["--runs", str(folder), "--docs", str(docs), "--readme", str(readme)]
    assert command.main(words) == 0
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `CNN_d` | 99.41% |" in text
    assert command.main([*words, "--check"]) == 0
    for path in (docs / "4-nearest.md", docs / "fr.md", readme):
        good = path.read_text()
        digit = re.search(r"(?<=\d)\d(?=[ |])", good)
        assert digit
        path.write_text(good[: digit.start()] + str((int(digit[0]) + 1) % 10) + good[digit.end() :])
        capsys.readouterr()
        assert command.main([*words, "--check"]) == 1
        assert path.name in capsys.readouterr().out
        path.write_text(good)
    figure = docs / "figures" / "rows-l2.svg"
    good = figure.read_text()
    assert len(good) < 150_000
    figure.write_text(good.replace(figures.made_from(good), "0" * 64))
    (docs / "figures" / "stray.svg").write_text("<svg/>")
    lines = command.differences(folder, docs, readme)
    assert len(lines) == 2
    assert command.main(words) == 0
    assert figure.read_text() == good
    assert command.differences(folder, docs, readme) == []


def test_a_figure_is_made_again_from_other_records_only(folder: Path, tmp_path: Path) -> None:
    before = figures.planned(stored.load(folder), None)
    again = figures.planned(stored.load(folder), None)
    other = kept(synthetic.run(samples=IMAGES, seed=5, clean_errors=0.0), tmp_path)
    after = figures.planned(stored.load(other), None)
    assert {name: plan.made_from for name, plan in before.items()} == {
        name: plan.made_from for name, plan in again.items()
    }
    assert before["rows-l2"].made_from != after["rows-l2"].made_from
    assert before["training"].made_from == after["training"].made_from


def test_the_run_that_all_needs_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"python -m bench\.guide\.reference minimal_norm makes it"):
        stored.load(tmp_path)


def test_a_readme_without_a_place_for_results_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="has no lines <!-- results -->"):
        pages.readme("nothing", facts.everything(stored.load(folder), None))


@pytest.mark.parametrize(
    ("p", "effect", "said"),
    [(0.01, 0.5, "more"), (0.01, -0.5, "less"), (0.05, 0.5, "open"), (np.nan, 0.5, "none"), (0.01, 0.0, "open")],
)
def test_an_outcome_is_decided_by_the_test(p: float, effect: float, said: str) -> None:
    assert outcome(p, effect) == said


def test_french_numbers() -> None:
    words = Words("fr")
    assert words.number(1234567 / 1000) == "1\N{NO-BREAK SPACE}230"
    assert words.number(0.4621) == "0,462"
    assert words.percent(0.123, 1) == "12,3\N{NO-BREAK SPACE}%"
    assert words.listed(["a", "b", "c"]) == "a, b et c"


def test_every_method_of_the_suites_has_words_in_french(plain: dict[str, str], folder: Path) -> None:
    known = facts.everything(stored.load(folder), None)["methods"]
    for _, group in known:
        for method in group:
            assert f"### {method['title']}\n" in plain["fr"]
            assert f"### {method['title']}\n" in plain["2-attacks"]


@is_stored
def test_every_reference_run_is_stored_and_is_what_it_should_be() -> None:
    for run in reference.RUNS:
        reference.check(run, store.read(REFERENCE / run.name).manifest)


@is_stored
def test_readme_and_pages_say_what_the_stored_records_say() -> None:
    assert command.differences(REFERENCE, ROOT / "docs" / "results", ROOT / "README.md") == []


def test_the_stored_runs_are_small() -> None:
    assert reference.size(REFERENCE) < 20e6
