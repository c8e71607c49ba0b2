"""CSV: tidy tables of numbers in full precision, and a page that says what each column is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bench.export import columns
from bench.export.material import Material
from bench.export.target import Place, Target
from bench.records import query_counts


def write(material: Material, place: Place) -> None:
    """Write the tables, and ``README.md``."""
    made = tables(material)
    for name, (frame, _, _) in made.items():
        frame.to_csv(place.folder / f"{name}.csv", index=False, lineterminator="\n", na_rep="")
    (place.folder / "README.md").write_text(_readme(material, made), encoding="utf-8")


def tables(material: Material) -> dict[str, tuple[pd.DataFrame, str, Mapping[str, str]]]:
    """Every table by its name: the frame, what a line is, and what its columns are.

    Numbers are float64 or integers, infinity is ``inf``, what is undefined is NaN. Texts are names alone.
    """
    frames = material.frames
    return {
        "records": _of(material.records, "A line for each network, attack or verifier, and image.", columns.RECORDS),
        "curves": (
            curves(material.records),
            "How near decision-based attacks were after growing numbers of queries.",
            columns.CURVES,
        ),
        "best": _of(
            material.evidence.best, "The smallest known distance of each network, norm and image.", columns.BEST
        ),
        "medians": _of(frames.plain("networks"), "The distances of each network in each norm.", columns.MEDIANS),
        "attacks": _of(frames.plain("summary"), "What each attack found on each network.", columns.ATTACKS),
        "robust_accuracy": _of(
            frames.plain("robust_accuracy"), "Robust accuracy of each network at some sizes of change.", columns.ROBUST
        ),
        "images": (images(material), "The images, by which other results can be joined.", columns.IMAGES),
    }


def curves(records: pd.DataFrame) -> pd.DataFrame:
    """The curves of decision-based attacks, a line for each network, attack, image and number of queries."""
    noted = records[records["curve"].notna()]
    lengths = [len(curve) for curve in noted["curve"]]
    keys = noted[["network", "attack", "norm", "image"]]
    made = keys.loc[keys.index.repeat(lengths)].reset_index(drop=True)
    counts = [query_counts(forwards)[:length] for forwards, length in zip(noted["forwards"], lengths, strict=True)]
    return made.assign(
        queries=np.array([count for each in counts for count in each], dtype=np.int64),
        distance=np.array([float(value) for curve in noted["curve"] for value in curve], dtype=np.float64),
    )


def images(material: Material) -> pd.DataFrame:
    """The images of a run: index, label and digests."""
    labels = material.records.drop_duplicates("image").set_index("image")["label"]
    sha256 = material.manifest["image_sha256"]
    sha512 = material.manifest.get("image_sha512") or {}
    indices = [int(index) for index in sha256]
    return pd.DataFrame(
        {
            "image": indices,
            "label": labels.reindex(indices).astype("Int64").to_numpy(),
            "sha256": list(sha256.values()),
            "sha512": [sha512.get(index, "") for index in sha256],
        }
    )


def _of(frame: pd.DataFrame, what: str, described: Mapping[str, str]) -> tuple[pd.DataFrame, str, Mapping[str, str]]:
    """The described columns of a frame, in their order; truth values as 0 and 1."""
    chosen = frame[list(described)]
    truth = [name for name in chosen.columns if described[name].startswith("0 or 1")]
    return chosen.astype(dict.fromkeys(truth, np.int64)), what, described


def _readme(material: Material, made: Mapping[str, tuple[pd.DataFrame, str, Mapping[str, str]]]) -> str:
    lines = [
        f"# Run {material.name}",
        "",
        (
            "Comma-separated tables in UTF-8, with a line of names first. Numbers are in full precision, infinity is `inf`, "
            "an empty cell is not defined. Distances bound the true minimal distance from above."
        ),
        "",
        *(f"- {key}: {value}" for key, value in material.provenance.items()),
    ]
    for name, (frame, what, described) in made.items():
        lines += ["", f"## {name}.csv", "", f"{what} {len(frame):,} lines.", "", "| column | is |", "|---|---|"]
        lines += [f"| `{column}` | {meaning} |" for column, meaning in described.items()]
    return "\n".join(lines) + "\n"


TARGET = Target(name="csv", title="tidy tables of numbers, with a page that says what each column is", write=write)
