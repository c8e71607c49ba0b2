"""The report: what it says agrees with the records, any run renders, nothing injects."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import synthetic
from PIL import Image

from bench import metrics, report, store, verdict
from bench.domain import Domain
from bench.errors import StoreError
from bench.findings import Level
from bench.norms import Norm
from bench.report import __main__ as command
from bench.report import cautions, data, exports, gallery, images, labels, sources, tables, words
from bench.report import page as page_module
from bench.report.frames import Frames
from bench.report.page import card, overview, slug
from bench.report.tables import figure, percentage
from bench.specs import Kind, Origin, Suite


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


def unpacked(text: str) -> Any:
    """What a page holds packed."""
    return json.loads(zlib.decompress(base64.b64decode(json.loads(text)["packed"])))


def rendered(run: synthetic.SyntheticRun) -> str:
    source = sources.single(run)
    return report.page_of(source, *report.prepared(source))


@pytest.fixture(scope="module")
def healthy() -> synthetic.SyntheticRun:
    return synthetic.run(samples=12, seed=5)


@pytest.fixture(scope="module")
def html(healthy: synthetic.SyntheticRun) -> str:
    return rendered(healthy)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


ATTACKS = sum(row.kind is Kind.UPPER for row in synthetic.SUITE.rows)
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
    assert len(lines) == len(healthy.manifest["networks"]) * ATTACKS
    frame = healthy.frame
    for line in lines:
        row = names[line[place["Attack"]]]
        own = frame[(frame["network"] == line[place["Network"]]) & (frame["attack"] == row["name"])]
        ordered = np.sort(own[row["norm"]].to_numpy())
        low, high = ordered[(len(own) - 1) // 2], ordered[len(own) // 2]
        assert line[place["Median"]] == figure(low if low == high else (low + high) / 2)
        attacked = own[own["status"] != "misclassified"]
        assert line[place["Found"]] == percentage(float((attacked["status"] == "found").mean()))
        assert line[place["Images"]] == str(len(own))
        assert line[place["Failed"]] == str(int(own["status"].isin(["error", "timeout", "invalid"]).sum()))


def test_the_figures_data_are_the_metrics(healthy: synthetic.SyntheticRun, html: str) -> None:
    match = re.search(r'id="accuracy-l2-data">(.*?)</script>', html, re.DOTALL)
    assert match
    frame = pd.read_csv(io.StringIO(unpacked(match[1])))
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    expected = pd.concat([metrics.METRICS[name](evidence) for name in ("best_curves", "certified_curves")])
    expected = expected[expected["norm"] == "l2"]
    np.testing.assert_allclose(frame["robust_accuracy"], expected["robust_accuracy"], rtol=1e-5)
    assert frame["network"].tolist() == expected["network"].tolist()


def test_the_first_screen_answers(page: Page) -> None:
    text = " ".join(" ".join(page.text).split())
    questions = [
        "Which network to deploy",
        "Which attack and library to use",
        "What this run does not show",
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
    content["data"] |= {"name": EVIL, "title": EVIL, "source": EVIL, "sha256": EVIL, "split": EVIL}
    content["domain"] |= {"class_names": [f"{place}{EVIL}" for place in range(10)], "unit": EVIL}
    content["libraries"] = [library | {"label": EVIL} for library in content["libraries"]]
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
    content["networks"][0] |= {"source": EVIL, "preflight": {EVIL: {"status": EVIL, "message": EVIL}}}
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


def test_curves_of_queries_are_shown_where_there_are_some(healthy: synthetic.SyntheticRun, html: str) -> None:
    for norm in ("l0", "l2", "linf"):
        assert f'id="queries-{norm}"' in html
    assert "Distance against queries" in html
    older = rendered(replace(healthy, frame=healthy.frame.assign(curve=None)))
    assert "queries-l" not in older
    assert "istance against queries" not in older


def test_records_csv_holds_a_curve_in_one_cell(healthy: synthetic.SyntheticRun) -> None:
    records = healthy.records()
    back = pd.read_csv(io.BytesIO(exports.records_csv(records)), keep_default_na=False)
    for cell, curve in zip(back["curve"], records["curve"], strict=True):
        assert (cell == "") == (curve is None)
        assert [float(value) for value in cell.split()] == list(curve or ())


def test_records_csv_is_the_records(healthy: synthetic.SyntheticRun) -> None:
    back = pd.read_csv(io.BytesIO(exports.records_csv(healthy.records())), keep_default_na=False)
    assert list(back.columns) == [exports.MEANS.get(name, name) for name in healthy.frame.columns]
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
    assert percentage(value) == text


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
    assert content["schema"] == exports.VERSION
    for key in content:
        assert f"`{key}`" in documented, key
    for name in exports.TABLES:
        for column in content[name][0]:
            assert f"`{column}`" in documented, (name, column)
    for key in ("leaders", "recommended_attacks"):
        for column in content[key][0]:
            assert f"`{column}`" in documented, (key, column)
    assert content["dataset"]["title"] == "Made-up pictures"
    assert content["revision"] == "fc357ae"
    assert content["images"] == 4
    run = store.read(results / "before")
    frame = metrics.summary(run.records(), run.manifest)
    assert [line["median"] for line in content["summary"]] == [
        value if np.isfinite(value) else "Infinity" for value in frame["median"]
    ]


ODD_RUNS: tuple[dict[str, Any], ...] = (
    {"samples": 40},
    {"samples": 1, "networks": ("MLP",)},
    {"samples": 3, "clean_errors": 1.0},
    {"samples": 6, "failures": 1.0},
    {"samples": 5, "suite": ONE},
    {"samples": 12, "solved": 0.0},
)


@pytest.mark.parametrize("odd", ODD_RUNS, ids=str)
def test_summary_json_follows_its_published_schema(odd: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run = synthetic.run(**odd)
    frames, found = report.prepared(sources.single(run))
    assert command.main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads(exports.summary_json(frames, run.manifest, found))
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"surprise": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in content.items() if name != "deploy"}, schema)


def test_a_run_folder_says_what_each_of_its_files_is(results: Path) -> None:
    report.render(results / "before")
    text = (results / "before" / "README.txt").read_text()
    assert text.startswith("Run before: ")
    there = {path.name for path in (results / "before").iterdir() if not path.name.startswith(".")} - {"README.txt"}
    assert all(re.search(rf"(?m)^{re.escape(name)}\b|; {re.escape(name)}/", text) for name in there), there
    best = pd.read_csv(results / "before" / "best.csv")
    frames = report.prepared(sources.single(store.read(results / "before")))[0]
    assert best["distance"].to_numpy() == pytest.approx(frames.evidence.best["distance"].to_numpy())
    records = pd.read_csv(results / "before" / "records.csv")
    assert records.loc[records["kind"] == "upper", "lower"].isna().all()
    assert "seconds" not in records


def test_the_card_of_a_notebook_is_the_first_screen_in_short() -> None:
    source = sources.single(synthetic.run(samples=40))
    frames, found = report.prepared(source)
    text = card(frames, source, found)
    taken = Page(text)
    assert taken.faults == []
    words_ = " ".join(" ".join(taken.text).split())
    assert words.deploy(frames, source.manifest).text in words_
    for line in frames.plain("networks").to_dict("records"):
        assert figure(line["median"]) in words_
    evil = sources.single(synthetic.run(samples=3, networks=(EVIL,)))
    prepared, checks = report.prepared(evil)
    hostile = card(prepared, evil, checks)
    assert "<script" not in hostile
    assert Page(hostile).faults == []


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
        [sys.executable, "-P", "-c", code, str(results / "after")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# Words and pictures.


def frames_of(run: synthetic.SyntheticRun) -> Frames:
    return report.prepared(sources.single(run))[0]


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
    assert words.deploy(frames_of(alike), alike.manifest).text == "Not settled"


def deployed(run: synthetic.SyntheticRun) -> words.Answer:
    return words.deploy(frames_of(run), run.manifest)


def test_the_network_to_deploy_leads_significantly(healthy: synthetic.SyntheticRun) -> None:
    answer = deployed(synthetic.run(samples=40, seed=5, clean_errors=0))
    assert answer.text == "CNN_d"
    assert answer.support.startswith("most robust in L0, L2 and Linf, significantly;")
    assert "clean accuracy 98.00% (the others: 98.00%)" in answer.support


def test_a_network_whose_checks_fail_is_not_deployed_however_large_its_distances() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    for network in run.manifest["networks"]:
        if network["name"] == "CNN_d":
            network["preflight"] = {"gradients": {"status": "fail", "message": "they vanish"}}
    answer = deployed(run)
    assert answer.text == "CNN"
    assert "CNN_d left out, because checks fail" in answer.support
    frames, found = report.prepared(sources.single(run))
    lines = cautions.cautions(run.manifest, frames, found)
    assert any(line.startswith("CNN_d is not shown to be robust: 1 of its checks fail") for line in lines)


def test_of_networks_with_equal_medians_none_leads() -> None:
    run = synthetic.run(networks=("one", "two"), samples=20, seed=11, clean_errors=0)
    frame = run.records()
    first, second = frame[frame["network"] == "one"], frame[frame["network"] == "two"].copy()
    second[[norm.value for norm in Norm]] = first[[norm.value for norm in Norm]].to_numpy()
    second["status"] = first["status"].to_numpy()
    answer = deployed(with_frame(run, pd.concat([first, second], ignore_index=True)))
    assert answer.text == "Not settled"
    assert answer.support == "one and two cannot be told apart in L0, L2 and Linf"


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
    assert f"MLP had only 1 of {ATTACKS} attacks: its distances are too large" in text
    assert "MLP not compared" in text
    assert "DDN L2 (Foolbox)" in text[: text.index("What this run does not show")], "attacks are ranked on the others"


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
    assert answer.support.startswith("MLP is the most robust in L0, significantly; CNN_d is")


def test_the_library_is_the_one_that_is_seldom_worse() -> None:
    run = synthetic.run(samples=40, seed=5, clean_errors=0)
    alike = words.library(frames_of(run))
    assert (alike.text, alike.support[:12]) == ("Either", "of 5 methods")
    frame = run.records()
    frame.loc[(frame["attack"] == "art-bb-l2"), ["l2"]] *= 3
    worse = frames_of(with_frame(run, frame))
    answer = words.library(worse)
    assert answer.text == "Foolbox"
    assert answer.support.endswith(
        "ART's version finds significantly larger (worse) distances in 1, Foolbox's version in none"
    )
    assert any(
        re.match(r"Brendel-Bethge L2 of ART: distances 3\S* (to \S+ )?times as large", line)
        for line in words.to_avoid(worse)
    )


def test_an_attack_that_was_not_run_everywhere_is_not_recommended() -> None:
    scores = frames_of(synthetic.run(samples=30))["attack_scores"].set_index("attack")
    assert not scores.loc["art-cw-l2", "complete"]
    assert scores.loc["foolbox-cw-l2", "complete"]


def test_the_gallery_shows_the_easiest_the_median_and_the_hardest(healthy: synthetic.SyntheticRun) -> None:
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    shown = gallery.examples(evidence, healthy.images(), healthy.candidates)
    own = [example for example in shown if (example.network, example.norm) == ("MLP", "l2")]
    assert [example.place for example in own] == ["easiest", "median", "hardest"]
    best = evidence.best
    known = best[(best["network"] == "MLP") & (best["norm"] == "l2") & ~best["misclassified"]]["distance"].sort_values()
    assert own[0].distance == known.iloc[0]
    assert own[1].distance == known.iloc[(len(known) - 1) // 2]
    assert own[2].distance == known.iloc[-1]
    for example in own:
        rows = {gallery.finder(row): row["name"] for row in healthy.manifest["rows"]}
        changed = healthy.candidates("MLP", rows[example.attack])[example.image]
        size = Norm.L2.of((changed.astype(float) - healthy.clean[example.image])[None])[0]
        assert size == pytest.approx(example.distance, rel=1e-6)


def _shown(space: Domain, moved: dict[int, float], **of_record: float) -> gallery.Example:
    """The gallery's entry of an input of zeros, some of whose values were moved, for a record in L0."""
    original = np.zeros(space.shape, dtype=np.float32)
    changed = original.copy()
    for place, value in moved.items():
        changed.flat[place] = value
    line = {"network": "N", "norm": "l0", "attack": "a", "image": 0, "label": 0, "adversarial_class": 1, **of_record}
    return gallery._example(line, "easiest", original, changed, labels={}, domain=space)


