"""Names of files: what a manifest says may come from somebody else."""

from __future__ import annotations

import re


def safe(name: object) -> str:
    """A name as one part of a path: letters, digits and ``_ . + -``; nothing that leads out of a folder or hides a file."""
    return re.sub(r"[^\w.+-]+", "_", str(name)).lstrip(".")[:100] or "unnamed"
