"""``python -m bench.guide.gate``: how often ``no-worse`` of bench.check is broken on simulated networks, as ``docs/gate.md`` has it."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from bench import metrics
from bench.arguments import Parser, command
from bench.check import worse

LEAST = 0.05
"""The least difference that matters."""

SPREAD = 0.45
"""Standard deviation of the logarithm of distances over images."""

NOISES = (0.2, 0.3)
"""That of the logarithm of the ratio of two networks on one image."""

RATIOS = {"equally good": 1.0, "worse by 5 %": 0.95, "worse by 10 %": 0.9, "worse by 15 %": 0.85}


def pair(
    rng: np.random.Generator, ratio: float, images: int = 100, noise: float = NOISES[0]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of a candidate and a baseline; some images are misclassified, on some nothing is found.

    Args:
        rng: draws.
        ratio: of the candidate's distances to the baseline's.
        images: how many.
        noise: standard deviation of the logarithm of their ratio on one image.

    Returns:
        (images,) each.
    """
    before = np.exp(rng.normal(0, SPREAD, images))
    after = before * ratio * np.exp(rng.normal(0, noise, images))
    hard = rng.random(images) < 0.02
    before[hard], after[hard] = np.inf, np.inf
    both = rng.random(images) < 0.02
    before[both], after[both] = 0, 0
    before[rng.random(images) < 0.005] = 0
    after[rng.random(images) < 0.005] = 0
    return after, before


def favour(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool | None:
    """Whether ``no-worse by 5%``, alone in its call, holds; None where it is not decidable."""
    found = metrics.noninferiority(a, b, LEAST)
    return worse.decided(found, found.p, found.p_least, tests=1).favour


def table(comparisons: int, seed: int = 0) -> str:
    """The fraction of comparisons that are broken, as a table of Markdown.

    Args:
        comparisons: of each kind.
        seed: of the draws.
    """
    lines = [
        f"| standard deviation of the logarithm of the ratio | {' | '.join(RATIOS)} |",
        "|---" * (len(RATIOS) + 1) + "|",
    ]
    for noise in NOISES:
        cells = []
        for ratio in RATIOS.values():
            rng = np.random.default_rng(seed)
            broken = sum(favour(*pair(rng, ratio, noise=noise)) is False for _ in range(comparisons))
            cells.append(f"{100 * broken / comparisons:.3g} %")
        lines.append(f"| {noise:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = Parser(prog="python -m bench.guide.gate", description="How often is no-worse called broken?")
    parser.add_argument("--comparisons", type=int, default=1000, metavar="N", help="of each kind (%(default)s)")

    def run() -> int:
        print(table(max(1, parser.parse_args(arguments).comparisons)))
        return 0

    return command(run)


if __name__ == "__main__":
    sys.exit(main())