def test_the_gallery_shows_what_the_record_counts() -> None:
    space = Domain(
        shape=(4,), classes=2, low=(0.0,) * 4, high=(1.0, 10.0, 100.0, 1000.0), feature_names=("a", "b", "c", "d")
    )
    # The third change is below the tolerance of L0: the record holds two.
    example = _shown(space, {1: 5.0, 3: 100.0, 2: 1e-6}, distance=2.0, pixels=2.0)
    assert example.changes == (gallery.Change("b", 0.0, 5.0), gallery.Change("d", 0.0, 100.0))
    assert example.changed == 2
    colours = domain((3, 2, 2), 0)
    assert _shown(colours, {0: 255.0, 4: 255.0, 1: 1e-6}, distance=2.0, pixels=1.0).pixels == 1


def domain(shape: tuple[int, ...], axis: int | None) -> Domain:
    return Domain(shape=shape, classes=2, low=0, high=255, channel_axis=axis)


@pytest.mark.parametrize(("shape", "axis"), [((1, 5, 5), 0), ((3, 4, 6), 0), ((4, 6, 3), 2), ((4, 4), None)])
def test_images_become_pictures(shape: tuple[int, ...], axis: int | None) -> None:
    image = 255 * np.random.default_rng(0).random(shape).astype(np.float32)
    assert data.is_picture(domain(shape, axis))
    for uri in (
        gallery.picture(image, domain(shape, axis)),
        gallery.perturbation(image.astype(np.float64) - 128, domain(shape, axis)),
    ):
        assert uri.startswith("data:image/png;base64,")
        size = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size
        assert size == ((5, 5) if shape[0] == 1 else (4, 4) if axis is None else (6, 4))


