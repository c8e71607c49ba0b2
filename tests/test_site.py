"""The built site in a real browser: complete, silent, and open to everyone. ``tox -e docs`` builds and tests it."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core_python.sync_playwright import Axe  # type: ignore[import-untyped]
from browsing import CHROMIUM, Open, chromium, opening
from playwright.sync_api import Browser

import adapters
import bench
import bench.data
import bench.metrics
import bench.plots
import bench.testing
import suites

SITE = Path(os.environ.get("BENCH_SITE", ""))

pytestmark = [
    pytest.mark.skipif(not os.environ.get("BENCH_SITE"), reason="no site is built; tox -e docs builds and tests it"),
    pytest.mark.xdist_group("browser"),
]
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

PAGES = (
    "index.html",
    "tutorial/first_run.html",
    "notebooks/own_network.html",
    "notebooks/records.html",
    "notebooks/one_image.html",
    "explanation/certified.html",
    "howto/cifar.html",
    "reference/commands.html",
    "reference/api/bench.html",
    "reference/api/metrics.html",
    "attacks.html",
    "results.html",
    "search.html",
    "genindex.html",
)
LOOKS = ((1440, "light"), (1440, "dark"), (360, "light"))
RESOURCE = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data|srcset)\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\bhref\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>"
    r"|@import\s+[^;]*//[^;]*;|url\(\s*[\"']?(?:https?:)?//[^)]*\)",
    re.IGNORECASE,
)


def test_a_resource_from_elsewhere_would_be_seen() -> None:
    for text in (
        '<script async src="https://a/b.js">',
        "<link rel=stylesheet href='//a/b.css'>",
        "url(https://a/f.woff)",
    ):
        assert RESOURCE.search(text)
    assert not RESOURCE.search('<a href="https://arxiv.org/abs/1711.07356">a paper</a> <link href="_static/site.css">')


def test_no_page_and_no_style_names_a_resource_from_elsewhere() -> None:
    files = [path for path in SITE.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > len(PAGES)
    found = {path.relative_to(SITE): hits for path in files if (hits := RESOURCE.findall(path.read_text()))}
    assert found == {}


def objects() -> set[str]:
    """The Python names that the site has a place for."""
    content = (SITE / "objects.inv").read_bytes()
    lines = zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


def test_every_public_name_has_its_place() -> None:
    known = objects()
    for package in (bench, bench.data, bench.metrics, bench.plots, bench.testing, adapters):
        missing = {name for name in package.__all__ if f"{package.__name__}.{name}" not in known}
        assert missing == set(), package.__name__
    assert {"suites.load", "suites.names", "suites.rows", "adapters.own.row", "bench.specs.Suite"} <= known


@pytest.mark.parametrize("name", suites.names())
def test_every_suite_is_on_the_pages(name: str) -> None:
    assert name in (SITE / "attacks.html").read_text()
    assert name in (SITE / "reference" / "suites.html").read_text()


def test_notebooks_show_results_and_how_their_progress_ended() -> None:
    for name in ("own_network", "records", "one_image"):
        page = (SITE / "notebooks" / f"{name}.html").read_text()
        (bar,) = re.findall(r"<progress [^>]*>", page)
        (value,), (planned,) = re.findall(r'value="(\d+)"', bar), re.findall(r'max="(\d+)"', bar)
        assert value == planned
        assert "Traceback" not in page
        assert "stderr" not in page
        (picture,) = re.findall(r'<img [^>]*src="\.\./_images/[^>]*>', page)
        assert re.search(r'alt="[^"]{20,}"', picture)
    assert "minimal-norm-card" in (SITE / "notebooks" / "own_network.html").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    with opening(browser, SITE.resolve(), "index.html") as function:
        yield function


@in_browser
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_silent_fits_and_keeps_the_rules_of_accessibility(
    open_page: Open, name: str, width: int, scheme: str
) -> None:
    page, watched = open_page(name, width=width, color_scheme=scheme)
    page.wait_for_load_state()
    assert watched.events == []
    assert [url for url in watched.requests if not url.startswith(SITE.resolve().as_uri())] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "no sideways scrolling of the page"
    broken = page.evaluate("[...document.images].filter(one => one.complete && !one.naturalWidth).map(one => one.src)")
    assert broken == []
    found = Axe().run(page)["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in found] == []


@in_browser
def test_the_search_finds_a_word(open_page: Open) -> None:
    page, _ = open_page("search.html", state="?q=certified")
    page.locator("#search-results li").first.wait_for()
    assert page.locator("#search-results li a").count() > 3
