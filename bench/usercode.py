"""Files of the user's, run in this process: each finds its neighbours, and none changes what the others see."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OURS = ("bench", "adapters", "suites")

_TORCH = {
    "is_grad_enabled": "set_grad_enabled",
    "get_default_dtype": "set_default_dtype",
    "get_default_device": "set_default_device",
    "get_num_threads": "set_num_threads",
    "are_deterministic_algorithms_enabled": "use_deterministic_algorithms",
    "is_anomaly_enabled": "autograd.set_detect_anomaly",
}
"""What torch has for the whole process: how it is asked for, and how it is set."""

_placed: dict[str, ModuleType] = {}
"""The neighbours that users' files have imported, by name: what stands in ``sys.modules`` of them."""


class UserFile:
    """A Python file of the user's, and the modules beside it that it imports.

    As for ``python file.py``, its folder comes first on the path. Two files in two folders may each have a neighbour
    ``model.py``: each gets its own.

    Attributes:
        path: the file.
        module: what running it gave.
    """

    def __init__(self, path: Path) -> None:
        """Run the file.

        Args:
            path: absolute.

        Raises:
            ImportError: it is no Python file.
            Exception: whatever the file raises.
        """
        self.path = path
        self._paths = [str(path.parent)]
        self._neighbours: dict[str, ModuleType] = {}
        name = f"bench_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
        specification = importlib.util.spec_from_file_location(name, path)
        if specification is None or specification.loader is None:
            raise ImportError("it is no Python file")
        self.module = importlib.util.module_from_spec(specification)
        # Dataclasses, copies and pickles look their module up by its name.
        sys.modules[name] = self.module
        with self.entered():
            specification.loader.exec_module(self.module)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it, imports find what is beside the file first. After it, all global settings are as they were."""
        paths = list(sys.path)
        for name, module in _placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        sys.modules.update(self._neighbours)
        before = set(sys.modules)
        sys.path[:0] = self._paths
        importlib.invalidate_caches()
        try:
            with settings_kept():
                yield
        finally:
            folder = self._paths[0]
            added = [entry for entry in dict.fromkeys(sys.path) if entry not in paths and entry != folder]
            self._paths = [folder, *added]
            self._neighbours |= {name: sys.modules[name] for name in set(sys.modules) - before if self._beside(name)}
            sys.path[:] = paths
            _placed.update(self._neighbours)
            for name, module in _placed.items():
                sys.modules.setdefault(name, module)

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 by absolute path of the file, and of the modules beside it that it has imported so far."""
        beside = (getattr(module, "__file__", None) for module in self._neighbours.values())
        paths = dict.fromkeys([str(self.path), *sorted(str(file) for file in beside if file)])
        return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}

    @property
    def sha256(self) -> str:
        """SHA-256 of the file; of it and the modules beside it, where it has imported any."""
        digest = hashlib.sha256(self.path.read_bytes())
        files = {str(file) for module in self._neighbours.values() if (file := getattr(module, "__file__", None))}
        for file in sorted(files):
            digest.update(os.path.relpath(file, self.path.parent).encode() + b"\0" + Path(file).read_bytes() + b"\0")
        return digest.hexdigest()

    def _beside(self, name: str) -> bool:
        """Whether a module is found in the file's folder, or in one below it that the file put on the path."""
        top = name.partition(".")[0]
        module = sys.modules.get(top)
        places = list(getattr(module, "__path__", None) or [])
        file = getattr(module, "__file__", None)
        place = Path(places[0]).parent if places else Path(file).parent if file else None
        if place is None or top in OURS:
            return False
        roots = (Path(entry) for entry in self._paths)
        return any(place == root and root.is_relative_to(self.path.parent) for root in roots)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Give the settings of the whole process back as they were: folder, warnings, NumPy's errors, torch's defaults."""
    folder = Path.cwd()
    torch: Any = sys.modules.get("torch")
    before = {getter: getattr(torch, getter)() for getter in _TORCH} if torch else {}
    try:
        with warnings.catch_warnings(), np.errstate():
            yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        torch = sys.modules.get("torch")
        if torch is not None:
            # Where it was imported first in here, what it began with is known.
            known = before or {"is_grad_enabled": True, "get_default_dtype": torch.float32}
            for getter, value in known.items():
                if getattr(torch, getter)() != value:
                    attrgetter(_TORCH[getter])(torch)(value)
