"""One image with all its attacks, the state in the address, enlarged pictures and saved ones, in a real browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import synthetic
from axe_core_python.sync_playwright import Axe  # type: ignore[import-untyped]
from browsing import CHROMIUM, Open, chromium, opening, saved, saved_lines
from PIL import Image
from playwright.sync_api import Browser, Page

from bench import metrics, report
from bench.norms import Norm
from bench.specs import Suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.xdist_group("browser"),
]

SUITE = Suite(
    name="one image",
    description="Two norms, bounds.",
    rows=(
        *(synthetic.attack(synthetic.REFERENCE, norm) for norm in (Norm.L0, Norm.L2)),
        synthetic.attack(synthetic.REFERENCE, Norm.L2, "art", cap=4),
        synthetic.attack(synthetic.HSJ, Norm.L2),
        synthetic.verifier(Norm.L2),
    ),
    samples=8,
)
DOMAINS = {"grey": synthetic.DIGITS, "colour": synthetic.COLOURS, "table": synthetic.FEATURES}


@pytest.fixture(scope="module")
def runs() -> dict[str, synthetic.SyntheticRun]:
    return {
        name: synthetic.run(suite=SUITE, networks=("MLP", "CNN"), samples=8, seed=4, name=name, domain=domain)
        for name, domain in DOMAINS.items()
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, runs: dict[str, synthetic.SyntheticRun]) -> Path:
    folder = tmp_path_factory.mktemp("results")
    for name, run in runs.items():
        report.render(synthetic.write(run, folder / name))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def open_page(browser: Browser, results: Path) -> Iterator[Open]:
    with opening(browser, results, "grey/report.html") as function:
        yield function


def cards(page: Page) -> list[tuple[str, str]]:
    """The networks and norms whose nearest example is shown."""
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#image-shown .example')].filter((item) => item.offsetParent)"
        ".map((item) => [item.dataset.network, item.dataset.norm])"
    )
    return [(network, norm) for network, norm in found]


@pytest.mark.parametrize("name", sorted(DOMAINS))
def test_one_image_shows_every_attack_on_it(
    open_page: Open, runs: dict[str, synthetic.SyntheticRun], name: str
) -> None:
    run = runs[name]
    page, watched = open_page(f"{name}/report.html")
    evidence = metrics.evidence(run.records(), run.manifest)
    best = evidence.best
    image = int(best.loc[~best["misclassified"] & np.isfinite(best["distance"]), "image"].iloc[0])
    page.locator("#image-find").fill(str(image))
    assert 1 <= page.locator(".choice").count() < 8
    page.locator("#image-find").press("Enter")
    own = best[(best["image"] == image) & ~best["misclassified"]]
    assert sorted(cards(page)) == sorted(zip(own["network"].astype(str), own["norm"], strict=True))
    kind = "canvas" if name != "table" else "table.changes"
    assert page.locator(f"#image-shown .example {kind}").count() == len(own) * (3 if name != "table" else 1)

    records = evidence.records[evidence.records["image"] == image]
    records = records[records["status"] != "misclassified"]
    head, *lines = saved_lines(page, "button[data-csv-table=table-image]")
    assert len(lines) == len(records)
    labels = dict(zip(evidence.rows["attack"], evidence.rows["label"], strict=True))
    for record in records.to_dict("records"):
        (line,) = [
            dict(zip(head, line, strict=True))
            for line in lines
            if line[:3] == [labels[record["attack"]], str(record["norm"]), str(record["network"])]
        ]
        assert line["status"] == str(record["status"]).replace("_", " ")
        for norm in Norm:
            value = record[norm.value]
            assert line[norm.value] == "" if np.isinf(value) else float(line[norm.value]) == pytest.approx(value, 1e-4)
        assert float(line["certified"] or 0) == pytest.approx(record["lower"], 1e-4)
        if record["kind"] == "upper":
            together = evidence.records[
                (evidence.records["attack"] == record["attack"])
                & (evidence.records["network"] == record["network"])
                & (evidence.records["status"] != "misclassified")
            ]
            assert float(line["forwards"]) == pytest.approx(together["forwards"].mean(), 1e-4)
            assert line["measured"] == f"the mean of {len(together)} images", "the passes of one image are not known"
    assert watched.events == []


def test_the_pictures_are_those_of_the_run(open_page: Open, runs: dict[str, synthetic.SyntheticRun]) -> None:
    run = runs["grey"]
    page, _ = open_page()
    best = metrics.evidence(run.records(), run.manifest).best
    line = best[(best["norm"] == "l2") & (best["network"] == "CNN") & ~best["misclassified"]].iloc[0]
    page.locator(f".choice[data-image='{line['image']}']").click()
    seen = page.evaluate(
        """() => [...document.querySelectorAll("#image-shown .example[data-network=CNN][data-norm=l2] canvas")].map((item) => {
            const data = item.getContext("2d").getImageData(0, 0, item.width, item.height).data;
            return [...data].filter((_, place) => place % 4 === 0);
        })"""
    )
    clean = run.clean[line["image"]].ravel()
    changed = run.changed["CNN", line["attack"]][line["image"]].ravel()
    assert np.abs(np.array(seen[0]) - 255 * clean).max() <= 1
    step = 255 * np.abs(changed - clean).max() / 31
    assert np.abs(np.array(seen[1]) - 255 * changed).max() <= 2 + step / 2
    largest = np.abs(changed.astype(float) - clean).max()
    told = page.locator("#image-shown .example[data-network=CNN][data-norm=l2] small").last.inner_text()
    assert float(re.findall(r"[\d.]+", told)[0]) == pytest.approx(largest, rel=0.01)


def test_before_and_after_are_the_runs_values(open_page: Open, runs: dict[str, synthetic.SyntheticRun]) -> None:
    run = runs["table"]
    page, _ = open_page("table/report.html")
    best = metrics.evidence(run.records(), run.manifest).best
    line = best[(best["norm"] == "l2") & (best["network"] == "CNN") & ~best["misclassified"]].iloc[0]
    page.locator(f".choice[data-image='{line['image']}']").click()
    rows = page.locator("#image-shown .example[data-network=CNN][data-norm=l2] tbody tr")
    shown = [row.split("\t") for row in rows.all_inner_texts()]
    names = synthetic.FEATURES.feature_names
    changed = run.changed["CNN", line["attack"]][line["image"]]
    assert {row[0] for row in shown} <= set(names)
    for name, before, after, _ in shown:
        place = names.index(name)
        assert float(before.replace(",", "")) == pytest.approx(run.clean[line["image"]][place], rel=0.01)
        assert float(after.replace(",", "")) == pytest.approx(changed[place], rel=0.01)


def state_of(page: Page) -> dict[str, object]:
    """What a reader has chosen, as the page shows it."""
    found: dict[str, object] = page.evaluate(
        """() => ({
            hidden: [...document.querySelectorAll("fieldset[data-filter] input:not(:checked)")].map((box) => box.value),
            sorted: [...document.querySelectorAll("th[aria-sort]")].map((item) => [item.dataset.key, item.getAttribute("aria-sort")]),
            found: document.querySelector("#table-verdict input").value,
            rows: [...document.querySelectorAll("#table-attacks tbody tr")].filter((row) => row.offsetParent).map((row) => row.innerText),
            image: document.querySelector("#image-shown h3")?.innerText ?? "",
            theme: document.documentElement.dataset.theme ?? "",
        })"""
    )
    return found


def settled(page: Page) -> dict[str, object]:
    page.wait_for_timeout(150)
    return state_of(page)


def test_what_is_chosen_stands_in_the_address_and_comes_back(open_page: Open) -> None:
    page, watched = open_page()
    nothing = settled(page)
    assert "#" not in page.url
    page.locator("fieldset[data-filter=network] input[value=MLP]").uncheck()
    filtered = settled(page)
    page.locator("#table-attacks th[data-key=ratio] button").click()
    page.locator("#table-attacks th[data-key=ratio] button").click()
    page.locator("#table-verdict input").fill("gradient")
    page.locator("#theme").click()
    page.locator("a[href='#security']").first.click()
    in_order = settled(page)
    page.locator(".choice").nth(2).click()
    chosen = settled(page)
    assert chosen["hidden"] == ["MLP"]
    assert ["ratio", "descending"] in chosen["sorted"]  # type: ignore[operator]
    assert (chosen["found"], chosen["theme"]) == ("gradient", "dark")
    assert str(chosen["image"]).startswith("Image 2, class")
    assert page.url.partition("#")[2].startswith("security?")

    page.reload()
    assert settled(page) == chosen
    shared, own = open_page(state="#" + page.url.partition("#")[2])
    assert settled(shared) == chosen
    assert shared.evaluate("Math.abs(document.querySelector('#security').getBoundingClientRect().top) < 40")

    page.go_back()
    assert settled(page) == in_order
    for _ in range(3):  # the link, and twice the order of the table
        page.go_back()
        page.wait_for_timeout(150)
    assert settled(page)["hidden"] == filtered["hidden"] == ["MLP"]
    assert settled(page)["sorted"] == []
    page.go_back()
    assert settled(page)["hidden"] == nothing["hidden"] == []
    page.go_forward()
    assert settled(page)["hidden"] == ["MLP"]
    assert watched.events == own.events == []


@pytest.mark.parametrize(
    "state",
    [
        "#nothing-of-this-name",
        "#%E0%A4%A",
        "#security?%E0%A4%A&&&=&?#",
        "#?image=99999&image=x&sort=&sort=table-none.a.b&sort=table-attacks.none.ascending&sort=table-attacks.median.upwards",
        "#?image=-1&hide.network=NOBODY&hide.__proto__=x&find.table-none=x&find.table-attacks=&theme=%22%3E%3Cscript%3E",
        "#?image=1e99&hide.=&sort=__proto__.constructor.ascending&" + "x=" + "y" * 5000,
        "#<img src=x onerror=alert(1)>",
    ],
)
def test_a_state_that_makes_no_sense_is_ignored(open_page: Open, state: str) -> None:
    page, watched = open_page(state=state)
    assert settled(page) == state_of(open_page()[0]) | {"rows": state_of(page)["rows"]}
    assert len(state_of(page)["rows"]) == 8  # type: ignore[arg-type]
    page.evaluate("(state) => { location.hash = state; }", state + "&again=1")
    assert state_of(page)["hidden"] == []
    assert watched.events == []


def test_every_heading_has_an_address(open_page: Open) -> None:
    page, _ = open_page()
    bare = page.evaluate(
        """[...document.querySelectorAll("main h2:not(.hidden), main h3, .table-block > .legend, .drawn > figcaption")]
            .filter((item) => { const link = item.querySelector("a.permalink"); return !link || !document.getElementById(link.hash.slice(1)); })
            .map((item) => item.textContent)"""
    )
    assert bare == []
    for place in ("rows-l2", "table-pairs", "cards"):
        page.locator(f"a.permalink[href='#{place}']").click()
        assert page.url.endswith(f"#{place}")


def test_figures_and_pictures_are_enlarged_by_mouse_and_keyboard(open_page: Open) -> None:
    page, watched = open_page()
    dialog = page.locator("#large")
    small = page.locator("#rows-l2 svg").bounding_box()
    button = page.locator("button[data-enlarge=rows-l2]")
    button.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    large = page.locator("#large svg").bounding_box()
    assert small
    assert large
    assert large["width"] > 1.5 * small["width"]
    assert page.evaluate("document.activeElement.id") == "large-close"
    found = Axe().run(page, options={"resultTypes": ["violations"]}, context={"include": [["#large"]]})["violations"]
    assert [rule["id"] for rule in found] == []
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.dataset.enlarge") == "rows-l2"
    back = page.locator("#rows-l2 svg").bounding_box()
    assert back
    assert (back["width"], back["height"]) == (small["width"], small["height"]), "it is back in its place"

    page.locator("#rows-l2 svg").click()
    assert dialog.is_visible()
    page.locator("#large-close").click()
    assert not dialog.is_visible()

    page.locator("button[data-enlarge-pictures]").first.click()
    wide = page.locator("#large img").first
    assert wide.evaluate("(item) => item.clientWidth") > 250
    assert wide.evaluate("(item) => getComputedStyle(item).imageRendering") == "pixelated"
    page.mouse.click(5, 5)
    assert not dialog.is_visible(), "beside it is outside"

    page.locator("#gallery button[data-image]").first.click()
    page.wait_for_timeout(100)
    assert page.evaluate("document.activeElement.id") == "image-name"
    page.locator("#image-shown button[data-enlarge-pictures]").first.click()
    drawn = page.evaluate(
        "[...document.querySelectorAll('#large canvas')].map((item) => new Set(item.getContext('2d').getImageData(0, 0, item.width, item.height).data).size)"
    )
    assert len(drawn) == 3
    assert min(drawn) > 1, "the copies are drawn as well"
    page.keyboard.press("Escape")
    assert watched.events == []


def test_saved_pictures_say_what_they_are_of(open_page: Open) -> None:
    page, watched = open_page(color_scheme="dark")
    root = ET.fromstring(saved(page, "button[data-svg=accuracy-l2]").decode())
    text = " ".join(" ".join(root.itertext()).split())
    for part in (
        "L2: robust accuracy of all networks",
        "Euclidean length of the change, unit: grey level",
        "Run grey",
        "the first 8 of the test split of Made-up pictures",
        "2026-01-02",
    ):
        assert part in text
    assert "var(" not in ET.tostring(root, encoding="unicode")
    assert "style" not in root.attrib
    picture = Image.open(io.BytesIO(saved(page, "button[data-png=accuracy-l2]")))
    assert picture.format == "PNG"
    assert picture.width > 900
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert (pixels == 255).all(axis=1).mean() > 0.5, "light, also of a dark page"
    assert (np.ptp(pixels.astype(int), axis=1) > 100).mean() > 0.001, "lines have their colours"
    assert watched.events == []
    assert len(watched.requests) == 1


def test_the_values_of_a_figure_are_a_table_made_on_demand(open_page: Open) -> None:
    page, watched = open_page()
    label = page.locator("#accuracy-l2 svg").get_attribute("aria-label")
    assert label
    assert "Size of change at which half of the images are wrong: MLP" in label
    values = page.locator("#accuracy-l2 details.values")
    assert values.locator("table").count() == 0
    values.locator("summary").focus()
    page.keyboard.press("Enter")
    values.locator("table").wait_for()
    shown = values.locator("tbody tr").count()
    head, *lines = saved_lines(page, "button[data-csv=accuracy-l2]")
    assert shown == len(lines)
    first = values.locator("tbody tr").first.inner_text().split("\t")
    assert first[0] == lines[0][head.index("network")]
    values.locator("th[data-key=robust_accuracy] button").click()
    assert float(values.locator("tbody tr").first.inner_text().split("\t")[head.index("robust_accuracy")]) <= 0.2
    found = Axe().run(page, context={"include": [["#accuracy-l2"], ["#image"]]})["violations"]
    assert [rule["id"] for rule in found] == []
    assert watched.events == []


@pytest.mark.parametrize(("width", "scheme"), [(1600, "dark"), (360, "light")])
def test_one_image_is_accessible_and_fits(open_page: Open, width: int, scheme: str) -> None:
    page, _ = open_page(width=width, color_scheme=scheme, state="#image?image=2")
    page.locator("#image-name").wait_for()
    found = Axe().run(page, context={"include": [["#image"]]})["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_script_everything_can_be_read(open_page: Open) -> None:
    for width in (360, 1600):
        page, watched = open_page(width=width, java_script_enabled=False)
        for place in (
            "#table-attacks table",
            "#cards .card p",
            "#accuracy-l2 svg",
            "#gallery img",
            "#image noscript",
        ):
            assert page.locator(place).first.is_visible(), place
        assert not page.locator("button[data-csv], #image-find, #theme").first.is_visible()
        assert watched.events == []
