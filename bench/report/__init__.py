"""The report of stored runs: one self-contained page, from what is stored alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench import metrics, store, verdict
from bench.errors import StoreError, printable
from bench.report import exports, gallery, history, images, index, page, sources
from bench.report.frames import Frames

COMPARISON = "compare"


def render(run_path: Path | str) -> Path:
    """Write the report of a run in its folder: ``report.html``, ``summary.json``, ``records.csv``, ``best.csv``, ``README.txt``.

    The list of all runs beside it, ``index.html`` in the folder above, is written as well where that is possible.

    Args:
        run_path: the run's folder.

    Returns:
        The path of ``report.html``.

    Raises:
        StoreError: the run cannot be read, or the report cannot be written.
    """
    run = store.read(run_path)
    source = sources.single(run)
    frames, found = prepared(source)
    _write(run.path / "records.csv", exports.records_csv(source.records))
    _write(run.path / "best.csv", exports.best_csv(frames))
    _write(run.path / "README.txt", exports.readme(source.manifest).encode())
    _write(run.path / "summary.json", exports.summary_json(frames, source.manifest, found).encode())
    links = neighbours(run.path.resolve(), source.manifest)
    written = _write(run.path / "report.html", page_of(source, frames, found, links).encode())
    with contextlib.suppress(StoreError):  # the list is a convenience; a folder above may be read-only
        render_index(run.path.resolve().parent)
    return written


def render_together(run_paths: Sequence[Path | str], target: Path | None = None) -> Path:
    """Write one page of several runs side by side, such as a network before and after a defence.

    Args:
        run_paths: folders of runs over the same images, at least two.
        target: the file to write; by default ``compare-<run>-<run>.html`` beside the first run.

    Returns:
        The path of the page.

    Raises:
        StoreError: a run cannot be read, the runs cannot be compared, or the page cannot be written.
    """
    runs = [store.read(path) for path in run_paths]
    source = sources.together(runs)
    results = runs[0].path.resolve().parent
    if target is None:
        target = results / f"{COMPARISON}-{'-'.join(run.path.resolve().name for run in runs)[:150]}.html"
    written = _write(target, page_of(source, *prepared(source)).encode())
    with contextlib.suppress(StoreError):
        render_index(results)
    return written


def render_index(results: Path) -> Path:
    """Write ``index.html`` in a results folder: all its runs with links to their reports.

    Raises:
        StoreError: it cannot be read or written.
    """
    try:
        content = page.render_index(index.entries(results), index.comparisons(results))
    except OSError as error:
        raise StoreError(f"{results} cannot be read: {error.strerror}") from error
    return _write(results / "index.html", content.encode())


def prepared(source: sources.Source) -> tuple[Frames, list[verdict.CheckResult]]:
    """The metric frames of a run, and the results of all checks, by which networks are left out of comparisons."""
    evidence = metrics.evidence(source.records, source.manifest)
    found = verdict.findings(evidence, source.manifest)
    return Frames(evidence, verdict.failing(found, evidence.networks)), found


def page_of(
    source: sources.Source,
    frames: Frames,
    found: list[verdict.CheckResult],
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """The page as HTML, with links to pages beside it."""
    examples = gallery.examples(frames.evidence, source.images, source.candidates)
    first = [example.image for example in examples]
    view = images.view(frames.evidence, source.images, source.candidates, first)
    return page.render(frames, source, examples, found, view=view, links=links)


def neighbours(path: Path, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pages beside a run's own, as address and text: the list of runs, and the run before it of the same kind."""
    links = [("../index.html", "all runs")]
    with contextlib.suppress(OSError):
        before = history.previous(path, manifest)
        if before is not None:
            name = printable(before.name)
            links.append((f"../{quote(os.fsencode(before.name))}/report.html", f"the run before: {name}"))
    return links


def _write(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror}; make room or mend the permissions") from error
    return path
