"""A run's folder: atomic parquet parts and a versioned manifest, written by one process, readable by anyone.

``results/<run>/`` holds ``manifest.json``, ``images.parquet``, ``records/`` and ``candidates/``. A part is named
after its block and the first half of its content's SHA-256, so that a part is whole, or absent, or known to be
damaged. A block is finished when its part in ``records/`` exists. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.norms import Norm
from bench.records import SCHEMA, Record, problems, to_table
from bench.specs import Kind

FORMAT = 1
"""The version of everything in a run's folder; a reader of another version refuses."""

_PICTURES = pa.schema([("image", pa.int32()), ("values", pa.binary())])
_PART = re.compile(r"(?P<key>[\w.-]+)\.(?P<digest>[0-9a-f]{32})\.parquet")
_NAME = re.compile(r"[\w][\w.-]{0,99}")

Manifest = dict[str, Any]

_TEXTS = {"...": str}
_LAYOUT: dict[str, Any] = {
    "name?": str,
    **dict.fromkeys(("plan", "images_file_sha256", "split", "started"), str),
    **dict.fromkeys(("samples", "seed"), int),
    "suite": {"name": str, "description": str},
    "rows": [
        {
            **dict.fromkeys(("name", "label", "library"), str),
            "norm": {norm.value for norm in Norm},
            "kind": {kind.value for kind in Kind},
            "method?": _TEXTS,
            "params?": dict,
            "reasons?": _TEXTS,
            "defects?": str,
        }
    ],
    "networks": [{"name": str, "preflight?": dict, "accuracy?": float, "parameters?": int}],
    "holes?": [{"family": str, "norm": {norm.value for norm in Norm}, "library": str, "reason": str}],
    "warnings?": [_TEXTS],
    "shape": [int],
    "box": (float, float),
    "image_sha256": _TEXTS,
    **dict.fromkeys(("packages?", "machine?"), dict),
    "git?": dict,
    "command?": [str],
    "planned?": int,
    "status?": str,
}
"""What readers rely on: a type, the values allowed, a list of one layout, a list of so many, or keys; ``?`` marks what may be missing or null."""


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def check_name(name: str) -> str:
    """A run's name, if it can be a folder's name inside the results folder.

    Raises:
        StoreError: it is empty, too long, or holds anything but letters, digits, ``_``, ``.`` and ``-``.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise StoreError(
            f"{name!r} cannot name a run; use up to 100 letters, digits, '_', '.' and '-', beginning with a letter or digit"
        )
    return name


def block_key(network: str, attack: str, number: int) -> str:
    """The name of a block's parts, without digest and ending."""
    return f"{network}.{attack}.{number:05d}"


