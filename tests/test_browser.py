"""The report in a real browser: it loads without a request, works by mouse and keyboard, and injects nothing."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
import synthetic
from axe_core_python.sync_playwright import Axe  # type: ignore[import-untyped]
from browsing import CHROMIUM, Open, chromium, opening, saved_lines
from playwright.sync_api import Browser, Page

from bench import metrics, report
from bench.norms import Norm
from bench.specs import Suite

WIDTHS = (360, 1600)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    # One browser for all of them, whatever number of test processes there is.
    pytest.mark.xdist_group("browser"),
]

SUITE = Suite(
    name="browser",
    description="Both libraries, two norms, bounds.",
    rows=(
        *(synthetic.attack(synthetic.REFERENCE, norm) for norm in (Norm.L0, Norm.L2)),
        synthetic.attack(synthetic.REFERENCE, Norm.L2, "art", defects="It gives up.", cap=6),
        synthetic.attack(synthetic.HSJ, Norm.L2),
        *(synthetic.verifier(norm) for norm in (Norm.L0, Norm.L2)),
    ),
    samples=12,
)

EVIL = (
    '"><img src=x onerror=alert(1)><svg onload=alert(2)></svg><script>alert(3)</script>'
    "<a href=javascript:alert(4)>'</script></style></title>{{7*7}}${alert(5)}"
)


@pytest.fixture(scope="module")
def run() -> synthetic.SyntheticRun:
    return synthetic.run(suite=SUITE, networks=("MLP", "CNN"), samples=12, seed=4, name="first")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, run: synthetic.SyntheticRun) -> Path:
    """A results folder: a run, another, both side by side, one full of foreign text, and the list of all."""
    folder = tmp_path_factory.mktemp("results")
    second = synthetic.run(suite=SUITE, networks=("MLP",), samples=12, seed=4, name="second")
    features = synthetic.run(networks=("one", "two"), samples=12, seed=4, name="features", domain=synthetic.FEATURES)
    for name, made in (("first", run), ("second", second), ("features", features), ("evil", evil())):
        report.render(synthetic.write(made, folder / name))
    report.render_together([folder / "first", folder / "second"], folder / "compare-first-second.html")
    report.render_index(folder)
    return folder


def evil() -> synthetic.SyntheticRun:
    """A run whose every text is hostile: names, labels, messages, the manifest."""
    made = synthetic.run(suite=SUITE, networks=(EVIL, "MLP"), samples=6, seed=1)
    frame = made.records()
    frame["status"] = frame["status"].cat.add_categories(["error"])
    frame.loc[:3, "status"] = "error"
    frame.loc[:3, "message"] = EVIL
    frame.loc[:3, [*(norm.value for norm in Norm), "pixels"]] = float("inf")
    content = made.manifest
    content |= {"name": EVIL, "split": EVIL, "suite": {"name": EVIL, "description": EVIL}, "machine": {EVIL: EVIL}}
    content |= {"packages": {EVIL: EVIL}, "command": [EVIL], "git": {"revision": EVIL, "dirty": True}}
    content["data"] |= {"name": EVIL, "title": EVIL, "source": EVIL, "sha256": EVIL, "split": EVIL}
    content["domain"] |= {"class_names": [f"{place}{EVIL}" for place in range(10)], "unit": EVIL}
    content["libraries"] = [library | {"label": EVIL} for library in content["libraries"]]
    content["warnings"] = [{"network": EVIL, "message": EVIL}]
    content["holes"] = [{"family": EVIL, "norm": "l2", "library": EVIL, "reason": EVIL}]
    content["networks"][0] |= {"source": EVIL, "preflight": {EVIL: {"status": "warn", "message": EVIL}}}
    for row in content["rows"]:
        row["label"] += EVIL
    content["rows"][0] |= {"defects": EVIL, "params": {EVIL: EVIL}, "target": EVIL, "reasons": {EVIL: EVIL}}
    content["rows"][0]["method"] |= {"title": EVIL, "idea": EVIL, "formula": EVIL, "paper": EVIL}
    # A folder cannot bear such a network's name, so its records are another's with a hostile manifest.
    frame["network"] = frame["network"].cat.rename_categories({EVIL: "CNN"})
    content["networks"][0]["name"] = "CNN"
    changed = {("CNN" if network == EVIL else network, attack): own for (network, attack), own in made.changed.items()}
    return synthetic.SyntheticRun(made.path, content, frame, made.clean, changed)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def open_page(browser: Browser, results: Path) -> Iterator[Open]:
    with opening(browser, results, "first/report.html") as function:
        yield function


PAGES = ("first/report.html", "features/report.html", "compare-first-second.html", "index.html", "evil/report.html")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_in_silence_and_fits(open_page: Open, results: Path, name: str, width: int) -> None:
    page, watched = open_page(name, width=width)
    page.wait_for_timeout(100)
    assert watched.events == []
    assert watched.requests == [(results / name).as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "no sideways scrolling of the page"


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("first/report.html", 360, "light"),
        ("first/report.html", 1600, "dark"),
        ("features/report.html", 360, "dark"),
        ("compare-first-second.html", 1600, "light"),
        ("index.html", 360, "dark"),
    ],
)
def test_a_page_keeps_the_rules_of_accessibility(open_page: Open, name: str, width: int, scheme: str) -> None:
    page, _ = open_page(name, width=width, color_scheme=scheme)
    if width == 360:
        page.locator("#unfold").click() if name != "index.html" else None
    # The figures are the same kinds as in the first page; to look into their every mark again takes its time.
    found = Axe().run(page, context={"exclude": [["svg"]]} if "compare" in name else None)["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in found] == []


TEXTS = """() => [...document.querySelectorAll("figure svg text")].map((text) => {
    const svg = text.ownerSVGElement, own = text.getBoundingClientRect(), frame = svg.getBoundingClientRect();
    const beyond = Math.max(frame.left - own.left, own.right - frame.right, frame.top - own.top, own.bottom - frame.bottom);
    const size = parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a;
    return [text.closest("figure")?.id, text.textContent, beyond, size];
})"""


@pytest.mark.parametrize(("width", "smallest"), [(1600, 8), (360, 8)])
@pytest.mark.parametrize("name", ["first/report.html", "features/report.html", "compare-first-second.html"])
def test_the_text_of_figures_is_readable_and_not_cut(open_page: Open, name: str, width: int, smallest: float) -> None:
    page, _ = open_page(name, width=width)
    if width == 360:
        page.locator("#unfold").click()
    texts = page.evaluate(TEXTS)
    assert len(texts) > 200
    assert [text for text in texts if text[2] > 2] == [], "cut at the edge of its figure"
    previews = set(page.evaluate("[...document.querySelectorAll('figure.preview')].map((item) => item.id)"))
    assert [text for text in texts if text[3] < smallest and text[0] not in previews] == [], "too small to read"
    if width > 360:
        assert not previews
        return
    # What is only a preview on a phone is readable when it is enlarged.
    one = page.locator("figure.preview").first
    assert "enlarge" in one.evaluate("(item) => getComputedStyle(item.querySelector('.drawing'), '::after').content")
    one.locator(".drawing svg").click()
    large = page.evaluate(TEXTS.replace("figure svg text", "dialog svg text"))
    assert large
    assert [text for text in large if text[3] < smallest] == []


def test_what_is_wider_than_a_phone_says_that_it_scrolls(open_page: Open) -> None:
    page, _ = open_page(width=360)
    page.locator("#unfold").click()
    wide = "(item) => item.scrollWidth > item.clientWidth + 4"
    marked = page.evaluate(f"[...document.querySelectorAll('.scroll')].filter({wide}).map((x) => x.matches('.more'))")
    assert len(marked) > 3
    assert all(marked)
    wide = "[...document.querySelectorAll('.drawing')].filter((item) => item.scrollWidth > item.clientWidth + 4).length"
    assert page.evaluate(wide) == 0, "figures fit"


def test_a_phone_shows_a_page_that_is_a_third_as_long_and_unfolds_it(open_page: Open) -> None:
    page, watched = open_page(width=360)
    length = "document.documentElement.scrollHeight"
    folded = page.evaluate(length)
    assert not page.locator("#table-attacks table").is_visible()
    assert page.locator("#attacks > .fold > summary").inner_text() == "2 tables, 15 figures"
    page.locator("#attacks > .fold > summary").click()
    page.locator("#table-attacks > .fold > summary").click()
    assert page.locator("#table-attacks table").is_visible()
    page.locator("#unfold").click()
    assert folded < page.evaluate(length) / 3
    page.locator("#unfold").click()
    assert page.evaluate(length) == folded
    page.locator("nav summary", has_text="Contents").click()
    page.locator("nav a", has_text="Class by class").click()
    page.wait_for_timeout(100)
    assert page.locator("#class-medians-l2").is_visible(), "a link unfolds what it leads to"
    page.set_viewport_size({"width": 1600, "height": 900})
    page.wait_for_timeout(100)
    assert page.locator("#table-attacks table").is_visible(), "a wide window has no folds"
    assert not page.locator("#attacks > .fold > summary").is_visible()
    assert watched.events == []


def test_on_a_phone_a_table_that_scrolls_keeps_what_its_rows_are_about(open_page: Open) -> None:
    page, _ = open_page(width=360)
    page.locator("#unfold").click()
    for cell in ("tbody td", "thead th"):
        place = f"document.querySelector('#table-attacks {cell}').getBoundingClientRect().left"
        before = page.evaluate(place)
        page.evaluate("document.querySelector('#table-attacks .scroll').scrollLeft = 300")
        assert page.evaluate(place) == before
        page.evaluate("document.querySelector('#table-attacks .scroll').scrollLeft = 0")


def test_the_list_of_runs_fits_on_a_phone(open_page: Open) -> None:
    page, _ = open_page("index.html", width=360)
    assert page.evaluate("document.querySelector('.scroll').scrollWidth") <= 360 - 2 * 16


@pytest.mark.parametrize(("width", "height"), [(1600, 900), (360, 800)])
def test_the_first_screen_answers_by_itself(open_page: Open, width: int, height: int) -> None:
    page, _ = open_page(width=width)
    page.set_viewport_size({"width": width, "height": height})
    answers = ".brief > div" if width == 360 else ".headline, .verdict, .lines > div, .lead"
    boxes = [item.bounding_box() for item in page.locator(answers).all()]
    assert len(boxes) == (3 if width == 360 else 7)
    assert all(box and box["y"] + box["height"] <= height for box in boxes)


def column(page: Page, table: str, heading: str) -> list[str]:
    """The visible cells of a column, without their notes."""
    cells: list[str] = page.evaluate(
        """([table, heading]) => {
            const found = document.querySelector(`#${table} table`);
            const heads = [...found.tHead.rows[0].cells].map((cell) => cell.innerText.trim());
            return [...found.tBodies[0].rows].filter((row) => row.offsetParent)
                .map((row) => row.cells[heads.indexOf(heading)].firstChild.textContent.trim());
        }""",
        [table, heading],
    )
    return cells


def by_norm(page: Page, heading: str) -> dict[str, list[float]]:
    """The numbers of a column of the attacks' table by norm, in the order of the rows; norms stand together."""
    norms = column(page, "table-attacks", "Norm")
    assert norms == sorted(norms)
    values = [float(value.replace("∞", "inf")) for value in column(page, "table-attacks", heading)]
    return {name: [value for norm, value in zip(norms, values, strict=True) if norm == name] for name in set(norms)}