def test_opposite_changes_of_channels_do_not_cancel() -> None:
    change = np.zeros((3, 2, 2))
    change[0, 0, 0], change[1, 0, 0], change[2, 1, 1] = 50.0, -50.0, -20.0
    uri = gallery.perturbation(change, domain((3, 2, 2), 0))
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))).astype(int)
    white = shown[0, 1]
    assert np.abs(shown[0, 0] - white).max() > 100
    assert np.abs(shown[1, 1] - white).max() > 20


@pytest.mark.parametrize("shape", [(7,), (4, 3, 3), (2, 2, 2, 2)])
def test_other_inputs_are_no_pictures(shape: tuple[int, ...]) -> None:
    assert not data.is_picture(domain(shape, 0 if len(shape) == 3 else None))
    assert len(data.value_names(domain(shape, None))) == np.prod(shape)


@pytest.fixture(scope="module")
def features() -> Page:
    return Page(rendered(synthetic.run(samples=12, seed=5, domain=synthetic.FEATURES, networks=("one", "two"))))


@pytest.fixture(scope="module")
def colours() -> Page:
    return Page(rendered(synthetic.run(samples=12, seed=5, domain=synthetic.COLOURS, networks=("one", "two"))))


def test_a_page_of_features_speaks_of_features(features: Page) -> None:
    text = " ".join(" ".join(features.text).split())
    assert features.faults == []
    assert not re.search(r"pixel|grey", text)
    assert "benign → malignant" in text
    assert "L0 counts values" in text
    assert "box widths" in text
    assert "breaks a rule" not in text
    for name in ("radius", "symmetry"):
        assert name in text
    assert not [values for tag, values in features.tags if tag == "img"]


