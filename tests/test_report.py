"""The report: what it says agrees with the records, any run renders, nothing injects."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from bench import metrics, report, store, verdict
from bench.errors import StoreError
from bench.norms import Norm
from bench.report import __main__ as command
from bench.report import cautions, exports, gallery, sources, words
from bench.report.frames import Frames
from bench.report.page import slug
from bench.report.tables import figure, share
from bench.specs import Suite


class Page(HTMLParser):
    """A page taken apart: its tags, tables by id, text, and whatever is not well formed."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "path", "use", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text: list[str] = []
        self.faults: list[str] = []
        self._open: list[str] = []
        self._blocks: list[str] = []
        self._cell = False
        self.feed(html)
        self.close()
        self.faults += [f"never closed: {name}" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if tag not in self.VOID:
            self._open.append(tag)
        if str(values.get("id")).startswith("table-"):
            self._blocks.append(str(values["id"]))
            self.tables[self._blocks[-1]] = []
        if tag == "tr" and self._blocks:
            self.tables[self._blocks[-1]].append([])
        self._cell = tag in ("td", "th") or (self._cell and tag == "button")
        if tag in ("td", "th") and self._blocks:
            self.tables[self._blocks[-1]][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"closes badly: {tag}")
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            return
        self.text.append(data)
        if self._cell and self._blocks:
            self.tables[self._blocks[-1]][-1][-1] += data.strip()


def rendered(run: synthetic.SyntheticRun) -> str:
    source = sources.single(run)
    evidence = metrics.evidence(source.records, source.manifest)
    return report._page(source, Frames(evidence), verdict.findings(evidence, source.manifest))


@pytest.fixture(scope="module")
def healthy() -> synthetic.SyntheticRun:
    return synthetic.run(samples=12, seed=5)


@pytest.fixture(scope="module")
def html(healthy: synthetic.SyntheticRun) -> str:
    return rendered(healthy)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


ONE = Suite(name="one", description="One attack.", rows=(synthetic.attack(synthetic.REFERENCE, Norm.L2),), samples=1)


def test_the_page_is_well_formed(page: Page) -> None:
    assert page.faults == []
    ids = [values["id"] for _, values in page.tags if values.get("id")]
    assert len(ids) == len(set(ids))
    anchors = {str(values["href"])[1:] for tag, values in page.tags if tag == "a"}
    assert anchors <= set(map(str, ids))


def test_the_page_asks_for_nothing(page: Page, html: str) -> None:
    for tag, values in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            address = values.get(name)
            assert address is None or address.startswith(("#", "data:")), (tag, address)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "default-src 'none'" in html


def test_every_picture_has_words_and_every_table_a_caption(page: Page) -> None:
    assert all(values.get("alt") for tag, values in page.tags if tag == "img")
    assert all(values.get("aria-label") for tag, values in page.tags if tag == "svg")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption")


def test_headings_come_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), levels