@dataclass(frozen=True)
class Run:
    """A stored run, opened for reading.

    Attributes:
        path: its folder.
        manifest: what was run, how and where; see ``docs/store.md``.
    """

    path: Path
    manifest: Manifest

    @cached_property
    def finished(self) -> frozenset[str]:
        """The keys of the blocks whose records are stored, at the time of the first look."""
        return frozenset(self._stored)

    @cached_property
    def _stored(self) -> dict[str, Path]:
        return _parts(self.path / "records")

    def records(self) -> pd.DataFrame:
        """All stored records.

        Returns:
            One row per (network, attack, image), columns as in ``bench.records.SCHEMA``; network and attack are
            ordered categories in the manifest's order, by which, and by image, the rows are sorted.

        Raises:
            StoreError: a part is damaged, belongs to another run, or is not of the block that its name says.
        """
        tables = [_read_records(path, key, self.manifest["plan"]) for key, path in self._stored.items()]
        bare = [table.replace_schema_metadata() for table in tables]
        table = pa.concat_tables(bare or [SCHEMA.empty_table()]).unify_dictionaries()
        frame: pd.DataFrame = table.to_pandas()
        orders = {
            "network": [network["name"] for network in self.manifest["networks"]],
            "attack": [row["name"] for row in self.manifest["rows"]],
        }
        for column, order in orders.items():
            stray = set(frame[column].dropna().unique()) - set(order)
            if stray:
                raise StoreError(f"{self.path}: records of {column} {sorted(stray)}, which the manifest does not name")
            frame[column] = frame[column].astype(pd.CategoricalDtype(order, ordered=True))
        return frame.sort_values(["network", "attack", "image"], kind="stable", ignore_index=True)

    def images(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The clean images of the run: indices in the split (m,) and values (m, *shape) in the box.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.path / "images.parquet"
        content = _read_bytes(path)
        if digest(content) != self.manifest["images_file_sha256"]:
            raise StoreError(f"{path} is damaged: its SHA-256 is not the manifest's; restore it from a copy of the run")
        table = _parse(content, path, _PICTURES)
        return table["image"].to_numpy().astype(np.int32), self._pictures(table, path)

    def candidates(
        self, network: str, attack: str, blocks: Collection[int] | None = None
    ) -> dict[int, NDArray[np.float32]]:
        """The adversarial examples of the ``found`` records of one network and attack: image index -> values (*shape).

        Args:
            network, attack: whose.
            blocks: numbers of the only blocks to read; None for all.

        Raises:
            StoreError: a part is damaged or belongs to another run.
        """
        found: dict[int, NDArray[np.float32]] = {}
        prefix = block_key(network, attack, 0).removesuffix("00000")
        wanted = None if blocks is None else {block_key(network, attack, number) for number in blocks}
        for key, path in self._stored.items():
            if key.startswith(prefix) if wanted is None else key in wanted:
                records = _read_records(path, key, self.manifest["plan"])
                pair = (records.schema.metadata.get(b"bench.candidates") or b"none").decode()
                file = self.path / "candidates" / f"{key}.{pair}.parquet"
                table = _read_part(file, key, _PICTURES, self.manifest["plan"])
                found |= dict(zip(table["image"].to_pylist(), self._pictures(table, file), strict=True))
        return found

    def _pictures(self, table: pa.Table, path: Path) -> NDArray[np.float32]:
        values = np.frombuffer(b"".join(table["values"].to_pylist()), dtype="<f4")
        shape = (len(table), *self.manifest["shape"])
        if values.size != math.prod(shape):
            raise StoreError(f"{path}: its images have another shape than the manifest says, {self.manifest['shape']}")
        return values.reshape(shape)


def read(path: Path | str) -> Run:
    """Open a stored run.

    Raises:
        StoreError: the folder is no run, its manifest is damaged, or another version wrote it.
    """
    folder = Path(path)
    file = folder / "manifest.json"
    if not file.is_file():
        raise StoreError(f"{folder} is not a run: it has no manifest.json; give a folder that bench.run has written")
    try:
        content = json.loads(_read_bytes(file))
    except ValueError as error:
        raise StoreError(f"{file} is damaged, it is not JSON ({error}); restore it from a copy of the run") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise StoreError(f"{file} is not a manifest of this bench: it has no format number")
    if content["format"] != FORMAT:
        age = "a newer" if content["format"] > FORMAT else "an older"
        raise StoreError(
            f"{file} has format {content['format']}, written by {age} version of the bench; this one reads format {FORMAT}: "
            f"use the version that wrote it ({_version(content)})"
        )
    stated = content.pop("digest", None)
    if stated != digest(_canonical(content)):
        raise StoreError(f"{file} was changed after it was written: its digest does not match; restore it from a copy")
    strange = _strange(content, _LAYOUT)
    if strange:
        raise StoreError(
            f"{file} is not a manifest that this bench writes: {strange}; restore it from a copy of the run"
        )
    return Run(folder, content)


def _strange(value: Any, layout: Any, place: str = "") -> str:
    """Where a value departs from a layout, in words; empty if nowhere."""
    if isinstance(layout, dict):
        if not isinstance(value, dict):
            return f"{place or 'it'} is no object"
        for key, inner in layout.items():
            name = key.removesuffix("?")
            if key == "...":
                texts = [_strange(item, inner, f"{place}[{other!r}]") for other, item in value.items()]
            elif value.get(name) is None:
                texts = [] if key.endswith("?") else [f"{place}.{name}".lstrip(".") + " is missing"]
            else:
                texts = [_strange(value[name], inner, f"{place}.{name}".lstrip("."))]
            if any(texts):
                return next(filter(None, texts))
        return ""
    if isinstance(layout, list | tuple):
        if not isinstance(value, list) or (isinstance(layout, tuple) and len(value) != len(layout)):
            return f"{place} is {value!r}"
        return next(filter(None, (_strange(item, layout[0], f"{place}[{i}]") for i, item in enumerate(value))), "")
    if isinstance(layout, set):
        return "" if isinstance(value, str) and value in layout else f"{place} is {value!r}"
    fits = isinstance(value, int | float if layout is float else layout) and not isinstance(value, bool)
    return "" if fits else f"{place} is {value!r}"


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
            leftover.unlink(missing_ok=True)
        yield Writer(path)
    finally:
        lock.release()


@dataclass(frozen=True)
class Writer:
    """Writes into one run's folder; made by :func:`writing`. Every file is written whole or not at all."""

    path: Path

    def manifest(self, content: Mapping[str, Any]) -> None:
        """Write ``manifest.json`` with this content, the format's version and a digest over both."""
        full = {"format": FORMAT, **content}
        full["digest"] = digest(_canonical(full))
        _write(self.path / "manifest.json", json.dumps(full, indent=1, allow_nan=False).encode())

    def images(self, indices: Sequence[int], images: NDArray[np.float32]) -> str:
        """Write the run's clean images (m, *shape) float32; returns the file's SHA-256 for the manifest."""
        content = _bytes(_pictures(indices, images), {})
        _write(self.path / "images.parquet", content)
        return digest(content)

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
        content = _bytes(pictures, {"bench.engine.plan": plan})
        pair = digest(content)[:32]
        _write(self.path / "candidates" / f"{key}.{pair}.parquet", content)
        content = _bytes(to_table(records), {"bench.engine.plan": plan, "bench.candidates": pair})
        _write(self.path / "records" / f"{key}.{digest(content)[:32]}.parquet", content)


def _pictures(indices: Sequence[int], images: NDArray[np.float32]) -> pa.Table:
    values = [picture.astype("<f4").tobytes() for picture in images]
    return pa.table({"image": list(indices), "values": values}, schema=_PICTURES)


def _bytes(table: pa.Table, stamp: Mapping[str, str]) -> bytes:
    buffer = pa.BufferOutputStream()
    stamped = table.replace_schema_metadata({"bench.format": str(FORMAT), **stamp})
    if table.schema.equals(SCHEMA):
        # Records lie in many small parts: so they are read six times as fast as under zstd, and are no larger.
        texts = [field.name for field in SCHEMA if pa.types.is_dictionary(field.type)]
        pq.write_table(stamped, buffer, compression="snappy", use_dictionary=texts, write_statistics=False)
    else:
        pq.write_table(stamped, buffer, compression="zstd")
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


def _parts(folder: Path) -> dict[str, Path]:
    """The parts in a folder by their block's key, sorted."""
    found: dict[str, Path] = {}
    # Names sort ten times as fast as paths, of which there may be tens of thousands.
    for name in sorted(path.name for path in folder.glob("[!.]*.parquet")):
        match = _PART.fullmatch(name)
        if match is None:
            raise StoreError(f"{folder / name} is not a part of a run; move it elsewhere")
        key = match["key"]
        if key in found:
            raise StoreError(f"{folder / name} and {found[key].name} hold the same block; keep one of them")
        found[key] = folder / name
    return found


def _read_records(path: Path, key: str, plan: str) -> pa.Table:
    table = _read_part(path, key, SCHEMA, plan)
    named = [table[name].unique().to_pylist() for name in ("network", "attack", "block")]
    if [len(values) for values in named] != [1, 1, 1] or block_key(*(values[0] for values in named)) != key:
        raise StoreError(f"{path} holds another block than its name says; give it back its name or delete it")
    return table


def _read_part(path: Path, key: str, schema: pa.Schema, plan: str) -> pa.Table:
    content = _read_bytes(path)
    if path.name != f"{key}.{digest(content)[:32]}.parquet":
        raise StoreError(
            f"{path} is damaged: its content is not what its name says; delete it and run --resume to compute it again"
        )
    table = _parse(content, path, schema)
    if (table.schema.metadata or {}).get(b"bench.engine.plan") != plan.encode():
        raise StoreError(f"{path} belongs to another run; move it elsewhere and run --resume to compute its block")
    return table


def _parse(content: bytes, path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is not a parquet file: {error}") from error
    if not table.schema.equals(schema):
        raise StoreError(f"{path} has other columns than this version of the bench writes: {table.schema.names}")
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _version(content: Mapping[str, Any]) -> str:
    packages = content.get("packages")
    version = packages.get("minimal-norm-bench") if isinstance(packages, dict) else None
    return f"minimal-norm-bench {version}" if version else "see packages in the manifest"