def test_a_page_of_colour_pictures_counts_values_and_pixels(colours: Page) -> None:
    text = " ".join(" ".join(colours.text).split())
    assert colours.faults == []
    assert re.search(r"L0 distance \d+ values in \d+ pixels?", text)
    assert "intensity level" in text
    assert "breaks a rule" not in text
    assert "grey" not in text
    assert "Pixels" in colours.tables["table-medians"][0]
    assert any("taken for class ship" in str(values.get("alt")) for tag, values in colours.tags if tag == "img")


def test_the_page_names_the_dataset_and_how_its_images_were_chosen(page: Page, healthy: synthetic.SyntheticRun) -> None:
    text = " ".join(" ".join(page.text).split())
    assert "Images the first 12 of the test split of Made-up pictures" in text
    assert healthy.manifest["data"]["sha256"][:12] in text
    assert "no random sample" in text
    whole = healthy.manifest | {"data": healthy.manifest["data"] | {"size": 12, "split": ""}, "split": ""}
    assert data.chosen(whole) == "all 12 of Made-up pictures"


def test_a_network_that_is_right_on_nothing_neither_leads_nor_passes() -> None:
    run = synthetic.run(samples=20, seed=5, clean_errors=0)
    frame = run.records()
    lost = frame["network"] == "CNN_d"
    frame["status"] = frame["status"].astype(str).where(~lost, "misclassified").astype("category")
    frame.loc[lost, [*(norm.value for norm in Norm), "pixels", "lower"]] = 0.0
    frames, found = report.prepared(sources.single(with_frame(run, frame)))
    assert verdict.overall(found, "CNN_d") is Level.FAIL
    assert "CNN_d" not in {leader.network for leader in words.leaders(frames)}
    run.manifest["networks"][3]["accuracy"] = 0.0
    page = Page(rendered(with_frame(run, frame)))
    assert page.tables["table-networks"][4][1] == "0%"
    text = " ".join(" ".join(page.text).split())
    assert "CNN_d misclassifies the images of this run" in text


