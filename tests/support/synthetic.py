"""Made-up runs that look healthy: for tests of what reads runs, where the right answer must be known."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from bench import store
from bench.domain import Domain
from bench.norms import Norm, distances
from bench.records import Record, Status, columns, query_counts, schema
from bench.specs import (
    Access,
    AttackSpec,
    Family,
    Hole,
    Kind,
    Method,
    Origin,
    Suite,
    Variant,
    VerifierSpec,
    to_json,
)

Floats = NDArray[np.float64]
DIGITS = Domain(shape=(1, 28, 28), classes=10, low=0.0, high=1.0, channel_axis=0, unit="grey level")
COLOURS = Domain(
    shape=(3, 8, 8),
    classes=4,
    low=0.0,
    high=255.0,
    channel_axis=0,
    class_names=("cat", "dog", "ship", "truck"),
    unit="intensity level",
)
FEATURES = Domain(
    shape=(6,),
    classes=2,
    low=(0.0, -1.0, 10.0, 0.0, 0.0, -5.0),
    high=(1.0, 1.0, 500.0, 3.0, 2.5, 5.0),
    class_names=("benign", "malignant"),
    feature_names=("radius", "texture", "area", "smoothness", "concavity", "symmetry"),
)
LIBRARIES = (
    {"name": "art", "label": "ART", "ours": False, "marker": "s"},
    {"name": "foolbox", "label": "Foolbox", "ours": False, "marker": "o"},
    {"name": "paper", "label": "from the paper", "ours": True, "marker": "D"},
    {"name": "certify", "label": "certified", "ours": True, "marker": "^"},
)
"""As a manifest lists them."""


def method(slug: str, title: str, family: Family, access: Access = Access.GRADIENT) -> Method:
    return Method(
        slug=slug,
        title=title,
        family=family,
        access=access,
        paper="arXiv:1511.04599",
        idea=f"{title} walks to the boundary. It stops there.",
        formula="x + |f(x)| / |w|^2 w",
    )


DEEPFOOL = method("deepfool", "DeepFool", Family.DEEPFOOL)
CW = method("cw", "C&W", Family.CW)
HSJ = method("hsj", "HopSkipJump", Family.BOUNDARY, Access.DECISION)
BB = method("bb", "Brendel-Bethge", Family.BOUNDARY_FOLLOWING)
REFERENCE = method("reference", "DDN", Family.REFERENCE)
REPAIRED = Variant(slug="repaired", title="repaired", idea="Its search refines upwards.")


def attack(of: Method, norm: Norm, library: str = "foolbox", **options: Any) -> AttackSpec:
    given = {"params": {"steps": 50}, "steps": "steps"} | options
    return AttackSpec(method=of, norm=norm, library=library, target="fakes:Attack", **given)


def verifier(norm: Norm, kind: Kind = Kind.EXACT) -> VerifierSpec:
    title = {Kind.EXACT: "exact search", Kind.LOWER: "root bound"}[kind]
    return VerifierSpec(slug=kind.value, title=title, norm=norm, kind=kind, seconds=5.0, paper="arXiv:1811.00866")


SUITE = Suite(
    name="synthetic",
    description="Made-up rows for tests.",
    rows=(
        *(attack(DEEPFOOL, norm) for norm in (Norm.L2, Norm.LINF)),
        attack(DEEPFOOL, Norm.L2, "art"),
        attack(DEEPFOOL, Norm.LINF, "paper", origin=Origin.PORT),
        *(attack(CW, norm) for norm in (Norm.L2,)),
        *(attack(CW, norm, "art", defects="Its search never refines upwards.", cap=10) for norm in (Norm.L2,)),
        attack(CW, Norm.L2, "art", origin=Origin.REPAIRED, variant=REPAIRED),
        *(attack(HSJ, norm) for norm in (Norm.L0, Norm.L2, Norm.LINF)),
        *(attack(BB, norm, lib) for norm in (Norm.L0, Norm.L2, Norm.LINF) for lib in ("art", "foolbox")),
        *(attack(REFERENCE, norm) for norm in (Norm.L0, Norm.L2, Norm.LINF)),
        *(verifier(norm) for norm in (Norm.L0, Norm.L2, Norm.LINF)),
    ),
    holes=(
        Hole(family=Family.CW, norm=Norm.L0, library="foolbox", reason="Foolbox has no C&W in L0."),
        Hole(family=Family.BOUNDARY, norm=Norm.L0, library="art", reason="ART has no decision-based attack in L0."),
    ),
    samples=20,
)

SMALL = 100
"""Below so many values an input is small."""

SCALE = {Norm.L0: 6.0, Norm.L1: 6.0, Norm.L2: 0.9, Norm.LINF: 0.06}
NETWORK_SCALE = {"MLP": 0.5, "MLP_d": 0.62, "CNN": 1.3, "CNN_d": 1.55}
METHOD_FACTOR = {"reference": 1.0, "bb": 1.02, "cw": 1.01, "deepfool": 1.06, "hsj": 1.3}


@dataclass(frozen=True)
class SyntheticRun:
    """The reading side of a stored run, in memory."""

    path: Path
    manifest: dict[str, Any]
    frame: pd.DataFrame
    clean: NDArray[np.float32]
    changed: Mapping[tuple[str, str], dict[int, NDArray[np.float32]]] = field(default_factory=dict)

    def records(self) -> pd.DataFrame:
        return self.frame.copy()

    def images(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return np.arange(len(self.clean), dtype=np.int32), self.clean

    def candidates(
        self, network: str, attack: str, blocks: Collection[int] | None = None
    ) -> dict[int, NDArray[np.float32]]:
        return dict(self.changed.get((network, attack), {}))


def frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records with the missing columns filled in, typed as the store's."""
    defaults: dict[str, Any] = {
        "network": "MLP", "attack": "foolbox-reference-l2", "library": "foolbox", "norm": "l2", "kind": "upper",
        "block": 0, "image": 0, "label": 0, "predicted": 0, "status": "found", "adversarial_class": 1,
        "l0": np.inf, "l1": np.inf, "l2": np.inf, "linf": np.inf, "lower": 0.0, "best_seen": np.nan, "curve": None, "seconds": 0.01,
        "forwards": 10.0, "backwards": 10.0, "message": "",
    }  # fmt: skip
    filled = [defaults | {"pixels": record.get("l0", np.inf)} | dict(record) for record in records]
    return typed(pd.DataFrame(filled, columns=columns()))


