"""The layout of a manifest: what readers rely on, checked when a run is opened."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bench.domain import Domain
from bench.errors import DataError, StoreError
from bench.norms import Norm
from bench.specs import Kind

FORMAT = 4
"""The version of everything in a run's folder; formats 1 to 3 are still read, see :mod:`bench.store.upgrade`."""

Manifest = dict[str, Any]


class _Suite(msgspec.Struct):
    name: str
    description: str


class _Row(msgspec.Struct):
    name: str
    label: str
    library: str
    norm: Norm
    kind: Kind
    method: dict[str, str] | None = None
    variant: dict[str, str] | None = None
    params: dict[str, Any] | None = None
    reasons: dict[str, str] | None = None
    defects: str | None = None
    steps: str | None = None
    cap: int | None = None
    block: int | None = None
    target: str | None = None


class _Network(msgspec.Struct):
    name: str
    source: str | None = None
    weights: str | None = None
    sha256: str | None = None
    preflight: dict[str, Any] | None = None
    accuracy: float | None = None
    accuracy_images: int | None = None
    parameters: int | None = None
    source_sha256: str | None = None
    structure: str | None = None
    arguments: str = ""
    normalize: tuple[list[float], list[float]] | None = None
    notes: list[str] = []


class _Hole(msgspec.Struct):
    family: str
    norm: Norm
    library: str
    reason: str


class _Library(msgspec.Struct):
    name: str
    label: str
    ours: bool
    marker: str
    packages: list[str]
    versions: dict[str, str] = {}


class _Data(msgspec.Struct):
    name: str
    title: str
    source: str
    split: str
    size: int
    chosen: str
    sha256: str


class _Domain(msgspec.Struct):
    shape: list[int]
    classes: int
    low: float | list[float]
    high: float | list[float]
    channel_axis: int | None = None
    class_names: list[str] = []
    feature_names: list[str] = []
    unit: str = ""


class _Budget(msgspec.Struct):
    minutes: float
    samples: int
    asked: int
    left_out: list[str]


class _Thinned(msgspec.Struct):
    records_sha256: str
    examples_sha256: str


class _Manifest(msgspec.Struct):
    plan: str
    images_file_sha256: str
    split: str
    started: str
    samples: int
    seed: int
    suite: _Suite
    rows: list[_Row]
    networks: list[_Network]
    libraries: list[_Library]
    data: _Data
    domain: _Domain
    image_sha256: dict[str, str]
    image_sha512: dict[str, str] | None = None
    indices: list[int] | None = None
    status: Literal["running", "finished", "interrupted"] | None = None
    name: str | None = None
    holes: list[_Hole] | None = None
    warnings: list[dict[str, str]] | None = None
    packages: dict[str, str] | None = None
    machine: dict[str, Any] | None = None
    pace: dict[str, dict[str, Any]] | None = None
    request: dict[str, Any] | None = None
    git: dict[str, Any] | None = None
    command: list[str] | None = None
    planned: int | None = None
    files: dict[str, dict[str, str]] | None = None
    sources: dict[str, str] | None = None
    identity: dict[str, Any] | None = None
    code: str | None = None
    device: str | None = None
    time_limit: float | None = None
    budget: _Budget | None = None
    thinned: _Thinned | None = None


def check(content: Manifest, where: str) -> None:
    """Check that a manifest of the current format has what readers rely on.

    Args:
        content: the manifest.
        where: the file, for the message.

    Raises:
        StoreError: something is missing or of another kind; the message says where.
    """
    try:
        msgspec.convert(content, _Manifest)
        Domain.from_json(content["domain"])
    except (msgspec.ValidationError, DataError) as error:
        reason = str(error).replace("$.", "")
        raise StoreError(
            f"{where} is not a manifest that this bench writes: {reason}; restore it from a copy of the run"
        ) from error