def test_a_run_that_is_left_out_neither_restricts_nor_counts() -> None:
    whole = synthetic.run(samples=30, seed=5, clean_errors=0, name="whole")
    few = synthetic.run(samples=6, seed=5, clean_errors=0, name="few", suite=ONE, networks=("MLP",))
    alone, both = frames_of(whole), report.prepared(sources.together([whole, few]))[0]
    one, two = words.leaders(alone), words.leaders(both)
    assert [leader.network for leader in one] == [leader.network for leader in two]
    assert [leader.p for leader in one] == [leader.p for leader in two]
    assert [leader.images for leader in two] == [30] * 3
    table = both.plain("differences")
    counted = ~table[["network_a", "network_b"]].isin(["MLP (few)"]).any(axis=1)
    assert table.loc[counted, "p_holm"].notna().all()
    assert table.loc[~counted, "p_holm"].isna().all()
    page = Page(report.page_of(sources.together([whole, few]), *report.prepared(sources.together([whole, few]))))
    assert "the first 6 to 30 of the test split" in " ".join(" ".join(page.text).split())


def test_with_too_few_images_no_library_is_recommended() -> None:
    run = synthetic.run(samples=4, seed=5, clean_errors=0)
    answer = words.library(frames_of(run))
    assert answer.text == "Not settled"
    assert "too few images" in answer.support


def test_where_the_recommended_attack_is_written_here_the_libraries_best_is_named() -> None:
    ours = synthetic.attack(synthetic.REFERENCE, Norm.L2, "paper", origin=Origin.PORT)
    theirs = synthetic.attack(synthetic.HSJ, Norm.L2)
    suite = Suite(name="x", description="", rows=(ours, theirs), samples=8)
    (answer,) = words.best_attacks(frames_of(synthetic.run(suite=suite, samples=8, failures=0)))
    assert answer.text == ours.label
    assert f"Of the libraries' own code, unchanged, the best is {theirs.label}" in answer.support


def test_the_leader_says_whether_its_order_is_proved() -> None:
    proved = synthetic.run(samples=30, seed=5, clean_errors=0, solved=1.0)
    (leader,) = [one for one in words.leaders(frames_of(proved)) if one.norm is Norm.L2]
    assert leader.proved
    loose = proved.records()
    loose.loc[loose["kind"] == "exact", "lower"] *= 0.1
    (leader,) = [one for one in words.leaders(frames_of(with_frame(proved, loose))) if one.norm is Norm.L2]
    assert leader.proved is False
    none = loose[loose["kind"] == "upper"].reset_index(drop=True)
    (leader,) = [one for one in words.leaders(frames_of(with_frame(proved, none))) if one.norm is Norm.L2]
    assert leader.proved is None