def test_every_number_of_the_attack_table_is_the_records(healthy: synthetic.SyntheticRun, page: Page) -> None:
    head, *lines = page.tables["table-attacks"]
    place = {name: head.index(name) for name in ("Network", "Attack", "Median", "Found", "Images", "Failed")}
    names = {row["label"]: row for row in healthy.manifest["rows"]}
    assert len(lines) == len(healthy.manifest["networks"]) * 18
    frame = healthy.frame
    for line in lines:
        row = names[line[place["Attack"]]]
        own = frame[(frame["network"] == line[place["Network"]]) & (frame["attack"] == row["name"])]
        ordered = np.sort(own[row["norm"]].to_numpy())
        low, high = ordered[(len(own) - 1) // 2], ordered[len(own) // 2]
        assert line[place["Median"]] == figure(low if low == high else (low + high) / 2)
        attacked = own[own["status"] != "misclassified"]
        assert line[place["Found"]] == share(float((attacked["status"] == "found").mean()))
        assert line[place["Images"]] == str(len(own))
        assert line[place["Failed"]] == str(int(own["status"].isin(["error", "timeout", "invalid"]).sum()))


def test_the_figures_data_are_the_metrics(healthy: synthetic.SyntheticRun, html: str) -> None:
    match = re.search(r'id="cumulative-l2-data">(.*?)</script>', html, re.DOTALL)
    assert match
    frame = pd.read_csv(io.StringIO(json.loads(match[1])))
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    expected = metrics.METRICS["best_curves"](evidence)
    expected = expected[expected["norm"] == "l2"]
    np.testing.assert_allclose(frame["robust_accuracy"], expected["robust_accuracy"], rtol=1e-5)
    assert frame["network"].tolist() == expected["network"].tolist()


def test_the_first_screen_answers(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    questions = [
        "Which network would you deploy?",
        "Which attack and library would you use?",
        "What can you not conclude?",
        "Between proof and attack",
    ]
    places = [text.index(question) for question in questions]
    assert places[-1] > text.index("Contents"), "found in the summary, not in the contents"
    first, second, third = (text[a:b] for a, b in itertools.pairwise([*sorted(places)[1:], None]))
    assert first.startswith(f"{questions[0]} CNN_d")
    assert "DDN L2 (Foolbox)" in second
    assert "Library" in second
    assert "Only 12 images" in third


def test_everything_of_the_plan_is_told(healthy: synthetic.SyntheticRun, page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    for hole in healthy.manifest["holes"]:
        assert hole["reason"] in text
    for row in healthy.manifest["rows"]:
        assert row["label"] in text
    assert "Its search never refines upwards." in text
    assert "2.14.1" in text
    assert "fc357ae" in text
    assert "no end within 60 s" in text or not (healthy.frame["status"] == "timeout").any()


SMALL = Suite(
    name="small",
    description="Both libraries, one norm, bounds.",
    rows=(
        synthetic.attack(synthetic.REFERENCE, Norm.L2),
        synthetic.attack(synthetic.REFERENCE, Norm.L2, "art"),
        synthetic.attack(synthetic.HSJ, Norm.L2),
        synthetic.verifier(Norm.L2),
    ),
    samples=4,
)

TINY: dict[str, synthetic.SyntheticRun] = {
    "one image": synthetic.run(suite=ONE, networks=("MLP",), samples=1, clean_errors=0),
    "one misclassified image": synthetic.run(suite=ONE, networks=("MLP",), samples=1, clean_errors=1),
    "two networks, one image": synthetic.run(suite=ONE, networks=("MLP", "CNN"), samples=1, clean_errors=0),
    "no bounds": synthetic.run(
        suite=Suite(name="x", description="", rows=synthetic.SUITE.rows[:4], samples=4), samples=4
    ),
    "bounds only": synthetic.run(
        suite=Suite(name="x", description="", rows=(synthetic.verifier(Norm.L2),), samples=4), samples=4
    ),
    "three images, all equal": synthetic.run(suite=ONE, networks=("MLP",), samples=3, seed=9),
}


def with_frame(run: synthetic.SyntheticRun, frame: pd.DataFrame, **entries: Any) -> synthetic.SyntheticRun:
    return synthetic.SyntheticRun(run.path, run.manifest | entries, frame, run.clean, run.changed)


def nothing_found() -> synthetic.SyntheticRun:
    run = synthetic.run(suite=SMALL, samples=3, clean_errors=0)
    frame = run.records()
    frame["status"] = pd.Categorical(["not_found"] * len(frame))
    frame[[norm.value for norm in Norm]] = np.inf
    return with_frame(run, frame)


def interrupted() -> synthetic.SyntheticRun:
    run = synthetic.run(suite=SMALL, samples=8)
    frame = run.records()
    missing = (frame["network"] == "CNN_d") | ((frame["network"] == "CNN") & (frame["image"] > 3))
    return with_frame(run, frame[~missing].reset_index(drop=True), status="interrupted", ended=None)


def broken() -> synthetic.SyntheticRun:
    run = synthetic.run(suite=SMALL, samples=4)
    frame = run.records()
    frame.loc[(frame["kind"] == "exact") & (frame["status"] == "found"), "lower"] *= 1.5
    return with_frame(run, frame)


TINY |= {
    "nothing found": nothing_found(),
    "interrupted": interrupted(),
    "nothing stored": with_frame(TINY["one image"], synthetic.frame([]), status="interrupted", ended=None),
    "old manifest": with_frame(
        TINY["one image"],
        TINY["one image"].records(),
        **{name: {} for name in ("machine", "packages", "git")},
    ),
}


@pytest.mark.parametrize("name", sorted(TINY))
def test_any_run_reads_well(name: str) -> None:
    page = Page(rendered(TINY[name]))
    assert page.faults == []
    text = " ".join(page.text)
    assert "nan" not in re.findall(r"[a-z]+", text.lower())
    assert "None" not in text
    assert "Summary" in text


def test_an_interrupted_run_says_so_and_compares_what_is_shared() -> None:
    run = TINY["interrupted"]
    text = " ".join(" ".join(Page(rendered(run)).text).split())
    assert f"This run is interrupted: {len(run.frame):,} of {run.manifest['planned']:,} planned records" in text


def test_a_broken_bound_is_shown_in_red_on_the_first_screen() -> None:
    page = Page(rendered(broken()))
    text = " ".join(" ".join(page.text).split())
    assert "This run breaks a rule that must hold." in text
    assert "table-violations" in page.tables
    assert "alarm" in {values.get("class") for _, values in page.tags}


EVIL = "<script>alert(1)</script>\"'&=cmd|' /C calc'!A0</style>{{ 'x' * 9 }}"


def test_untrusted_text_cannot_inject() -> None:
    base = synthetic.run(suite=ONE, networks=(EVIL,), samples=3, clean_errors=0)
    frame = base.records()
    frame.loc[0, "message"] = EVIL
    frame["status"] = frame["status"].cat.add_categories(["error"])
    frame.loc[0, "status"] = "error"
    frame.loc[0, [norm.value for norm in Norm]] = np.inf
    content = json.loads(json.dumps(base.manifest))
    for key in ("name", "split"):
        content[key] = EVIL
    content["suite"] = {"name": EVIL, "description": EVIL}
    content["warnings"] = [{"network": EVIL, "message": EVIL}]
    content["machine"] = {EVIL: EVIL}
    content["command"] = [EVIL]
    content["rows"][0] |= {
        "label": EVIL,
        "defects": EVIL,
        "params": {EVIL: EVIL},
        "target": EVIL,
        "reasons": {EVIL: EVIL},
    }
    content["rows"][0]["method"] |= {"title": EVIL, "idea": EVIL, "formula": EVIL, "paper": EVIL}
    content["holes"] = [{"family": EVIL, "norm": "l2", "library": EVIL, "reason": EVIL}]
    content["networks"][0] |= {"factory": EVIL, "preflight": {EVIL: {"status": EVIL, "message": EVIL}}}
    run = synthetic.SyntheticRun(base.path, content, frame, base.clean, base.changed)
    html = rendered(run)
    page = Page(html)
    assert page.faults == []
    assert "<script>alert" not in html
    assert "xxxxxxxxx" not in html
    scripts = [values for tag, values in page.tags if tag == "script"]
    assert [values for values in scripts if values.get("type") != "application/json"] == [{}], "one script, our own"
    assert not any(name.startswith("on") for _, values in page.tags for name in values)
    assert EVIL in "".join(page.text)
    table = exports.records_csv(run.records()).decode()
    assert all(not cell.startswith(("=", "+", "@")) for row in csv.reader(io.StringIO(table)) for cell in row)


def test_csv_cells_cannot_be_formulas_and_numbers_stay() -> None:
    frame = pd.DataFrame({"a": ["=1+1", "-x", "fine", "\tx", "@y"], "b": [-1.5, np.inf, 2, 3, 4]})
    lines = list(csv.reader(io.StringIO(exports.csv_text(frame))))
    assert [line[0] for line in lines[1:]] == ["'=1+1", "'-x", "fine", "'\tx", "'@y"]
    assert [line[1] for line in lines[1:]] == ["-1.5", "inf", "2", "3", "4"]


def test_records_csv_is_the_records(healthy: synthetic.SyntheticRun) -> None:
    back = pd.read_csv(io.BytesIO(exports.records_csv(healthy.records())), keep_default_na=False)
    assert list(back.columns) == list(healthy.frame.columns)
    assert len(back) == len(healthy.frame)
    np.testing.assert_array_equal(back["l2"], healthy.frame["l2"])
    assert back["attack"].tolist() == healthy.frame["attack"].astype(str).tolist()


def test_slugs_stay_apart() -> None:
    assert slug("mlp") == "mlp"
    assert slug("MLP") != slug("mlp")
    assert len({slug(name) for name in ("a b", "a-b", "a_b", "<>", "é")}) == 5
    assert re.fullmatch(r"[a-z0-9-]+", slug(EVIL))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.46192, "0.462"), (3, "3"), (0, "0"), (np.inf, "∞"), (np.nan, "\N{EN DASH}"), (1234567, "1.23e+06"), (1e-7, "1.00e-07"), (12.345, "12.3"), (999.96, "1,000")],
)  # fmt: skip
def test_numbers_as_people_read_them(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "100%"), (0, "0%"), (0.99999, "> 99.9%"), (0.00001, "< 0.1%"), (0.5, "50.0%"), (np.nan, "\N{EN DASH}")],
)
def test_shares_are_never_rounded_to_all_or_nothing(value: float, text: str) -> None:
    assert share(value) == text


