"""A run's folder: atomic parquet parts and a versioned manifest, written by one process, readable by anyone.

``results/<run>/`` holds ``manifest.json``, ``images.parquet``, ``records/`` and ``candidates/``. A part is named
after its block and the first half of its content's SHA-256, so that a part is whole, or absent, or known to be
damaged. A block is finished when its part in ``records/`` exists; what is damaged is set aside when the run goes on. A thinned run has four
files. Nothing is pickled.
"""

from __future__ import annotations

from bench.records import block_key
from bench.store.files import digest
from bench.store.layout import FORMAT, Manifest
from bench.store.mend import mend, same_images
from bench.store.reader import Run, read
from bench.store.thin import Kept, thin
from bench.store.writer import Writer, writing

__all__ = [
    "FORMAT",
    "Kept",
    "Manifest",
    "Run",
    "Writer",
    "block_key",
    "digest",
    "mend",
    "read",
    "same_images",
    "thin",
    "writing",
]
