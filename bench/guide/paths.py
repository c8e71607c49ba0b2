"""``python -m bench.guide.paths``: where each method asks a network of two inputs, for the figures of the chapter on attacks.

The rows of the suites run through their adapters, as in any run, with their own parameters. What they ask is written to
``results/reference/paths.json``.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import suites
from bench import libraries
from bench.arguments import Parser, command
from bench.domain import Domain
from bench.engine.queries import CountedNetwork
from bench.errors import StoreError
from bench.norms import Norm
from bench.problem import problem
from bench.specs import AttackSpec, Origin

OUT = Path("results/reference/paths.json")
SUITES = ("minimal_norm", "strong", "l1")
"""A method is drawn by its first row of these, the libraries' own code first."""

POINTS = 240
"""At most so many queries of an attack are kept, evenly over all that it asked."""

GRID = 120
"""The classes of the network are kept at so many points across and up."""

CLEAN, LABEL = (0.30, 0.42), 0
SEED = 1
DOMAIN = Domain(shape=(2,), classes=3, low=0.0, high=1.0)


class Toy(nn.Module):
    """Three classes on [0, 1]^2 with curved borders: logits of (n, 2) inputs, 12 (a - |x - c|^2 + w sin(7 x_0 + 4 x_1)) for each."""

    centres: Tensor
    offsets: Tensor
    waves: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.tensor([[0.25, 0.35], [0.8, 0.45], [0.35, 0.95]]))
        self.register_buffer("offsets", torch.tensor([0.0, 0.02, 0.0]))
        self.register_buffer("waves", torch.tensor([0.0, 0.05, -0.04]))

    def forward(self, points: Tensor) -> Tensor:
        """(n, 3) logits of (n, 2) points."""
        squares = (points[:, None, :] - self.centres.to(points.dtype)).square().sum(2)
        wave = torch.sin(7 * points[:, :1] + 4 * points[:, 1:])
        return 12 * (self.offsets.to(points.dtype) - squares + self.waves.to(points.dtype) * wave)


class Asked(CountedNetwork):
    """A network that keeps every point that it is asked about, in order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.points: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (n, 2) images."""
        self.points.append(images.detach().reshape(-1, 2).clone())
        return super().forward(images)


@dataclass(frozen=True, slots=True)
class Path2D:
    """What a row asked of the network, and what it returned.

    Attributes:
        row, label, slug, norm, access: whose.
        asked: how many points it asked about.
        queries: at most ``POINTS`` of them, in order, without the adapter's own look at the network.
        found: the point that it returned.
        distance: of that point in the row's norm; infinite where it is not adversarial.
    """

    row: str
    label: str
    slug: str
    norm: str
    access: str
    asked: int
    queries: list[tuple[float, float]]
    found: tuple[float, float]
    distance: float


def rows() -> list[AttackSpec]:
    """A row for each method of the suites: the libraries' own code before ports and variants, and L2 before other norms."""
    known = [row for name in SUITES for row in suites.load(name).rows if isinstance(row, AttackSpec)]
    ordered = sorted(known, key=_preference)
    first: dict[str, AttackSpec] = {}
    for row in ordered:
        first.setdefault(row.method.slug, row)
    return [row for row in known if first[row.method.slug] is row]


def walk(row: AttackSpec) -> Path2D:
    """Run a row on the network, from the one image.

    Raises:
        Exception: whatever the row's library raises.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - what the libraries draw from
    torch.manual_seed(SEED)
    network = Toy().eval()
    asked = Asked(network)
    # Images to start from lie where a dataset would have them: in the other classes.
    starts = torch.tensor([[[0.75, 0.5], [0.35, 0.9]]])
    given = problem(asked, torch.tensor([CLEAN]), torch.tensor([LABEL]), DOMAIN, starts=starts, seed=SEED)
    library = libraries.load(row.library)
    made = libraries.part(library, library.attacker).attack(row, given)
    found = torch.as_tensor(made).reshape(1, 2).float()
    points = torch.cat(asked.points)
    # The adapter of ART looks once at the logits of zeros, which is no step of the attack.
    steps = points if points[0].any() else points[1:]
    chosen = np.unique(np.linspace(0, len(steps) - 1, POINTS).round().astype(int))
    adversarial = bool((network(found).argmax(1) != LABEL).all())
    change = (found.numpy() - np.array([CLEAN], dtype=np.float32)).astype(np.float64)
    size = float(row.norm.of(np.where(np.abs(change) <= 1e-4, 0.0, change) if row.norm is Norm.L0 else change)[0])
    return Path2D(
        row=row.name,
        label=row.label,
        slug=row.method.slug,
        norm=row.norm.value,
        access=row.method.access.value,
        asked=len(points),
        queries=[_rounded(point) for point in steps[chosen]],
        found=_rounded(found[0]),
        distance=round(size, 4) if adversarial else float("inf"),
    )


def classes() -> list[str]:
    """The network's class on a grid: a line of digits for each height, from 0 to 1."""
    ends = torch.linspace(0, 1, GRID)
    up, across = torch.meshgrid(ends, ends, indexing="ij")
    decided = Toy()(torch.stack([across.ravel(), up.ravel()], 1)).argmax(1).reshape(GRID, GRID)
    return ["".join(map(str, line)) for line in decided.tolist()]


def write(paths: Sequence[Path2D], out: Path) -> Path:
    """Write paths, the network's classes and the image as JSON.

    Raises:
        StoreError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "clean": CLEAN,
        "classes": classes(),
        "paths": [asdict(path) | {"distance": None if np.isinf(path.distance) else path.distance} for path in paths],
    }
    lines = json.dumps(content, separators=(",", ":")).replace('{"row"', '\n{"row"')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(lines + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error.strerror}; give another --out") from error
    return out


def parser() -> Parser:
    """The command line of ``python -m bench.guide.paths``."""
    words = Parser(prog="python -m bench.guide.paths", description="Where attacks ask a network of two inputs.")
    words.add_argument("--out", type=Path, default=OUT, help="the file (%(default)s)")
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a row of each method and write what it asked; returns the exit code."""
    options = parser().parse_args(arguments)

    def run() -> int:
        torch.set_num_threads(1)
        made = []
        for row in rows():
            print(row.label, flush=True)
            made.append(walk(row))
        print(write(made, options.out))
        return 0

    return command(run)


def _preference(row: AttackSpec) -> tuple[bool, bool, bool]:
    return row.origin is not Origin.NATIVE, row.variant is not None, row.norm is not Norm.L2


def _rounded(point: Tensor) -> tuple[float, float]:
    x, y = (round(float(value), 4) for value in point)
    return x, y


if __name__ == "__main__":
    sys.exit(main())