# Stored runs.


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    synthetic.write(
        synthetic.run(samples=4, seed=1, name="before", networks=("MLP", "CNN"), suite=SMALL), folder / "before"
    )
    synthetic.write(synthetic.run(samples=4, seed=1, name="after", networks=("MLP",), suite=ONE), folder / "after")
    return folder


def test_a_stored_run_renders_to_the_same_bytes_every_time(results: Path) -> None:
    first = report.render(results / "before")
    assert first == results / "before" / "report.html"
    content = first.read_bytes()
    assert report.render(results / "before").read_bytes() == content
    assert not list((results / "before").glob(".*.tmp"))


def test_summary_json_has_the_documented_schema(results: Path) -> None:
    report.render(results / "before")
    content = json.loads((results / "before" / "summary.json").read_text())
    documented = (Path(__file__).parents[1] / "docs" / "report.md").read_text()
    assert content["schema"] == exports.SCHEMA
    for key in content:
        assert f"`{key}`" in documented, key
    for name in exports.TABLES:
        for column in content[name][0]:
            assert f"`{column}`" in documented, (name, column)
    run = store.read(results / "before")
    frame = metrics.summary(run.records(), run.manifest)
    assert [line["median"] for line in content["summary"]] == [
        value if np.isfinite(value) else "Infinity" for value in frame["median"]
    ]


