"""A network's robustness as a test of its own: requirements on a run that is made on the spot."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Result, evaluate
from bench.check import grammar, output, runs
from bench.check.config import UNDECIDED
from bench.check.decide import decide
from bench.check.decision import Checked, Outcome
from bench.check.requirements import Quantity
from bench.errors import UsageError, unknown
from bench.metrics.distribution import quantiles
from bench.norms import Norm

NEAREST = 5
"""How many of the nearest images a failure names."""


class RobustnessError(AssertionError):
    """A requirement does not hold; the text has all of them, the distances, and the folder of the run."""


def assert_robust(
    network: Any,
    images: Any = None,
    labels: Any = None,
    *,
    requirements: str | Sequence[str],
    baseline: Path | str | None = None,
    undecided: str = "fail",
    out: Path | str | None = None,
    progress: bool = False,
    **options: Any,
) -> Result:
    """Attack networks with :func:`bench.evaluate`, and check what is required of them.

    Args:
        network, images, labels: as :func:`bench.evaluate` takes them; a module alone is called ``network``.
        requirements: one or several, such as ``"l2.median >= 1.0"``; see ``docs/gate.md``.
        baseline: folder of the run that ``no-worse`` compares with.
        undecided: ``fail`` or ``pass``: what becomes of requirements that so few images cannot decide.
        out: a folder for the run. None: it is kept in a temporary folder, and only where a requirement does not hold.
        progress: whether to show a bar.
        options: of :func:`bench.evaluate`, such as ``box``, ``suite``, ``norms`` or ``samples``.

    Returns:
        The result, where everything that is required holds.

    Raises:
        RobustnessError: a requirement is broken or, unless it passes, not decidable.
        BenchError: a requirement or an argument is not possible.
    """
    if undecided not in UNDECIDED:
        raise unknown("value of undecided", str(undecided), UNDECIDED)
    asked = grammar.parse_all([requirements] if isinstance(requirements, str) else requirements)
    if baseline is None and any(one.quantity is Quantity.NO_WORSE for one in asked):
        raise UsageError("no-worse compares with a baseline; give one: baseline='results/<run>'")
    before = None if baseline is None else runs.read(baseline)
    result = evaluate(network, images, labels, out=out, progress=progress, **options)
    checked = decide(asked, runs.opened(result.run), before)
    failed = checked.count(Outcome.BROKEN) + (checked.count(Outcome.UNDECIDED) if undecided == "fail" else 0)
    if failed:
        folder = Path(out) if out is not None else result.save(Path(tempfile.mkdtemp(prefix="assert-robust-")) / "run")
        raise RobustnessError("\n".join(_text(result, checked, failed, folder)))
    return result


def _text(result: Result, checked: Checked, failed: int, folder: Path) -> list[str]:
    """What a failure says, line by line."""
    norms = [Norm(norm) for norm in result.norms]
    named = {one.requirement.norm for one in checked.decisions}
    return [
        f"{failed} of {len(checked.decisions)} requirements do not hold",
        *output.lines(checked),
        *(line for norm in norms if norm in named for line in _distances(result, norm)),
        f"the run is in {folder}; python -m bench.report {folder} writes its report",
    ]


def _distances(result: Result, norm: Norm) -> list[str]:
    """The distribution of each network's distances in a norm, and its nearest images."""
    made = []
    for network, row in result.distances(norm.value).iterrows():
        known = row.dropna().sort_values(kind="stable")
        if len(known):
            five = quantiles(known.to_numpy(dtype=np.float64), np.linspace(0, 1, 5))
            nearest = ", ".join(f"image {image}: {value:.4g}" for image, value in known.head(NEAREST).items())
            quarters = ", ".join(f"{value:.4g}" for value in five)
            made.append(
                f"{norm.label} distances of {network}: {quarters} (least, quartiles, largest); nearest: {nearest}"
            )
    return made
