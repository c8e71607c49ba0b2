"""What code and what packages a record passes through: compared by every process before it computes."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bench.libraries import Library, version

DECISIVE = ("torch", "torchvision", "numpy", "scipy", "numba")
"""Packages whose version can change any record; those of the libraries come beside them."""

SHOWING = ("pandas", "pyarrow", "seaborn", "matplotlib")
"""Packages that only store or show records."""

ROOT = Path(__file__).parents[2]

DECIDING_CODE = (
    "certify",
    "data",
    "engine",
    "guard",
    "networks",
    "usercode",
    "judge.py",
    "domain.py",
    "norms.py",
    "problem.py",
    "specs.py",
)
"""Parts of ``bench`` whose code can change a record, with all of ``adapters`` and ``suites``; the others only show."""


def versions() -> dict[str, str]:
    """The versions of Python, of the bench, and of the packages its numbers pass through."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("minimal-norm-bench", *DECISIVE, *SHOWING)
    }


@cache
def code_sha256() -> str:
    """SHA-256 over the Python files of the bench that can change a record, as this process found them first."""
    folders = [ROOT / "adapters", ROOT / "suites", *(ROOT / "bench" / name for name in DECIDING_CODE)]
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def decisive(libraries: Iterable[Library]) -> dict[str, str]:
    """What every process of a run must have alike: the code of the bench, and the versions of packages, by name."""
    found = {"the bench's code": code_sha256(), "python": platform.python_version()}
    found |= {name: version(name) for name in ("minimal-norm-bench", *DECISIVE)}
    for library in libraries:
        found |= library.versions()
    return found