def test_two_runs_side_by_side(results: Path) -> None:
    path = report.render_together([results / "before", results / "after"])
    page = Page(path.read_text())
    assert page.faults == []
    text = " ".join(page.text)
    assert "MLP (before)" in text
    assert "MLP (after)" in text
    assert "CNN" in text
    names = {line[1] for line in page.tables["table-medians"][1:]}
    assert names == {"MLP (before)", "MLP (after)", "CNN"}
    assert len([values for tag, values in page.tags if tag == "img"]) > 9


def test_runs_of_other_images_are_not_compared(results: Path, tmp_path: Path) -> None:
    run = synthetic.run(samples=4, seed=8, name="other", suite=ONE)
    run.manifest["image_sha256"]["0"] = "another"
    synthetic.write(run, tmp_path / "other")
    with pytest.raises(StoreError, match="image 0 is another one in run before than in run other"):
        report.render_together([results / "before", tmp_path / "other"])
    with pytest.raises(StoreError, match="called the same"):
        report.render_together([results / "before", results / "before"])


def test_rows_with_other_parameters_are_pointed_out(tmp_path: Path) -> None:
    one = synthetic.run(samples=3, name="one", suite=ONE)
    two = synthetic.run(samples=3, name="two", suite=ONE)
    two.manifest["rows"][0]["params"] = {"steps": 7}
    source = sources.together([one, two])
    assert any("other parameters in run two" in warning["message"] for warning in source.manifest["warnings"])


