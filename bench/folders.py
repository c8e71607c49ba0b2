"""Folders that are written whole or not at all, and take the place of nothing that the bench has not made."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import StoreError, UsageError

STAMP = "made.json"
"""The file by which a folder that was made so is known."""


@contextmanager
def whole(folder: Path, stamp: Mapping[str, str], *, force: bool) -> Iterator[Path]:
    """An empty folder to write into, which takes its name when the block ends without an error.

    Args:
        folder: the name.
        stamp: the content of ``made.json``: what the folder was made of.
        force: whether the folder may take the place of an earlier one that was made so.

    Raises:
        UsageError: the folder is there already, and may not be replaced.
        StoreError: it cannot be written.
    """
    _refuse(folder, force=force)
    above = [parent for parent in folder.absolute().parents if not parent.exists()]
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        (temporary / STAMP).write_text(json.dumps(dict(stamp), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _place(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in above:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise StoreError(
                f"{folder} cannot be written: {error.strerror or error}; make room, mend the permissions or give another --out"
            ) from error
        raise


def _refuse(folder: Path, *, force: bool) -> None:
    try:
        entries = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}; give another --out") from error
    if entries and STAMP not in entries:
        raise UsageError(f"{folder} is there already and holds other files (no {STAMP}); give another --out")
    if entries and not force:
        raise UsageError(f"{folder} is there already; --force writes it again, --out gives it another place")


def _place(temporary: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    if folder.exists():
        folder.rename(old)
    try:
        temporary.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
