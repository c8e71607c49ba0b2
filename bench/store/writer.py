"""A run's folder, opened for writing by one process: every file is written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.records import Record, problems, schema, to_table
from bench.store.files import PICTURES, canonical, digest
from bench.store.layout import FORMAT


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """The only writer of a run's folder, which is made if it is not there.

    Raises:
        StoreError: the folder cannot be written, or another process is writing it.
    """
    try:
        for folder in (path / "records", path / "candidates"):
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe-{secrets.token_hex(8)}"
            probe.touch()
            probe.unlink()
        lock = FileLock(path / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"{path} is being written by another run; wait for it to end, or choose another --name"
        ) from None
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; choose another --out, or mend its permissions"
        ) from error
    try:
        for leftover in path.rglob(".part-*"):
            with suppress(OSError):
                leftover.unlink()
        yield Writer(path)
    finally:
        lock.release()


@dataclass(frozen=True)
class Writer:
    """Writes into one run's folder; made by :func:`writing`. Every file is written whole or not at all."""

    path: Path

    @property
    def damaged(self) -> Path:
        """The folder of what was set aside."""
        return self.path / "damaged"

    def set_aside(self, path: Path) -> None:
        """Move something of the run's folder, whatever it is, to the folder of what is damaged.

        Raises:
            StoreError: it cannot be moved.
        """
        try:
            self.damaged.mkdir(exist_ok=True)
            path.rename(self.damaged / f"{secrets.token_hex(4)}-{path.name}")
        except OSError as error:
            raise StoreError(
                f"{path} is damaged and cannot be moved to {self.damaged}: {error.strerror}; move it elsewhere"
            ) from error

    def manifest(self, content: Mapping[str, Any]) -> None:
        """Write ``manifest.json`` with this content, the format's version and a digest over both."""
        full = {"format": FORMAT, **content}
        full["digest"] = digest(canonical(full))
        _write(self.path / "manifest.json", json.dumps(full, indent=1, allow_nan=False).encode())

    def images(self, indices: Sequence[int], images: NDArray[np.float32]) -> str:
        """Write the run's clean images (m, *shape) float32; returns the file's SHA-256 for the manifest."""
        content = _bytes(_pictures(indices, images), {})
        _write(self.path / "images.parquet", content)
        return digest(content)

    def table(self, name: str, content: pa.Table) -> str:
        """Write a table under a name of its own; returns the file's SHA-256 for the manifest."""
        written = _parquet(content.replace_schema_metadata(), compression="zstd", compression_level=19)
        _write(self.path / name, written)
        return digest(written)

    def block(
        self, key: str, plan: str, records: Sequence[Record], candidates: Mapping[int, NDArray[np.float32]]
    ) -> None:
        """Write a finished block: first its candidates, then its records, which make it count.

        Args:
            key: from :func:`block_key`.
            plan: digest of the plan it belongs to; another run's parts are refused by it.
            records: one per image of the block.
            candidates: image index -> adversarial example (*shape), one for each ``found`` record.

        Raises:
            StoreError: a record contradicts itself, or the disk refuses.
        """
        broken = problems(records)
        if broken:
            raise StoreError(f"block {key} is not stored, its records contradict themselves: {'; '.join(broken[:3])}")
        pictures = _pictures(list(candidates), np.asarray(list(candidates.values()), dtype=np.float32))
        content = _bytes(pictures, {"bench.plan": plan})
        pair = digest(content)[:32]
        _write(self.path / "candidates" / f"{key}.{pair}.parquet", content)
        content = _bytes(to_table(records), {"bench.plan": plan, "bench.candidates": pair})
        _write(self.path / "records" / f"{key}.{digest(content)[:32]}.parquet", content)


def _pictures(indices: Sequence[int], images: NDArray[np.float32]) -> pa.Table:
    values = [picture.astype("<f4").tobytes() for picture in images]
    return pa.table({"image": list(indices), "values": values}, schema=PICTURES)


def _bytes(table: pa.Table, stamp: Mapping[str, str]) -> bytes:
    stamped = table.replace_schema_metadata({"bench.format": str(FORMAT), **stamp})
    if table.schema.equals(schema()):
        # Records lie in many small parts: so they are read six times as fast as under zstd, and are no larger.
        texts = [field.name for field in schema() if pa.types.is_dictionary(field.type)]
        return _parquet(stamped, compression="snappy", use_dictionary=texts, write_statistics=False)
    return _parquet(stamped, compression="zstd")


def _parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, **options)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _write(path: Path, content: bytes) -> None:
    temporary = path.parent / f".part-{secrets.token_hex(8)}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written: {error.strerror}; what is stored stays readable, make room or mend the "
            f"permissions and go on with --resume"
        ) from error


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a power cut; not every system can open a folder."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
