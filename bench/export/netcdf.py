"""netCDF, for xarray: the distances of a run as arrays over networks, attacks and images.

The file is netCDF 3 (64-bit offset), which SciPy writes and every netCDF library reads; xarray is an extra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.export.material import Material
from bench.export.target import Place, Target
from bench.norms import Norm
from bench.records import Status
from bench.report import data

if TYPE_CHECKING:
    import xarray as xr

FILE = "run.nc"

STATUSES = tuple(status.value for status in Status)
"""The meaning of ``status``, 0, 1, 2 and so on; -1 is no record."""

ABSENT = -1
"""What stands for a whole number where there is no record."""

_CELL = ("network", "attack", "image")


def write(material: Material, place: Place) -> None:
    """Write ``run.nc``."""
    # What xarray would take by itself depends on what else is installed.
    dataset(material).to_netcdf(place.folder / FILE, engine="scipy", format="NETCDF3_64BIT")


def dataset(material: Material) -> xr.Dataset:
    """A run as an xarray Dataset.

    Returns:
        Dimensions ``network``, ``attack``, ``norm``, ``image``. Over (network, attack, image): ``distance_<norm>`` of the
        candidate in every norm, ``lower`` in the attack's own norm, ``seconds``, ``forwards``, ``backwards``: float64, NaN
        where there is no record; distances are +inf where nothing was found, 0 where the clean image is wrong.
        ``status`` (int8, ``flag_meanings`` name the values) and ``adversarial_class`` (int32), -1 where there is none. Over
        (network, norm, image): ``best`` and ``best_lower``, the smallest known distance and the largest certified bound. Over
        (network, image) ``predicted``, over image ``label``.
    """
    import xarray as xr  # noqa: PLC0415 - an extra

    evidence = material.evidence
    attacks = evidence.rows["attack"].tolist()
    images = sorted(map(int, material.manifest["image_sha256"]))
    axes = {"network": list(evidence.networks), "attack": attacks, "image": images}
    units = {norm: data.unit(evidence.domain, norm) or "1" for norm in Norm}
    records = evidence.records.assign(status=evidence.records["status"].astype(str).map(STATUSES.index))
    variables: dict[str, Any] = {
        f"distance_{norm.value}": (
            _CELL,
            _spread(records, _CELL, axes, norm.value),
            {"units": units[norm], "long_name": f"{norm.label} distance of the candidate: {norm.unit}"},
        )
        for norm in Norm
    }
    for name, unit, meaning in (
        ("lower", "1", "certified lower bound of the distance in the norm of the row; 0 where nothing is proved"),
        ("seconds", "s", "wall time per image"),
        ("forwards", "1", "images passed forward through the network, per image"),
        ("backwards", "1", "images passed backward through the network, per image"),
    ):
        variables[name] = (_CELL, _spread(records, _CELL, axes, name), {"units": unit, "long_name": meaning})
    variables["status"] = (
        _CELL,
        _whole(_spread(records, _CELL, axes, "status"), np.int8),
        {
            "long_name": "how the record ended; -1 where there is none",
            "flag_values": np.arange(len(STATUSES), dtype=np.int8),
            "flag_meanings": " ".join(STATUSES),
        },
    )
    variables["adversarial_class"] = (
        _CELL,
        _whole(_spread(records, _CELL, axes, "adversarial_class"), np.int32),
        {"long_name": "class of the candidate; -1 unless found"},
    )
    norms = {"norm": [norm.value for norm in evidence.norms]}
    place = ("network", "norm", "image")
    for name, column, meaning in (
        ("best", "distance", "smallest known distance, of any attack"),
        ("best_lower", "lower", "largest certified lower bound of the minimal distance"),
    ):
        values = _spread(evidence.best, place, axes | norms, column)
        variables[name] = (place, values, {"long_name": meaning, "units": _units(units, evidence.norms)})
    variables["predicted"] = (
        ("network", "image"),
        _whole(
            _spread(records.drop_duplicates(["network", "image"]), ("network", "image"), axes, "predicted"), np.int32
        ),
        {"long_name": "class of the clean image; -1 where there is none"},
    )
    variables["label"] = (
        ("image",),
        _whole(_spread(records.drop_duplicates("image"), ("image",), axes, "label"), np.int32),
        {"long_name": "true class; -1 where there is no record"},
    )
    return xr.Dataset(variables, _coordinates(material, axes | norms), _attributes(material))


def _coordinates(material: Material, axes: dict[str, list[Any]]) -> dict[str, Any]:
    rows = material.evidence.rows
    sha256 = material.manifest["image_sha256"]
    return {
        "network": ("network", np.array(axes["network"], dtype=str)),
        "attack": ("attack", np.array(axes["attack"], dtype=str)),
        "norm": ("norm", np.array(axes["norm"], dtype=str)),
        "image": ("image", np.array(axes["image"], dtype=np.int32), {"long_name": "index of the image in the split"}),
        "attack_norm": ("attack", rows["norm"].to_numpy(dtype=str), {"long_name": "norm that the row minimises"}),
        "attack_kind": ("attack", rows["kind"].to_numpy(dtype=str), {"long_name": "upper, lower or exact"}),
        "library": ("attack", rows["library"].to_numpy(dtype=str)),
        "image_sha256": ("image", np.array([sha256[str(image)] for image in axes["image"]], dtype=str)),
    }


def _attributes(material: Material) -> dict[str, str]:
    """Global attributes: where the data are from, after the conventions for climate and forecast data (CF)."""
    told = material.provenance
    return {
        "Conventions": "CF-1.8",
        "title": f"Minimal-norm robustness: {told['run']}",
        "source": f"minimal-norm-bench {told.get('bench_version', '')}".strip(),
        "history": f"{told['started']} run of suite {told['suite']}",
        **told,
        **{f"verdict_{network}": material.verdict(network) for network in material.evidence.networks},
    }


def _units(units: dict[Norm, str], norms: Sequence[Norm]) -> str:
    return "; ".join(f"{norm.value}: {units[norm]}" for norm in norms) or "1"


def _spread(frame: pd.DataFrame, names: Sequence[str], axes: dict[str, list[Any]], column: str) -> NDArray[np.float64]:
    """A column as an array over axes; NaN where there is no line."""
    values = np.full([len(axes[name]) for name in names], np.nan)
    places = tuple(pd.Index(axes[name]).get_indexer(frame[name].astype(object)) for name in names)
    values[places] = frame[column].to_numpy(dtype=np.float64)
    return values


def _whole(values: NDArray[np.float64], kind: type[np.signedinteger[Any]]) -> NDArray[np.signedinteger[Any]]:
    return np.where(np.isnan(values), ABSENT, values).astype(kind)


TARGET = Target(
    name="netcdf",
    title="arrays over networks, attacks and images, for xarray and whatever reads netCDF",
    write=write,
    packages=("xarray",),
    install="pip install 'minimal-norm-bench[netcdf]'",
)