def test_tables_sort_by_mouse_and_keyboard_and_keep_norms_together(open_page: Open) -> None:
    page, _ = open_page()
    fewer = column(page, "table-attacks", "Images")
    assert "6" in fewer
    assert all(by_norm(page, "Images")[norm] == [12] * n + [6] * m for norm, n, m in (("L0", 2, 0), ("L2", 4, 2)))
    heading = page.locator("#table-attacks th[data-key=median]")
    for direction in ("ascending", "descending"):
        heading.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == direction
        medians, images = by_norm(page, "Median"), by_norm(page, "Images")
        for norm, values in medians.items():
            full = [value for value, count in zip(values, images[norm], strict=True) if count == 12]
            assert full == sorted(full, reverse=direction == "descending")
            assert values[: len(full)] == full, "attacks on fewer images come last"
    page.locator("#table-attacks th[data-key=norm]").get_by_role("button").click()
    page.locator("#table-attacks th[data-key=norm]").get_by_role("button").click()
    assert column(page, "table-attacks", "Norm")[0] == "L2"


def test_tables_are_searched(open_page: Open) -> None:
    page, _ = open_page()
    everything = column(page, "table-verdict", "What a healthy network shows")
    page.locator("#table-verdict input").fill("where gradient zero")
    assert column(page, "table-verdict", "What a healthy network shows") == ["Gradients do not vanish"]
    page.locator("#table-verdict input").fill("")
    assert column(page, "table-verdict", "What a healthy network shows") == everything


