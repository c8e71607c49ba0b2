"""Runs whose distances are given, for tests of what is decided on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import synthetic
from numpy.typing import ArrayLike

from bench.check import runs
from bench.check.decide import decide
from bench.check.decision import Checked, Decision
from bench.check.grammar import parse_all
from bench.domain import Domain
from bench.norms import Norm
from bench.specs import Kind, Suite

DOMAIN = Domain(shape=(4,), classes=3, low=0.0, high=1.0)
NEAR = synthetic.attack(synthetic.REFERENCE, Norm.L2)
DEEP = synthetic.attack(synthetic.DEEPFOOL, Norm.L2)
LARGEST = synthetic.attack(synthetic.DEEPFOOL, Norm.LINF)
ROWS = {row.name: row for row in (NEAR, DEEP, LARGEST)}


def made(
    values: Mapping[str, ArrayLike | Mapping[str, ArrayLike]],
    *,
    statuses: Mapping[tuple[str, str], Sequence[str]] | None = None,
    name: str = "run",
    labels: Sequence[int] | None = None,
    **extra: Any,
) -> synthetic.SyntheticRun:
    """A finished run.

    Args:
        values: by network the distances of its images, in L2, or by attack; 0 is misclassified, +inf not found.
        statuses: by network and attack, in place of those; distances of what is no longer found are +inf.
        name: of the run.
        labels: of the images; 0 where nothing is said.
        extra: entries of the manifest.
    """
    by_attack = {
        network: given if isinstance(given, Mapping) else {NEAR.name: given} for network, given in values.items()
    }
    names = list(dict.fromkeys(attack for given in by_attack.values() for attack in given))
    lines, samples = [], 0
    for network, given in by_attack.items():
        for attack, distances in given.items():
            array = np.asarray(distances, dtype=np.float64)
            samples = len(array)
            kinds = np.select([array == 0, np.isinf(array)], ["misclassified", "not_found"], "found")
            for image, kind in enumerate((statuses or {}).get((network, attack), kinds)):
                distance = array[image] if kind in {"found", "misclassified"} else np.inf
                lines.append(
                    {"network": network, "attack": attack, "norm": ROWS[attack].norm.value, "image": image, "status": str(kind)}
                    | {norm.value: np.ceil(distance) if norm.counts else distance for norm in Norm}
                    | {"label": 0 if labels is None else labels[image], "message": "it broke" if kind in {"error", "timeout"} else ""}
                    | {"adversarial_class": 1 if kind == "found" else -1}
                )  # fmt: skip
    suite = Suite(name="gates", description="", rows=tuple(ROWS[each] for each in names), samples=samples)
    content = synthetic.manifest(
        suite, list(by_attack), samples, DOMAIN, **{"name": name, "planned": len(lines)} | extra
    )
    clean = np.zeros((samples, 4), dtype=np.float32)
    changed = {
        (network, attack): {image: np.ones(4, dtype=np.float32) for image in range(samples)}
        for network, given in by_attack.items()
        for attack in given
    }
    return synthetic.SyntheticRun(Path(name), content, synthetic.frame(lines), clean, changed)


def bounded(
    lower: Sequence[float], statuses: Sequence[str] | None = None, *, kind: Kind = Kind.LOWER, attacked: bool = True
) -> synthetic.SyntheticRun:
    """A run of network A in Linf.

    Args:
        lower: bounds of a verifier.
        statuses: of the verifier, whose own examples are at 4.
        kind: of the verifier.
        attacked: whether there is an attack as well, which finds 5 everywhere.
    """
    row, norms = synthetic.verifier(Norm.LINF, kind), [norm.value for norm in Norm]
    images = range(len(lower))
    ends = statuses or ["not_found"] * len(lower)
    lines: list[dict[str, Any]] = [
        {"network": "A", "attack": row.name, "library": "certify", "norm": "linf", "kind": kind.value, "image": image}
        | {"status": ends[image], "lower": lower[image], "message": "no" if ends[image] == "unsupported" else ""}
        | (dict.fromkeys(norms, 4.0) if ends[image] == "found" else {"adversarial_class": -1})
        for image in images
    ]
    if attacked:
        lines += [
            {"network": "A", "attack": LARGEST.name, "norm": "linf", "image": image} | dict.fromkeys(norms, 5.0)
            for image in images
        ]
    suite = Suite(name="x", description="", rows=(LARGEST, row) if attacked else (row,), samples=len(lower))
    content = synthetic.manifest(suite, ["A"], len(lower), DOMAIN)
    clean = np.zeros((len(lower), 4), np.float32)
    return synthetic.SyntheticRun(Path("bounds"), content, synthetic.frame(lines), clean)


def checked(run: synthetic.SyntheticRun, *texts: str, baseline: synthetic.SyntheticRun | None = None) -> Checked:
    """What is decided on a run."""
    return decide(parse_all(texts), runs.opened(run), None if baseline is None else runs.opened(baseline))


def decided(run: synthetic.SyntheticRun, text: str, baseline: synthetic.SyntheticRun | None = None) -> Decision:
    """What is decided of one requirement on a run with one network."""
    (one,) = checked(run, text, baseline=baseline).decisions
    return one