def test_a_sentence_begins_with_a_capital_letter_but_names_stay_as_they_are() -> None:
    assert words.sentence("median 3", ["mlp"]) == "Median 3"
    assert words.sentence("mlp leads", ["mlp"]) == "mlp leads"
    assert words.sentence("", ["mlp"]) == ""


def test_a_network_that_is_left_out_does_not_squeeze_the_bars_of_the_others() -> None:
    run = synthetic.run(samples=20, seed=5, clean_errors=0)
    frame = run.records()
    weak = (frame["network"] == "MLP") & (frame["attack"] != "foolbox-deepfool-l2")
    frame = frame[~weak].reset_index(drop=True)
    frame.loc[frame["network"] == "MLP", ["l0", "l2", "linf"]] *= 50
    for _, _, bars in overview(frames_of(with_frame(run, frame))):
        widths = {bar.network: bar.width for bar in bars}
        assert max(widths["CNN"], widths["CNN_d"]) > 50
        assert max(widths.values()) <= 100


# One image, files of tables, labels of figures.


def records_in(view: images.View) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(view.numbers)))
    return content


def test_one_image_has_every_record_of_it(healthy: synthetic.SyntheticRun) -> None:
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    view = images.view(evidence, healthy.images(), healthy.candidates)
    assert (view.images, view.pictured, view.total, view.counts) == (12, 12, 12, len(healthy.frame))
    content = records_in(view)
    frame = evidence.records
    for line, record in zip(content["records"], frame.itertuples(), strict=True):
        network, attack, place, status, taken, *distances, lower, _ = line
        assert content["networks"][network] == record.network
        assert content["attacks"][attack][0] == record.attack
        assert content["images"][place] == [record.image, record.label]
        assert content["statuses"][status][0].replace(" ", "_") == record.status
        assert taken == record.adversarial_class
        expected = [getattr(record, norm.value) if record.status == "found" else 0 for norm in Norm]
        assert distances == pytest.approx(expected, rel=1e-4)
        assert lower == pytest.approx(record.lower, rel=1e-4)
    again = images.view(evidence, healthy.images(), healthy.candidates)
    assert again == view, "the same run is the same bytes"


def test_a_run_that_is_too_large_keeps_the_images_of_the_gallery_and_says_so(healthy: synthetic.SyntheticRun) -> None:
    evidence = metrics.evidence(healthy.records(), healthy.manifest)
    whole = images.view(evidence, healthy.images(), healthy.candidates)
    numbers, pictures = len(whole.numbers) // 2, len(whole.pictures) // 3
    view = images.view(evidence, healthy.images(), healthy.candidates, [11, 7], numbers=numbers, pictures=pictures)
    assert len(view.numbers) <= numbers
    assert len(view.pictures) <= pictures
    assert 1 < view.pictured < view.images < view.total == 12
    held = [image for image, _ in records_in(view)["images"]]
    assert {7, 11} < set(held)
    assert held == sorted(held)
    assert {held[place] for place in records_in(view)["pictured"]} >= {7, 11}
    none = images.view(evidence, healthy.images(), healthy.candidates, numbers=0, pictures=0)
    assert (none.images, none.pictured, none.pictures) == (0, 0, "")
    source = sources.single(healthy)
    frames, found = report.prepared(source)
    text = " ".join(" ".join(Page(page_module.render(frames, source, [], found, view=view)).text).split())
    assert f"This page holds {view.images} of 12 images" in text
    assert f"The examples of {view.pictured} of them are shown" in text