def test_filters_hide_in_tables_and_figures_alike(open_page: Open) -> None:
    page, _ = open_page()
    assert "MLP" in column(page, "table-attacks", "Network")
    line = page.locator("#accuracy-l2 svg [data-network=MLP]").first
    assert line.is_visible()
    page.locator("fieldset[data-filter=network] input[value=MLP]").uncheck()
    assert set(column(page, "table-attacks", "Network")) == {"CNN"}
    assert not line.is_visible()
    assert "1 hidden: MLP. Nothing is computed again" in page.locator("#filter-state").inner_text()
    assert page.locator("#filter-state").is_visible()
    assert "of 8 rows shown" in page.locator("#table-attacks .shown").inner_text()
    page.locator("fieldset[data-filter=norm] input[value=l0]").uncheck()
    assert not page.locator("#accuracy-l0").is_visible()
    page.locator("#reset").click()
    assert page.locator("#accuracy-l0").is_visible()
    assert "MLP" in column(page, "table-attacks", "Network")
    best = page.locator("#summary .headline b").inner_text().split()[0].rstrip(",")
    assert page.locator("#summary .is-hidden").count() == 0
    page.locator(f"fieldset[data-filter=network] input[value={best}]").uncheck()
    assert f"hidden by the filter: {best}" in page.locator("#summary .headline").inner_text()
    page.locator("#reset").click()
    assert page.locator("#summary .is-hidden").count() == 0


