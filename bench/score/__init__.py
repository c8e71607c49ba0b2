"""Distances from elsewhere: scored, and shown, as those of runs are. Nothing of it needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.folders import whole
from bench.norms import Norm
from bench.report import scores as page
from bench.report.frames import Frames
from bench.score import layout, show
from bench.score.given import Scored, scored

PAGE, SCORES, CURVES = "scores.html", "scores.csv", "curves.csv"

FOLDER = "-scores"
"""What the folder of results is called, behind the name of the file without its ending."""


@dataclass(frozen=True)
class Result:
    """Distances with their metrics, and where they are written.

    Attributes:
        scored: the distances.
        frames: their metrics.
        folder: of the page and the tables.
    """

    scored: Scored
    frames: Frames
    folder: Path


def score(
    distances: Path,
    best: Path | None = None,
    out: Path | None = None,
    *,
    norm: Norm | None = None,
    force: bool = False,
) -> Result:
    """Score the distances of a file, and write ``scores.html``, ``scores.csv`` and ``curves.csv``.

    Args:
        distances: a CSV file, as :func:`bench.score.layout.distances` reads it.
        best: a CSV file of best known distances; None for the smallest of the given ones.
        out: the folder to write; None for ``<file>-scores`` beside the file.
        norm: of the distances, where no column says it.
        force: whether the folder may take the place of an earlier one.

    Raises:
        DataError: a file is no such table, or distances contradict one another.
        StoreError: a file cannot be read, or the folder cannot be written.
        UsageError: the folder is there already.
    """
    given = layout.distances(distances, norm)
    known = None if best is None else layout.best(best)
    result = scored(given, known)
    frames = Frames(result.evidence)
    folder = distances.with_name(distances.stem + FOLDER) if out is None else out
    source = f"from {known.sheet.name}" if known else "the smallest of the attacks of this table"
    stamp = {"distances": given.sheet.name} | ({"best": known.sheet.name} if known else {})
    with whole(folder, stamp, force=force) as temporary:
        show.scores(frames).to_csv(temporary / SCORES, index=False, lineterminator="\n")
        show.curves(frames).to_csv(temporary / CURVES, index=False, lineterminator="\n")
        text = page.page(frames, f"Scores of {distances.stem}", (*NOTES, *result.notes), source)
        (temporary / PAGE).write_text(text, encoding="utf-8")
    return Result(result, frames, folder)


NOTES = (
    "These distances were measured elsewhere: nothing here was judged, and no candidate was seen.",
    "Without certified bounds, optimality and ratio compare with the best known distances, not with the truth.",
)
"""What the page says first."""


__all__ = ["CURVES", "PAGE", "SCORES", "Result", "score"]
