"""``python -m bench.guide.step_counts > docs/step_counts.md``: whether more steps would find less, row by row.

It runs attacks, and so lies above the suites.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

import suites
from bench import networks
from bench.arguments import Parser, tell
from bench.engine import costs, plan, worker
from bench.engine.images import Images
from bench.engine.request import Given, Request, resolve
from bench.engine.task import Expected
from bench.errors import UsageError
from bench.records import Status
from bench.specs import AttackSpec

SUITE = "minimal_norm"
NETWORKS = ("MLP", "CNN")
FACTORS = (0.25, 0.5, 1.0, 2.0)
ENOUGH = 0.01
"""A median that twice the steps lower by a smaller fraction of it is where a row may stop."""

IMAGES, CAPPED_IMAGES = 20, 3
"""How many images a row gets: fewer if it is expensive, which is what its cap says."""

HEAD = """\
# Step counts

Made by `python -m bench.guide.step_counts > docs/step_counts.md`: each row of `minimal_norm` with a quarter, half, all
and twice of its steps, on the first test images of the networks MLP and CNN; misclassified images are left out. The
figures are medians of the row's own distance, ∞ where most images found nothing. A row may stop where twice the steps
lower no median by 1 %; where they do, the last column says why it stops.

| attack | steps | images | MLP: ¼ | ½ | 1 | 2 | CNN: ¼ | ½ | 1 | 2 | twice the steps |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row found with other step counts.

    Attributes:
        row: the row.
        images: how many were attacked in each network, misclassified ones not counted.
        medians: for each of ``NETWORKS`` and each of ``FACTORS``.
    """

    row: AttackSpec
    images: int
    medians: tuple[tuple[float, ...], ...]

    @property
    def gain(self) -> float:
        """The largest fraction of a median that twice the steps save in a network; below 0 if they save none."""
        return max(_saved(pinned, doubled) for *_, pinned, doubled in self.medians)


def rows() -> tuple[AttackSpec, ...]:
    """The rows of the suite that count steps."""
    return tuple(row for row in suites.load(SUITE).rows if isinstance(row, AttackSpec) and row.steps)


def scaled(row: AttackSpec, factor: float) -> AttackSpec:
    """A row with more or fewer steps, at least one."""
    steps = max(1, round(costs.steps(row.params, row.steps) * factor))
    return replace(row, params={**row.params, row.steps: steps})


def measure(row: AttackSpec, images: int) -> Measured:
    """Run a row with every factor on every network.

    Args:
        row: which row.
        images: how many of the first test images.

    Raises:
        BenchError: a network or the data cannot be loaded.
    """
    found = [[_distances(scaled(row, factor), network, images) for factor in FACTORS] for network in NETWORKS]
    attacked = min(len(distances) for of_network in found for distances in of_network)
    medians = tuple(tuple(median(distances) for distances in of_network) for of_network in found)
    return Measured(row, attacked, medians)


def line(measured: Measured) -> str:
    """A row of the table."""
    row = measured.row
    medians = [_figure(value) for of_network in measured.medians for value in of_network]
    enough = measured.gain < ENOUGH
    verdict = "enough" if enough else f"{measured.gain:.1%} less; {row.reasons.get(row.steps, '')}"
    steps = row.params[row.steps]
    return f"| {' | '.join([row.label, str(steps), str(measured.images), *medians, verdict])} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = Parser(prog="python -m bench.guide.step_counts", description="Would more steps find less?")
    parser.add_argument("--attacks", nargs="+", metavar="ATTACK", help="names, or patterns such as 'foolbox-*'")
    parser.add_argument(
        "--images", type=int, metavar="N", help=f"for every row ({IMAGES}; {CAPPED_IMAGES} for capped rows)"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        chosen = plan.choose(suites.load(SUITE), attacks=options.attacks)
    except UsageError as error:
        return tell(error)
    print(HEAD, end="")
    for row in rows():
        if row in chosen:
            images = options.images or (IMAGES if row.cap is None else min(row.cap, CAPPED_IMAGES))
            print(line(measure(row, images)), flush=True)
    return 0


def _distances(row: AttackSpec, network: str, images: int) -> list[float]:
    """The distances of the attacked images, infinite where nothing was found."""
    suite = replace(suites.load(SUITE), rows=(replace(row, cap=None),), holes=())
    job = resolve(Request(suite=SUITE, networks=(network,), samples=images, device="cpu"), Given(suite=suite))
    pictures = Images(job.dataset, job.split, job.plan)
    (spec,) = job.plan.networks
    expected = Expected(networks.source(spec).identity(pictures.domain))
    tasks = (pictures.task(block, job.request.device, expected) for block in job.plan.blocks())
    records = [record for task in tasks for record in worker.run(task).records]
    return [record.distance for record in records if record.status is not Status.MISCLASSIFIED]


def _saved(pinned: float, doubled: float) -> float:
    if math.isinf(pinned):
        return 0.0 if math.isinf(doubled) else 1.0
    return 1 - doubled / pinned


def _figure(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