def test_the_theme_follows_the_system_until_it_is_chosen(open_page: Open) -> None:
    page, _ = open_page(color_scheme="dark")

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    page.locator("#theme").click()
    assert background() != dark
    page.locator("#theme").click()
    assert background() == dark


def test_figures_are_saved_as_svg_and_their_data_as_csv(open_page: Open, run: synthetic.SyntheticRun) -> None:
    page, watched = open_page()
    figures = page.locator("figure:has(button[data-svg])")
    assert figures.count() > 10
    for place in range(figures.count()):
        page.wait_for_timeout(250)  # Chromium drops what is more than ten downloads in a second
        with page.expect_download() as download:
            figures.nth(place).locator("button[data-svg]").click()
        root = ET.fromstring(Path(download.value.path()).read_text())
        assert root.tag.endswith("svg")
        assert len(list(root.iter())) > 20
        with page.expect_download() as download:
            figures.nth(place).locator("button[data-csv]").click()
        assert len(list(csv.reader(io.StringIO(Path(download.value.path()).read_text())))) > 1
    with page.expect_download() as download:
        page.locator("#accuracy-l2 button[data-csv]").click()
    frame = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()))
    evidence = metrics.evidence(run.records(), run.manifest)
    expected = pd.concat([metrics.METRICS[name](evidence) for name in ("best_curves", "certified_curves")])
    expected = expected[expected["norm"] == "l2"]
    assert frame["robust_accuracy"].tolist() == pytest.approx(expected["robust_accuracy"].tolist(), rel=1e-5)
    assert watched.events == []


def test_tables_are_saved_as_columns_of_numbers(open_page: Open, run: synthetic.SyntheticRun) -> None:
    page, _ = open_page()
    page.locator("fieldset[data-filter=network] input[value=MLP]").uncheck()
    page.locator("#table-attacks th[data-key=median] button").click()
    head, *lines = saved_lines(page, "button[data-csv-table=table-attacks]")
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in head)
    shown = [line[head.index("network")] for line in lines]
    assert shown == column(page, "table-attacks", "Network")
    assert set(shown) == {"CNN"}
    summary = metrics.METRICS["summary"](metrics.evidence(run.records(), run.manifest))
    summary = summary[summary["network"] == "CNN"].set_index("label")
    for key in ("median", "q1", "q3", "found_rate", "ratio", "ratio_low", "ratio_high", "seconds", "images"):
        values = [float(line[head.index(key)]) for line in lines]
        expected = [summary.loc[line[head.index("label")], key] for line in lines]
        assert values == pytest.approx(expected, rel=1e-5), key
    page.wait_for_timeout(1000)  # Chromium drops what is more than ten downloads in a second
    head, *lines = saved_lines(page, "button[data-csv-table=table-robust]")
    assert head[:2] == ["norm", "eps"]
    assert head[2:] == [f"cnn_{key}" for key in ("robust_accuracy", "low", "high", "certified")], "MLP is hidden"
    assert all(0 <= float(value) <= 1 for line in lines for value in line[2:])
    head, *lines = saved_lines(page, "button[data-csv-table=table-medians]")
    assert {"median", "median_low", "median_high"} <= set(head)
    assert all(float(line[head.index("median_low")]) <= float(line[head.index("median")]) for line in lines)
    head, first, *_ = saved_lines(page, "button[data-csv-table=table-verdict]")
    assert head == ["check", "why", "cnn_outcome", "cnn_reason"]
    assert first[0] == "Attacks that see gradients beat attacks that see only decisions"


