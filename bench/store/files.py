"""What reading and writing a run's files have in common."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.errors import StoreError

PICTURES = pa.schema([("image", pa.int32()), ("values", pa.binary())])
"""The columns of ``images.parquet`` and of a part of ``candidates/``: index in the split, little-endian float32 values."""

RECORDS_FILE, EXAMPLES_FILE = "records.parquet", "examples.parquet"
"""What a thinned run has in place of ``records/`` and ``candidates/``."""

EXAMPLES = pa.schema([("network", pa.string()), ("attack", pa.string()), *PICTURES])
"""The columns of a thinned run's adversarial examples."""


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def canonical(content: Mapping[str, Any]) -> bytes:
    """JSON data as bytes, the same for equal data."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; what else lies there, such as a named pipe, is not waited for.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(f"{path} cannot be read: it is no regular file")
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise StoreError(f"{path} cannot be read: it is larger than the memory") from error
