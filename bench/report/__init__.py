"""The report of stored runs: one self-contained page, from what is stored alone."""

from __future__ import annotations

import os
from pathlib import Path

from bench import metrics, store
from bench.errors import StoreError
from bench.report import gallery, page


def render(run_path: Path | str) -> Path:
    """Write the report of a run.

    Args:
        run_path: the run's folder.

    Returns:
        The path of ``report.html`` in it.

    Raises:
        StoreError: the run cannot be read, or the report cannot be written.
    """
    run = store.read(run_path)
    evidence = metrics.evidence(run.records(), run.manifest)
    low, high = run.manifest["box"]
    examples = gallery.examples(evidence, run.images(), run.candidates, (float(low), float(high)))
    html = page.render(evidence, run.manifest, examples, str(run.manifest["name"]))
    return _write(run.path / "report.html", html)


def _write(path: Path, content: str) -> Path:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(content, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror}; make room or mend the permissions") from error
    return path