def typed(content: pd.DataFrame) -> pd.DataFrame:
    """The columns in the schema's order and types."""
    for column in ("network", "attack", "library", "norm", "kind", "status"):
        content[column] = content[column].astype("category")
    for column in ("block", "image", "label", "predicted", "adversarial_class"):
        content[column] = content[column].astype(np.int32)
    for column in (*(norm.value for norm in Norm), "pixels", "lower", "best_seen", "seconds", "forwards", "backwards"):
        content[column] = content[column].astype(np.float64)
    return content[columns()]


def manifest(
    suite: Suite = SUITE,
    networks: Sequence[str] = tuple(NETWORK_SCALE),
    samples: int = 20,
    domain: Domain = DIGITS,
    **extra: Any,
) -> dict[str, Any]:
    """A finished run's manifest, in the layout of today."""
    content = to_json(suite)
    used = {item["library"] for item in [*content["rows"], *content["holes"]]}
    planned = len(networks) * sum(min(samples, row.cap or samples) for row in suite.rows)
    return {
        "format": store.FORMAT,
        "name": "synthetic",
        "status": "finished",
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:14:05+00:00",
        "seed": 0,
        "split": "test",
        "samples": samples,
        "suite": {"name": suite.name, "description": suite.description},
        "rows": content["rows"],
        "holes": content["holes"],
        "networks": [
            {
                "name": name,
                "source": name,
                "sha256": hashlib.sha256(name.encode()).hexdigest(),
                "parameters": 118_282,
                "classes": domain.classes,
                "accuracy": 0.98,
                "accuracy_images": 10_000,
                "structure": f"{name}(...)",
            }
            for name in networks
        ],
        "data": {
            "name": "made-up",
            "title": "Made-up pictures",
            "source": "made-up",
            "sha256": hashlib.sha256(b"made up").hexdigest(),
            "split": "test",
            "size": 10_000,
            "chosen": "first",
        },
        "domain": domain.to_json(),
        "libraries": [
            library | {"packages": ["some-package"], "versions": {"some-package": "1.2.3"}}
            for library in LIBRARIES
            if library["name"] in used
        ],
        "image_sha512": {str(i): hashlib.sha512(bytes([i % 256, i // 256])).hexdigest() for i in range(samples)},
        "image_sha256": {str(i): hashlib.sha256(bytes([i % 256, i // 256])).hexdigest() for i in range(samples)},
        "packages": {"torch": "2.14.1", "foolbox": "3.3.4"},
        "git": {"revision": "fc357ae", "dirty": False},
        "machine": {"platform": "Linux", "cores": 2},
        "command": ["python", "-m", "bench.run", "--suite", "synthetic"],
        "warnings": [],
        "planned": planned,
    } | extra


def pictures(samples: int, seed: int, domain: Domain = DIGITS) -> NDArray[np.float32]:
    """(samples, *shape) images in the unit box: one bright stroke each, or noise where inputs are no pictures."""
    rng = np.random.default_rng(seed)
    if domain.channel_axis != 0 or len(domain.shape) != 3:
        return rng.random((samples, *domain.shape)).astype(np.float32)
    channels, high, wide = domain.shape
    y, x = np.mgrid[0:high, 0:wide]
    y, x = y - (high - 1) / 2, x - (wide - 1) / 2
    angle = rng.uniform(0, np.pi, size=(samples, 1, 1))
    away = np.abs(x * np.cos(angle) + y * np.sin(angle))
    along = np.abs(-x * np.sin(angle) + y * np.cos(angle))
    strokes = np.where(along < 9 * high / 28, np.clip(2.2 - away, 0, 1), 0).astype(np.float32)[:, None]
    coloured: NDArray[np.float32] = strokes * np.linspace(1, 0.4, channels, dtype=np.float32)[:, None, None]
    return coloured


def placed(points: NDArray[np.float32], domain: Domain) -> NDArray[np.float32]:
    """Points of the unit box as float32 inputs; equal values stay equal."""
    low, high = domain.ends
    return points if domain.is_unit else (low + (high - low) * points.astype(np.float64)).astype(np.float32)


def run(
    path: Path = Path("synthetic"),
    *,
    suite: Suite = SUITE,
    networks: Sequence[str] = tuple(NETWORK_SCALE),
    samples: int = 20,
    seed: int = 0,
    clean_errors: float = 0.03,
    failures: float = 0.03,
    solved: float = 0.7,
    domain: Domain = DIGITS,
    **extra: Any,
) -> SyntheticRun:
    """A run in which every attack finds its factor times the image's true distance, or more.

    Args:
        path: where it says it is stored.
        suite: the rows.
        networks: their names; known ones differ in scale.
        samples: images.
        seed: of everything random.
        clean_errors: share of misclassified images.
        failures: share of ``not_found``, ``error`` and ``timeout`` among decision-based rows.
        solved: share of images that the verifier closes.
        domain: of the images.
        extra: manifest entries to set.
    """
    rng = np.random.default_rng(seed)
    images = pictures(samples, seed, domain)
    labels = rng.integers(0, domain.classes, samples)
    parts: list[pd.DataFrame] = []
    changed: dict[tuple[str, str], dict[int, NDArray[np.float32]]] = {}
    ease = rng.normal(0, 0.35, samples)
    for network in networks:
        wrong = rng.random(samples) < clean_errors
        true = np.exp(ease + rng.normal(0, 0.15, samples)) * NETWORK_SCALE.get(network, 1.0)
        for row in suite.rows:
            n = min(samples, row.cap or samples)
            part, candidates = _rows(
                row,
                network,
                images[:n],
                labels[:n],
                rng,
                true=true[:n],
                wrong=wrong[:n],
                failures=failures,
                solved=solved,
                domain=domain,
            )
            parts.append(part)
            changed[network, row.name] = candidates
    content = typed(_true(pd.concat(parts, ignore_index=True)))
    described = manifest(suite, networks, samples, domain, seed=seed) | extra
    return SyntheticRun(Path(path), described, content, placed(images, domain), changed)


def _true(content: pd.DataFrame) -> pd.DataFrame:
    """The records with no certified bound above a candidate of another attack, which inputs of few values may have."""
    for norm in Norm:
        own = (content["norm"] == norm.value) & (content["kind"] != Kind.UPPER.value)
        best = content.groupby(["network", "image"], observed=True)[norm.value].transform("min")
        content.loc[own, "lower"] = np.minimum(content["lower"], best)[own]
    return content


def _rows(
    row: AttackSpec | VerifierSpec,
    network: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    true: Floats,
    wrong: NDArray[np.bool_],
    failures: float,
    solved: float,
    domain: Domain,
) -> tuple[pd.DataFrame, dict[int, NDArray[np.float32]]]:
    n = len(images)
    scale = SCALE[row.norm]
    # Distances are made up in the unit box, for 784 values; smaller inputs have smaller ones.
    scale *= {
        Norm.L0: 1.0,
        Norm.L1: domain.size / 784,
        Norm.L2: (domain.size / 784) ** 0.5,
        Norm.LINF: 0.75 if domain.size < SMALL else 1.0,
    }[row.norm]
    exact = np.clip(np.round(true * scale), 1, domain.size - 1) if row.norm is Norm.L0 else true * scale
    verifies = isinstance(row, VerifierSpec)
    factor = 1.0 if isinstance(row, VerifierSpec) else METHOD_FACTOR.get(row.method.slug, 1.2)
    excess = factor if verifies else 1 + (factor - 1) * rng.lognormal(0, 0.8, n) * (1.2 if row.library == "art" else 1)
    wanted = exact * excess
    if row.norm is Norm.L0:
        wanted = np.ceil(wanted - 1e-9)
    moved = np.stack([_change(image, row.norm, size, rng) for image, size in zip(images, wanted, strict=True)])
    candidates = placed(moved, domain)
    change = candidates.astype(np.float64) - placed(images, domain)
    measured = distances(domain.measured(change))
    pixels = domain.changed_pixels(change)
    status = np.full(n, "found", dtype=object)
    lower = np.zeros(n)
    if isinstance(row, AttackSpec) and row.method.access is Access.DECISION:
        status[rng.random(n) < failures] = "not_found"
        status[rng.random(n) < failures / 2] = "timeout"
    if verifies:
        closed = rng.random(n) < solved
        own = measured[row.norm]
        lower = np.where(closed, own * (1 - 5e-5), own * rng.uniform(0.6, 0.9, n))
        if row.norm is Norm.L0:
            lower = np.where(closed, own, np.maximum(np.floor(lower), 1))
        status[~closed] = "not_found"
    status[wrong] = "misclassified"
    lower[wrong] = 0
    values = {}
    for norm in Norm:
        values[norm.value] = np.select([status == "found", status == "misclassified"], [measured[norm], 0.0], np.inf)
    values["pixels"] = np.select([status == "found", status == "misclassified"], [pixels, 0.0], np.inf)
    attacked = status != "misclassified"
    watched = attacked & (row.kind is Kind.UPPER) & (factor <= 1.2)
    thrown_away = (np.arange(n) % 10 == 3) & (factor > 1.05) & (row.norm is not Norm.L0)
    nearer = np.where(thrown_away, np.maximum(0.98, (exact + wanted) / (2 * wanted)), 1.0)
    seen = np.where(watched, values[row.norm.value] * nearer, np.nan)
    target = (labels + rng.choice([1, 2, 5], n) % max(domain.classes - 1, 1)) % domain.classes
    target = np.where(target == labels, (labels + 1) % domain.classes, target)
    part = pd.DataFrame(
        {
            "network": network, "attack": row.name, "library": row.library, "norm": row.norm.value,
            "kind": row.kind.value, "block": np.arange(n) // row.block, "image": np.arange(n), "label": labels,
            "predicted": np.where(wrong, (labels + 1) % domain.classes, labels), "status": status,
            "adversarial_class": np.where(status == "found", target, -1), **values, "lower": lower,
            "best_seen": seen, "curve": _curves(row, values[row.norm.value], status),
            "seconds": attacked * rng.lognormal(-3 + 3 * (factor - 1), 0.2, n),
            "forwards": attacked * QUERIES, "backwards": attacked * (0.0 if factor > 1.2 else 100.0),
            "message": np.where(status == "timeout", "no end within 60 s", ""),
        }
    )  # fmt: skip
    kept = {i: candidates[i] for i in range(n) if status[i] == "found"}
    return part, kept


QUERIES = 100.0
"""Of every attack for each image."""


def _curves(
    row: AttackSpec | VerifierSpec, found: Floats, status: NDArray[np.object_]
) -> list[tuple[float, ...] | None]:
    """What a decision-based attack is as far as at growing numbers of queries: nothing first, at the end what it found."""
    if isinstance(row, VerifierSpec) or row.method.access is not Access.DECISION:
        return [None] * len(found)
    found = np.where(status == "misclassified", np.inf, found)
    counts = np.array(query_counts(QUERIES), dtype=np.float64)
    factors = np.where(counts < 3, np.inf, np.sqrt(QUERIES / counts))
    curves = found[:, None] * factors
    curves = np.ceil(curves) if row.norm.counts else curves
    return [
        None if ended in ("misclassified", "timeout") else tuple(curve.tolist())
        for curve, ended in zip(curves, status, strict=True)
    ]


def _change(image: NDArray[np.float32], norm: Norm, size: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A candidate inside the box at about the wanted distance."""
    toward = 1.0 - 2.0 * (image > 0.5)
    if norm is Norm.L0:
        chosen = rng.choice(image.size, min(int(size), image.size), replace=False)
        mask = np.zeros(image.size, dtype=bool)
        mask[chosen] = True
        return np.where(mask.reshape(image.shape), (image <= 0.5).astype(np.float32), image).astype(np.float32)
    # Few values: the change is uneven, so that a small L2 does not make the Linf smaller than any attack on it.
    power = 4 if image.size < SMALL else 1
    pattern = np.abs(rng.normal(size=image.shape)) ** power if norm is Norm.L2 else np.ones(image.shape)
    step = toward * pattern
    step *= size / float(norm.of(step[None])[0])
    return np.clip(image + step, 0, 1).astype(np.float32)


def records_of(content: pd.DataFrame) -> list[Record]:
    """The records of a frame of the store's columns."""
    norms = {norm.value: norm for norm in Norm}
    table = pa.Table.from_pandas(content, preserve_index=False).cast(schema())
    return [
        Record(
            **{key: value for key, value in line.items() if key not in norms}
            | {"norm": Norm(line["norm"]), "kind": Kind(line["kind"]), "status": Status(line["status"])}
            | {"curve": None if line["curve"] is None else tuple(line["curve"])},
            distances={norm: line[key] for key, norm in norms.items()},
        )
        for line in table.to_pylist()
    ]


def write(run: SyntheticRun, path: Path) -> Path:
    """Store a run as the bench does; returns its folder."""
    records = records_of(run.frame)
    with store.writing(path) as writer:
        content = run.manifest | {"plan": "synthetic"}
        content["images_file_sha256"] = writer.images(range(len(run.clean)), run.clean)
        writer.manifest(content)
        _write_blocks(writer, records, run)
    return path


def _write_blocks(writer: store.Writer, records: Sequence[Record], run: SyntheticRun, first: int = 0) -> None:
    """Store records block by block; ``first`` is the image that has the run's first candidates."""
    blocks: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for record in records:
        blocks[record.network, record.attack, record.block].append(record)
    for (network, attack, number), own in blocks.items():
        changed = run.changed.get((network, attack), {})
        found = {record.image: changed[record.image - first] for record in own if record.status is Status.FOUND}
        writer.block(store.block_key(network, attack, number), "synthetic", own, found)


PIECE = 500
"""Images of the small run that :func:`write_large` repeats."""


def write_large(path: Path, samples: int) -> Path:
    """Store a run too large to be held: a small one again and again, on other images and at other distances.

    Args:
        path: its folder.
        samples: images; every row attacks all of them, on four networks.

    Returns:
        The folder.
    """
    rows = tuple(replace(row, block=PIECE // 2, cap=None) for row in SUITE.rows)
    suite = replace(SUITE, rows=rows)
    small = run(suite=suite, samples=PIECE, seed=0)
    records = records_of(small.frame)
    rng = np.random.default_rng(0)
    with store.writing(path) as writer:
        content = manifest(suite, samples=samples) | {"plan": "synthetic"}
        content["images_file_sha256"] = writer.images(range(samples), np.resize(small.clean, (samples, *DIGITS.shape)))
        writer.manifest(content)
        for first in range(0, samples, PIECE):
            # One factor for all rows of an image, so that bounds stay below distances; pixels stay whole.
            factors = np.exp(rng.normal(0, 0.2, PIECE))
            moved = [
                _moved(record, first, float(factors[record.image]))
                for record in records
                if first + record.image < samples
            ]
            _write_blocks(writer, moved, small, first)
    return path


def _moved(record: Record, first: int, factor: float) -> Record:
    size = 1.0 if record.norm.counts else factor
    return replace(
        record,
        image=first + record.image,
        block=record.block + 2 * first // PIECE,
        distances={norm: value * (1.0 if norm.counts else factor) for norm, value in record.distances.items()},
        lower=record.lower * size,
        best_seen=None if record.best_seen is None else record.best_seen * size,
        curve=None if record.curve is None else tuple(size * value for value in record.curve),
    )
