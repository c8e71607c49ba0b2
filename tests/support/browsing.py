"""A real browser for tests of the report: where it is, and what a page does besides being a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page, Request, sync_playwright

from bench.guide import pictures

CHROMIUM = pictures.chromium()


class Watched:
    """What a page does besides being a page."""

    def __init__(self, page: Page) -> None:
        self.events: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        self.events.append(f"console: {message.text}")

    def _error(self, error: Error) -> None:
        self.events.append(f"error: {error}")

    def _dialog(self, dialog: Dialog) -> None:
        self.events.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)


Open = Callable[..., tuple[Page, Watched]]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opening(browser: Browser, results: Path, first: str) -> Iterator[Open]:
    """A function that opens pages of a results folder, each in a context of its own, which are closed at the end."""
    contexts = []

    def open_one(name: str = first, *, width: int = 1600, state: str = "", **options: Any) -> tuple[Page, Watched]:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        watched = Watched(page)
        page.goto((results / name).as_uri() + state)
        return page, watched

    yield open_one
    for context in contexts:
        context.close()


def saved(page: Page, button: str) -> bytes:
    """What a button saves."""
    with page.expect_download() as download:
        page.locator(button).click()
    return Path(download.value.path()).read_bytes()


def saved_lines(page: Page, button: str) -> list[list[str]]:
    """The lines of the CSV file that a button saves."""
    return list(csv.reader(io.StringIO(saved(page, button).decode())))