def test_it_prints_with_everything_unfolded_or_the_summary_alone(open_page: Open) -> None:
    page, watched = open_page(color_scheme="dark")
    closed = page.locator("main details:not([open])").count()
    assert closed > 0
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("main details:not([open], .values)").count() == 0
    assert page.locator("main details.values[open]").count() == 0, "thousands of values are not printed"
    assert not page.locator("nav").is_visible()
    assert page.locator("#attacks").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 254)", "paper is white"
    whole = page.pdf(prefer_css_page_size=True)
    assert whole.startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("main details:not([open])").count() == closed
    page.evaluate("window.print = () => { window.printed = document.documentElement.dataset.print; }")
    page.emulate_media(media="screen")
    page.locator("#print-summary").click()
    assert page.evaluate("window.printed") == "summary"
    page.emulate_media(media="print")
    assert page.locator("#summary").is_visible()
    assert not page.locator("#attacks").is_visible()
    pages = [content.count(b"/Type /Page\n") for content in (page.pdf(prefer_css_page_size=True), whole)]
    assert 0 < pages[0] <= 2 < pages[1]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#attacks").is_visible()
    assert watched.events == []


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler is not installed")
@pytest.mark.parametrize("name", ["first/report.html", "compare-first-second.html"])
def test_on_paper_headings_stay_with_what_they_head(open_page: Open, tmp_path: Path, name: str) -> None:
    page, _ = open_page(name)
    heads = page.evaluate(
        """[...document.querySelectorAll(
            "main h2, main h3, .intro, .legend, .columns summary, figcaption:not(:last-child) > b, thead"
        )].filter((item) => !item.closest(".card")).map((item) => item.textContent)"""
    )
    page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    command = ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    numbered = [" ".join(content.split()) for content in text.split("\f")]
    pages = [re.sub(r" ?\d+ / \d+$", "", content) for content in numbered]
    assert all(content.endswith(f"/ {len(numbered) - 1}") for content in numbered[:-1]), "every page has its number"
    ends = tuple({" ".join(head.split())[-30:] for head in heads} - {""})
    assert len(pages) > 5
    assert [content[-40:] for content in pages if content.endswith(ends)] == []
    title = "What a healthy network shows"
    assert sum(title in content for content in pages) > 1, "a table's headings stand on each of its pages"


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("name", ["evil/report.html", "index.html"])
def test_foreign_text_runs_nothing_with_or_without_the_pages_policy(
    open_page: Open, results: Path, name: str, bypass: bool
) -> None:
    page, watched = open_page(name, bypass_csp=bypass)
    page.mouse.move(400, 400)
    for box in page.locator("fieldset input").all()[:3]:
        box.dispatch_event("click")
    if "evil" in name:
        page.locator("#reset").dispatch_event("click")
        page.locator(".choice").first.click()
        page.locator("#image-name").wait_for()
        assert "<script>alert(3)" in page.locator("#table-image").inner_text()
        page.locator(".values summary").first.click()
        page.locator("button[data-enlarge]").first.click()
        page.keyboard.press("Escape")
        page.reload()
    page.wait_for_timeout(100)
    assert watched.events == []
    assert {request.partition("#")[0] for request in watched.requests} == {(results / name).as_uri()}
    assert page.locator("img[src=x], [onload], [onerror], a[href^=javascript]").count() == 0
    assert "<script>alert(3)" in page.locator("main").inner_text()
    assert "49" not in page.title()