def test_passes_are_said_to_be_of_one_image_only_where_they_are() -> None:
    run = synthetic.run(suite=ONE, networks=("MLP",), samples=4, clean_errors=0)
    frame = run.records().assign(block=[0, 1, 1, 1], forwards=[5.0, 7.0, 7.0, 7.0])
    evidence = metrics.evidence(frame, run.manifest)
    content = records_in(images.view(evidence, run.images(), run.candidates))
    costs = [content["costs"][line[-1]] for line in content["records"]]
    assert [(forwards, many) for forwards, _, many in costs] == [(5, 1), (7, 3), (7, 3), (7, 3)]


def test_the_file_of_a_table_has_numbers_alone(html: str, healthy: synthetic.SyntheticRun) -> None:
    summary = metrics.METRICS["summary"](metrics.evidence(healthy.records(), healthy.manifest))
    match = re.search(r'id="table-attacks-data">(.*?)</script>', html, re.DOTALL)
    assert match
    content = unpacked(match[1])
    names = [name for name, _ in content["heads"]]
    assert len(set(names)) == len(names)
    lines = [dict(zip(names, row, strict=True)) for row in content["rows"]]
    assert len(lines) == len(summary)
    by_key = summary.set_index(["network", "label"])
    for line in lines:
        expected = by_key.loc[(line["network"], line["label"])]
        for key in ("median", "q1", "q3", "ratio", "ratio_low", "ratio_high", "found_rate", "images", "seconds"):
            value = float(line[key]) if line[key] is not None else np.nan
            assert value == pytest.approx(float(expected[key]), rel=1e-5, nan_ok=True)
    for found in re.findall(r'id="table-[a-z]+-data">(.*?)</script>', html, re.DOTALL):
        for name, _ in unpacked(found)["heads"]:
            assert re.fullmatch(r"[a-z0-9_]+", name)


def test_values_of_files() -> None:
    values = [np.inf, -np.inf, np.nan, None, 3.0, 0.123456789, True, "text", np.bool_(False), 1e20]
    assert [tables.plain(value) for value in values] == [
        "inf",
        "-inf",
        None,
        None,
        3,
        0.123457,
        True,
        "text",
        False,
        10**20,
    ]
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})
    made = tables.table("t", "T.", [tables.number("a", "Äa!"), tables.number("a", "x"), tables.number("b", "")], frame)
    assert [name for name, _ in made.heads] == ["a", "a_2", "b"]
    assert made.keys == ["a", "x", "value"]


def test_the_best_attack_of_a_norm_comes_first_and_those_on_fewer_images_last(page: Page) -> None:
    head, *lines = page.tables["table-attacks"]
    norm, attack, ratio, count = (head.index(name) for name in ("Norm", "Attack", "Ratio", "Images"))
    assert list(dict.fromkeys(line[norm] for line in lines)) == ["L0", "L2", "Linf"]
    for name in ("L0", "L2", "Linf"):
        own = [line for line in lines if line[norm] == name]
        fewer = [line[count] != "12" for line in own]
        assert fewer == sorted(fewer)
        worst: dict[str, float] = {}
        for line in own:
            if line[count] == "12":
                worst[line[attack]] = max(worst.get(line[attack], 0), float(line[ratio].replace("∞", "inf")))
        assert list(worst.values()) == sorted(worst.values())


def test_labels_of_figures_say_their_values(page: Page) -> None:
    told = [str(values["aria-label"]) for tag, values in page.tags if tag == "svg"]
    assert len(set(told)) == len(told)
    assert all("values can be opened after the figure" in label for label in told)
    csv_text = "network,norm,eps,robust_accuracy\nA,l2,0,1\nA,l2,0.5,0.4\nB,l2,0,1\n"
    assert "wrong: A 0.5, B no change of the figure" in labels.described("T", csv_text)
    assert labels.described("T", "") == "T. Its data are in records.csv."


def test_the_gallery_credits_no_bound_with_an_example(page: Page, healthy: synthetic.SyntheticRun) -> None:
    rows = metrics.evidence(healthy.records(), healthy.manifest).rows
    row = rows[rows["kind"] == "exact"].iloc[0].to_dict()
    assert gallery.finder(row) == "the L0 verifier (exact search)"
    assert gallery.finder({**row, "kind": "lower"}) == "the L0 verifier"
    assert "found by lower bound" not in " ".join(page.text)
