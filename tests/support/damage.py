"""What happens to files, and to manifests that somebody signs again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from bench import store
from bench.store import files


def mutated(content: bytes, data: st.DataObject, others: list[Path]) -> bytes:
    """A file's content after something that happens to files."""
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "empty", "swap", "zeros"]))
    place = data.draw(st.integers(0, max(len(content) - 1, 0)))
    if kind == "flip":
        return content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    if kind == "insert":
        return content[:place] + data.draw(st.binary(min_size=1, max_size=8)) + content[place:]
    if kind == "empty":
        return b""
    if kind == "zeros":
        return bytes(len(content))
    return data.draw(st.sampled_from(others)).read_bytes()


def resign(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a run's manifest, and give it the digest of what it is then."""
    path = run / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    content.pop("digest", None)
    content["digest"] = store.digest(files.canonical(content))
    path.write_text(json.dumps(content))


def is_one_line(errors: str) -> bool:
    """Whether standard error holds one error of ours and nothing else."""
    return errors.startswith("error: ") and errors.count("\n") == 1
