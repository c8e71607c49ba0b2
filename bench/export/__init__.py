"""Stored runs in the formats of neighbours: AttackBench, Hugging Face, MLflow, CSV, netCDF. Nothing of it needs torch.

A target is one file of this package and one line of :data:`TARGETS`; packages of others bring theirs as entry points of
``minimal_norm_bench.exports``, users as ``file.py:object``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from bench import store
from bench.errors import UsageError, unknown
from bench.export.material import Material
from bench.export.target import Place, Target
from bench.folders import whole
from bench.plugins import Kind

TARGETS: Mapping[str, str] = {
    "attackbench": "bench.export.attackbench:TARGET",
    "csv": "bench.export.tables:TARGET",
    "huggingface": "bench.export.huggingface:TARGET",
    "mlflow": "bench.export.tracking:TARGET",
    "netcdf": "bench.export.netcdf:TARGET",
    "xarray": "bench.export.netcdf:TARGET",
}
"""What the bench brings, by name."""

EXPORTS = Kind("export target", "exports", lambda: TARGETS, attribute="TARGET")
"""How a name becomes a :class:`Target`."""

FOLDER = "export"
"""Where exports lie in a run's folder, each under its target's name."""


def export(
    run: Path | str,
    to: str,
    out: Path | None = None,
    *,
    force: bool = False,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a stored run in the format of a neighbour.

    Args:
        run: the run's folder; nothing of the run is changed.
        to: a name of :data:`TARGETS`, of an entry point, or ``file.py:object``.
        out: the folder to write; None for ``export/<target>`` in the run's folder.
        force: whether it may take the place of an earlier export.
        options: of the target, by name.

    Returns:
        The folder, written whole.

    Raises:
        UsageError: there is no such target or option, a package is missing, or the folder is there already.
        StoreError: the run lacks what the format needs, cannot be read, or the folder cannot be written.
    """
    target = found(to)
    given = dict(options or {})
    for name in given:
        if name not in target.options:
            raise unknown(f"option of --to {target.name}", name, target.options or ("none",))
    for package in target.packages:
        if find_spec(package) is None:
            raise UsageError(f"--to {target.name} needs {package}: {target.install}")
    material = Material(store.read(run))
    folder = material.run.path / FOLDER / target.name if out is None else out
    with whole(folder, material.stamp(target.name), force=force) as temporary:
        target.write(material, Place(temporary, folder.absolute(), given))
    return folder


def found(name: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: there is none, or what is there is none.
    """
    value = EXPORTS.find(name).value
    if not isinstance(value, Target):
        raise UsageError(f"export target {name!r} is a {type(value).__name__}; give a bench.export.Target")
    return value


__all__ = ["EXPORTS", "FOLDER", "TARGETS", "Material", "Place", "Target", "export", "found"]
