"""Files of the user's, run in this process: each finds its neighbours, and none is mistaken for another."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.usercode.globals import kept
from bench.usercode.replaced import Originals
from bench.usercode.sources import from_source

OURS = ("bench", "adapters", "suites")
"""The packages of the bench; a file beside a user's never takes the place of one."""

_placed: dict[str, ModuleType] = {}
"""The neighbours that users' files have imported, by name: what stands in ``sys.modules`` of them."""


class UserFile:
    """A Python file of the user's, and the modules beside it that it imports.

    As for ``python file.py``, its folder comes first on the path. Two files in two folders may each have a neighbour
    ``model.py``: each gets its own.

    Attributes:
        path: the file.
        module: what running it gave.
        files: SHA-256 of the content that was run, by absolute path: of the file, and of the neighbours it has imported so
            far.
    """

    def __init__(self, path: Path) -> None:
        """Run the file.

        Args:
            path: absolute.

        Raises:
            ImportError: it is no Python file, or replaces a function that the whole process uses.
            Exception: whatever the file raises.
        """
        self.path = path
        self._paths = [str(path.parent)]
        self._neighbours: dict[str, ModuleType] = {}
        self._package = f"bench_folder_{_short(path.parent)}"
        name = f"{self._package}.bench_file_{_short(path)}"
        specification = importlib.util.spec_from_file_location(name, path)
        if specification is None or specification.loader is None:
            raise ImportError("it is no Python file")
        content = path.read_bytes()
        self.files = {str(path): hashlib.sha256(content).hexdigest()}
        self.module = importlib.util.module_from_spec(specification)
        package = ModuleType(self._package)
        package.__path__ = [str(path.parent)]
        # Dataclasses, copies and pickles look their module up by its name; relative imports look the package up.
        sys.modules.setdefault(self._package, package)
        sys.modules[name] = self.module
        with self.entered():
            exec(compile(content, str(path), "exec"), vars(self.module))  # noqa: S102 - the file that the user gave

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it, imports find what is beside the file first. After it, the process is as it was.

        Raises:
            ImportError: what ran within it replaced a function or a class that the whole process uses.
        """
        originals = Originals()
        try:
            with self.among_neighbours():
                yield
        finally:
            replaced = originals.put_back(self.is_of)
        if replaced:
            raise ImportError(
                f"it replaces {', '.join(replaced)} for the whole process; give the network a function of its own instead"
            )

    @contextmanager
    def among_neighbours(self) -> Iterator[None]:
        """The same, without a look at what was replaced, which takes milliseconds: for each call of a network."""
        for name, module in _placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        before = dict(sys.modules)
        sys.modules.update(self._neighbours)
        paths = list(sys.path)
        sys.path[:0] = self._paths
        importlib.invalidate_caches()
        try:
            with kept(), from_source():
                try:
                    yield
                finally:
                    folder = self._paths[0]
                    added = [entry for entry in dict.fromkeys(sys.path) if entry not in paths and entry != folder]
                    self._paths = [folder, *added]
        finally:
            sys.path[:] = paths
            self._leave(before)

    @property
    def neighbours(self) -> frozenset[str]:
        """The names of the modules beside the file that it has imported so far."""
        return frozenset(self._neighbours)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file; of it and the modules beside it, where it has imported any."""
        content = self.files[str(self.path)]
        others = {path: sha256 for path, sha256 in self.files.items() if path != str(self.path)}
        if not others:
            return content
        digest = hashlib.sha256(content.encode())
        for path, sha256 in sorted(others.items()):
            digest.update(f"{os.path.relpath(path, self.path.parent)}\0{sha256}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def is_of(self, value: Any) -> bool:
        """Whether a function or a class was made by the file or one of its neighbours."""
        code = getattr(value, "__code__", None)
        if code is not None:
            return code.co_filename in self.files
        module = sys.modules.get(str(getattr(value, "__module__", None)))
        return module is not None and (module is self.module or module in self._neighbours.values())

    def _leave(self, before: dict[str, ModuleType]) -> None:
        """Take the file's neighbours out of the way of others, and give back what it took away."""
        for name in set(sys.modules) - set(before):
            module = sys.modules[name]
            if self._beside(name):
                self._neighbours[name] = module
                file = getattr(module, "__file__", None)
                if file and file not in self.files and Path(file).is_file():
                    self.files[str(file)] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
                if name.partition(".")[0] in OURS:
                    del sys.modules[name]
        for name, module in before.items():
            if sys.modules.get(name) is not module:
                sys.modules[name] = module
        _placed.update(
            {name: module for name, module in self._neighbours.items() if name.partition(".")[0] not in OURS}
        )
        for name, module in _placed.items():
            sys.modules.setdefault(name, module)

    def _beside(self, name: str) -> bool:
        """Whether a module is found in the file's folder, or in one below it that the file put on the path."""
        top, _, rest = name.partition(".")
        if top == self._package:
            return bool(rest)
        module = sys.modules.get(top)
        places = list(getattr(module, "__path__", None) or [])
        file = getattr(module, "__file__", None)
        place = Path(places[0]).parent if places else Path(file).parent if file else None
        if place is None:
            return False
        roots = (Path(entry) for entry in self._paths)
        return any(place == root and root.is_relative_to(self.path.parent) for root in roots)


def _short(path: Path) -> str:
    """A name for a path, of letters and digits."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
