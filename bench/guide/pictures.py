"""``python -m bench.guide.pictures results/<run>``: the pictures of the README and the site, from a stored run.

``report.png`` is the first screen of the report in a Chromium that is installed; ``distribution.png`` is the distribution
of its minimal norms in one norm.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench import report, store
from bench.arguments import Parser, command
from bench.errors import BenchError, UsageError, unknown
from bench.norms import Norm
from bench.plots import drawing
from bench.plots.style import PAPER
from bench.report import figures, sources
from bench.report.frames import Frames

STAMP = "manifest"
"""What the SHA-256 of the run's ``manifest.json`` is called in a picture."""

SCREEN = (1280, 860)
"""Width and height of the window, in pixels of the page."""

SCALE = 2
"""Pixels of the browser for each pixel of the picture and direction, so that text is smooth."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The path of a Chromium that is installed, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def parser() -> Parser:
    """The command line of ``python -m bench.guide.pictures``."""
    words = Parser(prog="python -m bench.guide.pictures", description="Pictures of a stored run for README and site.")
    words.add_argument("run", type=Path, metavar="RUN", help="results/<run>")
    words.add_argument("--norm", default=Norm.L2.value, help="of the distribution (%(default)s)")
    words.add_argument(
        "--out", type=Path, default=Path("docs", "pictures"), metavar="FOLDER", help="for the pictures (%(default)s)"
    )
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures and print their paths; returns the exit code."""
    return command(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    source = sources.single(store.read(options.run))
    frames, found = report.prepared(source)
    pictures = {
        "report.png": first_screen(report.page_of(source, frames, found)),
        "distribution.png": distribution(frames, options.norm),
    }
    stamp = PngInfo()
    stamp.add_text(STAMP, store.digest((options.run / "manifest.json").read_bytes()))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            picture.save(options.out / name, optimize=True, pnginfo=stamp)
            print(options.out / name)
    except OSError as error:
        raise UsageError(f"{options.out} cannot be written: {error}; give another --out") from error
    return 0


def distribution(frames: Frames, norm: str) -> Image.Image:
    """The distribution of minimal norms, network below network.

    Args:
        frames: of a run.
        norm: one that attacks of the run minimised.

    Raises:
        UsageError: the run has no distances in this norm.
    """
    known = [each.value for each in frames.evidence.norms]
    if norm not in known:
        raise unknown("norm", norm, known)
    content = io.BytesIO()
    with drawing():
        figures.drawn("rows", frames, Norm(norm)).savefig(content, format="png", dpi=200, facecolor=PAPER)
    return Image.open(content)


def first_screen(page: str) -> Image.Image:
    """What a page shows before anyone scrolls, of the size :data:`SCREEN`.

    Args:
        page: HTML that asks for nothing from anywhere.

    Raises:
        BenchError: there is no Chromium, no playwright to drive it, or it does not start.
    """
    program = chromium()
    if program is None:
        raise BenchError(f"no browser is there to draw the page; install one of {', '.join(BROWSERS)}")
    try:
        from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 - only this needs it
    except ImportError as error:
        raise BenchError("playwright, which drives the browser, is not installed; pip install playwright") from error
    width, height = SCREEN
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        path.write_text(page, encoding="utf-8")
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            shown = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=SCALE)
            shown.goto(path.as_uri())
            content = shown.screenshot()
            browser.close()
        except Error as error:
            raise BenchError(f"{program} cannot draw the page: {error}") from error
    picture = Image.open(io.BytesIO(content)).convert("RGB").resize(SCREEN, Image.Resampling.LANCZOS)
    # Text and bars need no more colours.
    return picture.quantize(256, dither=Image.Dither.NONE)


if __name__ == "__main__":
    sys.exit(main())