def test_the_index_lists_every_run_and_what_is_wrong_with_it(results: Path, tmp_path: Path) -> None:
    synthetic.write(synthetic.run(samples=2, name="good", suite=ONE, networks=("MLP",)), tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{")
    report.render(tmp_path / "good")
    text = (tmp_path / "index.html").read_text()
    page = Page(text)
    assert page.faults == []
    assert 'href="good/report.html"' in text
    assert "is damaged" in " ".join(page.text)


def test_the_command_line(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(results / "before")]) == 0
    assert capsys.readouterr().out.strip() == str(results / "before" / "report.html")
    assert command.main([str(results / "before"), str(results / "after"), "--out", str(tmp_path / "both.html")]) == 0
    assert (tmp_path / "both.html").is_file()
    assert command.main([str(results)]) == 0
    for arguments in ([str(tmp_path / "none")], [str(results / "before"), "--out", "x.html"]):
        capsys.readouterr()
        assert command.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_an_unwritable_folder_is_one_clear_line(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        report.render(results / "before")


def test_reports_need_no_torch(results: Path) -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'torchvision', 'art', 'foolbox'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from bench.report.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(results / "after")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# Words and pictures.


def frames_of(run: synthetic.SyntheticRun) -> Frames:
    return Frames(metrics.evidence(run.records(), run.manifest))


def test_networks_that_are_alike_are_not_ranked() -> None:
    run = synthetic.run(networks=("one", "two"), samples=30, seed=11, clean_errors=0)
    frame = run.records()
    first, second = frame[frame["network"] == "one"], frame[frame["network"] == "two"].copy()
    wobble = np.where(np.arange(len(second)) % 2 == 0, 1.001, 0.999)
    for norm in Norm:
        second[norm.value] = first[norm.value].to_numpy() * wobble
    second["status"] = first["status"].to_numpy()
    alike = with_frame(run, pd.concat([first, second], ignore_index=True))
    answers = words.most_robust(frames_of(alike))
    assert [("not settled" in answer.text) for answer in answers] == [True] * 3
    assert words.deploy(frames_of(alike), alike.manifest, []).text == "Not settled"


def deployed(run: synthetic.SyntheticRun) -> words.Answer:
    evidence = metrics.evidence(run.records(), run.manifest)
    return words.deploy(Frames(evidence), run.manifest, verdict.findings(evidence, run.manifest))


def test_the_network_to_deploy_leads_beyond_chance(healthy: synthetic.SyntheticRun) -> None:
    answer = deployed(synthetic.run(samples=40, seed=5, clean_errors=0))
    assert answer.text == "CNN_d"
    assert answer.support.startswith("most robust in L0, L2 and Linf, beyond chance;")
    assert "right on 98.00%" in answer.support


def test_a_network_whose_checks_fail_is_not_deployed_however_large_its_distances() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    for network in run.manifest["networks"]:
        if network["name"] == "CNN_d":
            network["preflight"] = {"gradients": {"status": "fail", "message": "they vanish"}}
    answer = deployed(run)
    assert answer.text == "CNN"
    assert "CNN_d left out, because checks fail" in answer.support
    evidence = metrics.evidence(run.records(), run.manifest)
    found = verdict.findings(evidence, run.manifest)
    lines = cautions.cautions(evidence, run.manifest, Frames(evidence), found)
    assert any(line.startswith("CNN_d is not shown to be robust: 1 of its checks fail") for line in lines)


def test_of_networks_with_equal_medians_none_leads() -> None:
    run = synthetic.run(networks=("one", "two"), samples=20, seed=11, clean_errors=0)
    frame = run.records()
    first, second = frame[frame["network"] == "one"], frame[frame["network"] == "two"].copy()
    second[[norm.value for norm in Norm]] = first[[norm.value for norm in Norm]].to_numpy()
    second["status"] = first["status"].to_numpy()
    answer = deployed(with_frame(run, pd.concat([first, second], ignore_index=True)))
    assert answer.text == "Not settled"
    assert answer.support == "one as two in L0, L2 and Linf, not settled"


def test_a_network_with_fewer_attacks_is_not_compared_however_large_its_distances() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    frame = run.records()
    weak = (frame["network"] == "MLP") & (frame["attack"] != "foolbox-deepfool-l2") & (frame["kind"] == "upper")
    frame = frame[~weak].reset_index(drop=True)
    frame.loc[frame["network"] == "MLP", ["l0", "l2", "linf"]] *= 50
    partly = with_frame(run, frame)
    answer = deployed(partly)
    assert answer.text == "CNN_d"
    assert "MLP left out, because fewer attacks were run on it" in answer.support
    text = " ".join(" ".join(Page(rendered(partly)).text).split())
    assert "MLP had only 1 of 18 attacks: its distances are too large" in text
    assert "MLP not compared" in text
    assert "DDN L2 (Foolbox)" in text[: text.index("What can you not conclude?")], "attacks are ranked on the others"


def test_without_a_verifier_nothing_is_certified_which_is_not_a_bound_of_zero() -> None:
    run = synthetic.run(samples=12, seed=5)
    frame = run.records()
    frame = frame[(frame["network"] != "MLP") | (frame["kind"] == "upper")].reset_index(drop=True)
    frames = frames_of(with_frame(run, frame))
    assert "MLP" not in set(frames["bracket_curves"]["network"])
    assert "CNN" in set(frames["bracket_curves"]["network"])
    for name in ("networks", "robust_accuracy"):
        content = frames[name].astype({"network": str})
        assert content.loc[content["network"] == "MLP", "certified"].isna().all()
        assert content.loc[content["network"] == "CNN", "certified"].notna().any()


def test_where_leaders_differ_the_norm_decides() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    frame = run.records()
    frame.loc[frame["network"] == "MLP", "l0"] *= 50
    answer = deployed(with_frame(run, frame))
    assert answer.text == "It depends on the norm"
    assert answer.support.startswith("MLP is the most robust in L0, beyond chance; CNN_d is")


def test_the_library_is_the_one_that_is_seldom_worse() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    alike = words.library(frames_of(run))
    assert (alike.text, alike.support[:12]) == ("Either", "of 6 methods")
    frame = run.records()
    frame.loc[(frame["attack"] == "art-bb-l2"), ["l2"]] *= 3
    worse = frames_of(with_frame(run, frame))
    answer = words.library(worse)
    assert answer.text == "Foolbox"
    assert answer.support.endswith(
        "the distances found are larger, which is worse, beyond chance with ART's version in 1, Foolbox's version in none"
    )
    assert any(
        re.match(r"Brendel-Bethge L2 of ART: distances 3\S* (to \S+ )?times as large", line)
        for line in words.to_avoid(worse)
    )


def test_an_attack_that_was_not_run_everywhere_is_not_recommended() -> None:
    scores = words.attack_scores(frames_of(synthetic.run(samples=30))).set_index("attack")
    assert not scores.loc["art-cw-l2", "complete"]
    assert scores.loc["foolbox-cw-l2", "complete"]


def test_the_gallery_shows_the_easiest_the_median_and_the_hardest(healthy: synthetic.SyntheticRun) -> None:
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    shown = gallery.examples(evidence, healthy.images(), healthy.candidates, (0.0, 1.0))
    own = [example for example in shown if (example.network, example.norm) == ("MLP", "l2")]
    assert [example.place for example in own] == ["easiest", "median", "hardest"]
    best = evidence.best
    known = best[(best["network"] == "MLP") & (best["norm"] == "l2") & ~best["misclassified"]]["distance"].sort_values()
    assert own[0].distance == known.iloc[0]
    assert own[1].distance == known.iloc[(len(known) - 1) // 2]
    assert own[2].distance == known.iloc[-1]
    for example in own:
        rows = {row["label"]: row["name"] for row in healthy.manifest["rows"]}
        changed = healthy.candidates("MLP", rows[example.attack])[example.image]
        size = Norm.L2.of((changed.astype(float) - healthy.clean[example.image])[None])[0]
        assert size == pytest.approx(example.distance, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 4, 6), (4, 4), (7,)])
def test_images_of_any_shape_become_pictures(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    assert gallery.picture(image, 0, 1).startswith("data:image/png;base64,")
    assert gallery.perturbation(image.astype(np.float64) - 0.5, 0.5).startswith("data:image/png;base64,")
