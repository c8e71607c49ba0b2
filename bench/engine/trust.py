"""Trust: what a stored run would execute of others' code, named and compared with its digests before any of it is executed."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import suites
from adapters.own import ATTACKS, LIBRARY
from bench import data
from bench.engine.request import Request
from bench.errors import StoreError, UsageError
from bench.networks.spec import LIVE, NETWORKS, NO_CODE, specs
from bench.plugins import Kind
from bench.store import Run
from bench.usercode import OURS

SHOWN = 12
"""So many files are named in a message; the manifest has all of them."""


@dataclass(frozen=True, slots=True)
class Code:
    """Python code that a run's manifest names, and that is neither built in nor an installed plug-in.

    Attributes:
        what: what it is for, as in the manifest's ``files``, such as ``network mine``.
        text: ``file.py:object`` or ``module:object``.
        first: the files that would be executed first; none for a module without a file.
        recorded: SHA-256 by absolute path, of all that was executed when the run was made; None where nothing is known.
    """

    what: str
    text: str
    first: tuple[Path, ...]
    recorded: Mapping[str, str] | None

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that would be executed, as far as it is known."""
        return tuple(dict.fromkeys([*(str(path) for path in self.first), *(self.recorded or {})])) or (self.text,)


def named(manifest: Mapping[str, Any]) -> tuple[Code, ...]:
    """The code of others that going on with a run, or judging it again, would execute. Nothing is executed to find it.

    Raises:
        UsageError: a text in the manifest can be no path.
    """
    request = Request.from_json(manifest["request"]) if manifest.get("request") else None
    texts: list[tuple[str, Kind, object]] = [
        ("suite", suites.SUITES, request and request.suite),
        ("data", data.DATASETS, request and request.data),
        ("data", data.DATASETS, manifest["data"]["source"]),
        *((f"network {network['name']}", NETWORKS, network.get("source")) for network in manifest["networks"]),
        *(
            (f"attack {row['name']}", ATTACKS, row.get("target"))
            for row in manifest["rows"]
            if row["library"] == LIBRARY.name
        ),
    ]
    if request is not None:
        texts += [(f"network {spec.name}", NETWORKS, spec.source) for spec in specs(request.networks, request.weights)]
    found = {}
    for what, kind, text in texts:
        plain = NO_CODE if kind is NETWORKS else (data.TORCHVISION,) if kind is data.DATASETS else ()
        if text and not str(text).startswith((LIVE, *plain)) and (what, text) not in found:
            first = kind.executed(str(text))
            if first is not None:
                recorded = _recorded(manifest, what) or _of_one_file(manifest, what, first)
                found[what, text] = Code(what, str(text), first, recorded)
    return tuple(found.values())


def require(run: Run, *, trusted: bool) -> Mapping[str, str]:
    """Refuse to execute what a run names, unless it is trusted and still what the run was made with.

    Args:
        run: a stored run.
        trusted: whether the user says ``--trust``.

    Returns:
        SHA-256 by absolute path of the files that may be executed; see :func:`only`.

    Raises:
        UsageError: it names code of others, and the user did not say that it is trusted.
        StoreError: a file is not what the manifest says, or the manifest does not say what it was.
    """
    codes = named(run.manifest)
    if codes and not trusted:
        uses: dict[tuple[str, ...], list[str]] = {}
        for code in codes:
            uses.setdefault(code.files, []).append(code.what)
        named_files = "; ".join(f"{_some(files)} for {', '.join(dict.fromkeys(what))}" for files, what in uses.items())
        raise UsageError(
            f"{run.path} names Python code that would be executed: {named_files}; read it, and add --trust if you trust it"
        )
    allowed: dict[str, str] = {}
    for code in codes:
        unknown = [str(path) for path in code.first if str(path) not in (code.recorded or {})]
        if code.recorded is None or not code.first or unknown:
            raise StoreError(
                f"{run.path}/manifest.json has no SHA-256 of {_some(unknown or code.files)} ({code.what}), so that it "
                "cannot be compared; nothing was executed. Start a new run"
            )
        allowed |= code.recorded
    for path, sha256 in allowed.items():
        found = _sha256(path)
        if found != sha256:
            state = f"has SHA-256 {found}" if found else "cannot be read"
            raise StoreError(
                f"{path} is not the file that the run was made with: it {state}, the manifest says {sha256}; nothing was "
                "executed. Restore the file, or start a new run"
            )
    return allowed


@contextmanager
def only(allowed: Mapping[str, str]) -> Iterator[None]:
    """Within it, no module beside one of these files is imported that is not one of them.

    Args:
        allowed: files by absolute path; where there are none, nothing is refused.
    """
    guard = _Guard(allowed)
    sys.meta_path.insert(0, guard)
    try:
        yield
    finally:
        sys.meta_path.remove(guard)


class _Guard:
    """A finder of modules that finds none, and refuses those that lie beside the trusted files but are not among them."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        installed = {sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")}
        self._folders = {Path(path).parent for path in self._allowed} - {Path(path) for path in installed}

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002 - the import system's call
        """None, so that the next finder is asked.

        Raises:
            ImportError: the module lies beside a trusted file, and the manifest does not name it.
        """
        if name.partition(".")[0] in OURS or any(
            finder.find_spec(name) is not None for finder in (BuiltinImporter, FrozenImporter)
        ):
            return None
        found = PathFinder.find_spec(name, path)
        origin = found.origin if found is not None and found.has_location else None
        if origin is not None and origin not in self._allowed and self._beside(name, Path(origin)):
            raise ImportError(f"{origin} is not among the files that the run was made with, and was not executed")
        return None

    def _beside(self, name: str, file: Path) -> bool:
        """Whether a module, or the package that it lies in, is in the folder of a trusted file."""
        place = file.parent if file.stem == "__init__" else file
        depth = min(name.count("."), len(place.parents) - 1)
        return not self._folders.isdisjoint({place.parent, place.parents[depth]})


def _recorded(manifest: Mapping[str, Any], what: str) -> Mapping[str, str] | None:
    """What the manifest says of the files of a network or an attack by its name, or of its only suite or dataset."""
    files = manifest.get("files") or {}
    found = [value for key, value in files.items() if key == what or key.partition(" ")[0] == what]
    return {path: sha256 for value in found for path, sha256 in value.items()} if found else None


def _of_one_file(manifest: Mapping[str, Any], what: str, first: Sequence[Path]) -> Mapping[str, str] | None:
    """What older manifests, which have one digest for all files together, say where that is the digest of the only one."""
    digests = dict(manifest.get("sources") or {})
    digests |= {f"network {network['name']}": network.get("source_sha256") for network in manifest["networks"]}
    only = {str(path): _sha256(str(path)) for path in first}
    known = [value for key, value in digests.items() if key == what or key.partition(" ")[0] == what]
    return {path: str(value) for path, value in only.items()} if known == list(only.values()) else None


def _some(files: Sequence[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(files[:SHOWN]) + more


def _sha256(path: str) -> str | None:
    file = Path(path)
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    except (OSError, ValueError, MemoryError):
        return None
