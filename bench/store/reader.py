"""A run's folder, opened for reading: records, images and adversarial examples, every file checked by its digest."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import StoreError
from bench.records import Status, block_key, schema
from bench.store import layout, upgrade
from bench.store.files import EXAMPLES, EXAMPLES_FILE, PICTURES, RECORDS_FILE, canonical, digest, read_bytes
from bench.store.layout import FORMAT, Manifest

_MENDED = "run --resume, which sets it aside and computes it again"
_PART = re.compile(r"(?P<key>[\w.-]+)\.(?P<digest>[0-9a-f]{32})\.parquet")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The adversarial examples of a block: their file, image indices, and values (m, *shape) in the box."""

    path: Path
    images: tuple[int, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Run:
    """A stored run, opened for reading.

    Attributes:
        path: its folder.
        manifest: what was run, how and where; see ``docs/store.md``.
    """

    path: Path
    manifest: Manifest

    @property
    def thinned(self) -> bool:
        """Whether only the records and a few adversarial examples are there; see ``bench.store.thin``."""
        return "thinned" in self.manifest

    def require_whole(self, what: str) -> None:
        """See that every part of the run is there.

        Args:
            what: is to be done with the run, as a message says it: ``verified``.

        Raises:
            StoreError: the run is thinned.
        """
        if self.thinned:
            raise StoreError(
                f"{self.path} is thinned: it has its records but only a few of its adversarial examples, so that it cannot be "
                f"{what}; make the run again (its manifest has the request) and take that"
            )

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
            One row per (network, attack, image), columns as in :func:`bench.records.schema`; network and attack are
            ordered categories in the manifest's order, by which, and by image, the rows are sorted.

        Raises:
            StoreError: a part is damaged, belongs to another run, or is not of the block that its name says.
        """
        if self.thinned:
            tables = [self._own(RECORDS_FILE, "records_sha256", schema())]
        else:
            tables = [_read_records(path, key, self.manifest["plan"]) for key, path in self._stored.items()]
        bare = [table.replace_schema_metadata() for table in tables]
        table = pa.concat_tables(bare or [schema().empty_table()]).unify_dictionaries()
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
        content = read_bytes(path)
        if digest(content) != self.manifest["images_file_sha256"]:
            raise StoreError(f"{path} is damaged: its SHA-256 is not the manifest's; {_MENDED}")
        table = _parse(content, path, PICTURES)
        return table["image"].to_numpy().astype(np.int32), self._pictures(table, path)

    def candidates(
        self, network: str, attack: str, blocks: Collection[int] | None = None
    ) -> dict[int, NDArray[np.float32]]:
        """The adversarial examples of the ``found`` records of one network and attack: image index -> values (*shape).

        A thinned run has those of a few images, whatever their blocks.

        Args:
            network, attack: whose.
            blocks: numbers of the only blocks to read; None for all.

        Raises:
            StoreError: a part is damaged or belongs to another run.
        """
        if self.thinned:
            return self._kept_examples(network, attack)
        found: dict[int, NDArray[np.float32]] = {}
        stem = block_key(network, attack, 0).rpartition(".")[0]
        wanted = None if blocks is None else {block_key(network, attack, number) for number in blocks}
        for key, path in self._stored.items():
            if key.rpartition(".")[0] == stem if wanted is None else key in wanted:
                part = self._candidates(key, _read_records(path, key, self.manifest["plan"]))
                found |= dict(zip(part.images, part.values, strict=True))
        return found

    def block(self, key: str, path: Path) -> tuple[tuple[int, ...], set[int], Candidates]:
        """One stored block, read whole.

        Args:
            key: its name, from :func:`.block_key`.
            path: of its records.

        Returns:
            The images of its records in their order, those of them that are ``found``, and its adversarial examples.

        Raises:
            StoreError: a part of it is missing, damaged, or belongs to another run.
        """
        records = _read_records(path, key, self.manifest["plan"])
        images, status = records["image"].to_pylist(), records["status"].to_pylist()
        found = {image for image, state in zip(images, status, strict=True) if state == Status.FOUND}
        return tuple(images), found, self._candidates(key, records)

    def examples(self, key: str, path: Path) -> Candidates:
        """The adversarial examples of a block from their file.

        Raises:
            StoreError: it is missing, damaged, or belongs to another run.
        """
        table = _read_part(path, key, PICTURES, self.manifest["plan"])
        return Candidates(path, tuple(table["image"].to_pylist()), self._pictures(table, path))

    def _candidates(self, key: str, records: pa.Table) -> Candidates:
        pair = (records.schema.metadata.get(b"bench.candidates") or b"none").decode(errors="replace")
        return self.examples(key, self.path / "candidates" / f"{key}.{pair}.parquet")

    def _kept_examples(self, network: str, attack: str) -> dict[int, NDArray[np.float32]]:
        table = self._examples
        chosen = table.filter((pc.field("network") == network) & (pc.field("attack") == attack))
        values = self._pictures(chosen, self.path / EXAMPLES_FILE)
        return dict(zip(chosen["image"].to_pylist(), values, strict=True))

    @cached_property
    def _examples(self) -> pa.Table:
        return self._own(EXAMPLES_FILE, "examples_sha256", EXAMPLES)

    def _own(self, name: str, stated: str, columns: pa.Schema) -> pa.Table:
        """A file of a thinned run."""
        path = self.path / name
        content = read_bytes(path)
        if digest(content) != self.manifest["thinned"][stated]:
            raise StoreError(f"{path} is damaged: its SHA-256 is not the manifest's; restore it from a copy of the run")
        return _parse(content, path, columns)

    def _pictures(self, table: pa.Table, path: Path) -> NDArray[np.float32]:
        content = b"".join(table["values"].to_pylist())
        shape = (len(table), *self.manifest["domain"]["shape"])
        if len(content) != math.prod(shape) * np.dtype("<f4").itemsize:
            raise StoreError(f"{path}: its images have another shape than the manifest says, {shape[1:]}")
        return np.frombuffer(content, dtype="<f4").reshape(shape)


def read(path: Path | str) -> Run:
    """Open a stored run.

    Raises:
        StoreError: the folder is no run, its manifest is damaged, or another version wrote it.
    """
    folder = Path(path)
    file = folder / "manifest.json"
    # Unlike Path.is_file this is False for what can be no path at all.
    if not os.path.isfile(file):  # noqa: PTH113
        if os.path.lexists(file):
            raise StoreError(f"{file} is no regular file; restore it from a copy of the run")
        raise StoreError(f"{folder} is not a run: it has no manifest.json; give a folder that bench.run has written")
    try:
        content = json.loads(read_bytes(file))
        stated = content.pop("digest", None) if isinstance(content, dict) else None
        found = digest(canonical(content))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{file} is damaged, it is not JSON ({error}); restore it from a copy of the run") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise StoreError(f"{file} is not a manifest of this bench: it has no format number")
    if not 1 <= content["format"] <= FORMAT:
        raise StoreError(
            f"{file} has format {content['format']}, written by a newer version of the bench; this one reads formats 1 "
            f"to {FORMAT}: use the version that wrote it ({_version(content)})"
        )
    if stated != found:
        raise StoreError(f"{file} was changed after it was written: its digest does not match; restore it from a copy")
    if content["format"] == 1:
        content = upgrade.manifest(content)
    layout.check(content, str(file))
    return Run(folder, content)


def part_key(name: str) -> str | None:
    """The key of the block that a part's file name says; None where it is no part's name."""
    match = _PART.fullmatch(name)
    return None if match is None else match["key"]


def _parts(folder: Path) -> dict[str, Path]:
    """The parts in a folder by their block's key, sorted."""
    found: dict[str, Path] = {}
    # Names sort ten times as fast as paths, of which there may be tens of thousands.
    for name in sorted(path.name for path in folder.glob("[!.]*.parquet")):
        key = part_key(name)
        if key is None:
            raise StoreError(f"{folder / name} is not a part of a run; {_MENDED}")
        if key in found:
            raise StoreError(f"{folder / name} and {found[key].name} hold the same block; {_MENDED}")
        found[key] = folder / name
    return found


def _read_records(path: Path, key: str, plan: str) -> pa.Table:
    table = _read_part(path, key, schema(), plan)
    named = [table[name].unique().to_pylist() for name in ("network", "attack", "block")]
    if [len(values) for values in named] != [1, 1, 1] or block_key(*(values[0] for values in named)) != key:
        raise StoreError(f"{path} holds another block than its name says; {_MENDED}")
    return table


def _read_part(path: Path, key: str, columns: pa.Schema, plan: str) -> pa.Table:
    content = read_bytes(path)
    if path.name != f"{key}.{digest(content)[:32]}.parquet":
        raise StoreError(f"{path} is damaged: its content is not what its name says; {_MENDED}")
    table = _parse(content, path, columns)
    if (table.schema.metadata or {}).get(b"bench.plan") != plan.encode():
        raise StoreError(f"{path} belongs to another run; {_MENDED}")
    return table


def _parse(content: bytes, path: Path, columns: pa.Schema) -> pa.Table:
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{path} is not a parquet file: {error}") from error
    table = upgrade.records(table)
    if not table.schema.equals(columns):
        raise StoreError(f"{path} has other columns than this version of the bench writes: {table.schema.names}")
    return table


def _version(content: Mapping[str, Any]) -> str:
    packages = content.get("packages")
    version = packages.get("minimal-norm-bench") if isinstance(packages, dict) else None
    return f"minimal-norm-bench {version}" if version else "see packages in the manifest"
