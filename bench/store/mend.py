"""Before a run goes on: what is stored is looked at, and what cannot be used is set aside, to be computed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.store.reader import Run, part_key
from bench.store.writer import Writer

SHOWN = 8
"""So many parts are named in a message; all of them lie in the folder that it names."""


def mend(run: Run, writer: Writer, planned: Mapping[str, tuple[int, ...]], *, finished: bool) -> list[str]:
    """Set aside every stored part that is not whole, or of no block of the plan.

    Args:
        run: the stored run.
        writer: of the same folder.
        planned: the images of every block of the plan, by its key.
        finished: whether all of them were stored once.

    Returns:
        What to tell the user: a line for what was set aside, one for what is missing of a finished run; none where all is
        well.
    """
    used: set[Path] = set()
    whole: set[str] = set()
    refused: dict[Path, str] = {}
    for path in _entries(run.path / "records"):
        key = part_key(path.name)
        if key is None or key not in planned:
            refused[path] = "it is of no block of this run"
        elif key in whole:
            refused[path] = "its block is there twice"
        else:
            try:
                images, found, candidates = run.block(key, path)
            except StoreError as error:
                refused[path] = _reason(error, path)
                continue
            if images == planned[key] and found == set(candidates.images):
                used.add(candidates.path)
                whole.add(key)
            else:
                refused[path] = "it has other images than its block"
    for path in _entries(run.path / "candidates"):
        key = part_key(path.name)
        if path in used:
            continue
        # The candidates of a block come first: those of a block that was being stored are no damage.
        if key is None or key not in planned or key in whole:
            refused[path] = "no records belong to it"
        elif reason := _unreadable(run, key, path):
            refused[path] = reason
    lines = []
    if refused:
        for path in refused:
            writer.set_aside(path)
        named = [f"{path.relative_to(run.path)} ({reason})" for path, reason in list(refused.items())[:SHOWN]]
        more = f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
        lines.append(
            f"{len(refused)} stored parts cannot be used and were moved to {writer.damaged}: {', '.join(named)}{more}; their "
            "blocks are computed again"
        )
    missing = [key for key in planned if key not in whole]
    if finished and len(missing) > len(refused):
        lines.append(
            f"{len(missing)} blocks of the finished run are not stored, such as {missing[0]}; they are computed again"
        )
    return lines


def same_images(run: Run, indices: tuple[int, ...], images: NDArray[np.float32]) -> str:
    """Why a run's stored clean images are not these; empty where they are."""
    try:
        stored, values = run.images()
    except StoreError as error:
        return _reason(error, run.path / "images.parquet")
    same = tuple(stored.tolist()) == tuple(indices) and values.tobytes() == images.astype("<f4").tobytes()
    return "" if same else "it has other images than the dataset"


def _unreadable(run: Run, key: str, path: Path) -> str:
    try:
        run.examples(key, path)
    except StoreError as error:
        return _reason(error, path)
    return ""


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder under a part's ending, whatever it is."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return
    for name in names:
        if name.endswith(".parquet") and not name.startswith("."):
            yield folder / name


def _reason(error: StoreError, path: Path) -> str:
    """The message of an error about a file, without the file's name and what to do."""
    return str(error).replace(f"{path} ", "").partition("; ")[0].partition(": ")[0]
