"""``python -m bench.guide.reference``: the runs that the chapters of the results are made from, stored in ``results/reference``.

Each is an ordinary run of the bench. Finished, it is thinned (:func:`bench.store.thin`), and that is what lies beside the code.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench import report, store
from bench.arguments import EXIT_INTERRUPTED, Parser, command
from bench.errors import StoreError, UsageError, printable, unknown
from bench.metrics import Evidence, evidence
from bench.report import gallery

INTO, WORK = Path("results/reference"), Path("results/reference-whole")
"""Where thinned runs lie, and where the runs are made that they are thinned from."""

PICTURED = 8
"""So many images keep their nearest adversarial example in every norm on every network, beside those of the gallery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRun:
    """One of the runs.

    Attributes:
        name: of its folder.
        suite, networks, data, split, samples, full, exact: as ``python -m bench.run`` takes them.
        purpose: what the chapters take from it.
        page: whether its report is stored as well.
    """

    name: str
    suite: str
    networks: tuple[str, ...] = ("MLP", "MLP_d", "CNN", "CNN_d")
    data: str = "mnist"
    split: str = "test"
    samples: int = 100
    full: bool = False
    exact: float | None = None
    purpose: str
    page: bool = False

    @property
    def request(self) -> dict[str, Any]:
        """The fields of :class:`bench.engine.request.Request` that it sets."""
        names = ("suite", "networks", "data", "split", "samples", "full", "exact")
        return {name: getattr(self, name) for name in names}

    @property
    def options(self) -> list[str]:
        """Of ``python -m bench.run``."""
        words = ["--suite", self.suite, "--data", self.data, "--split", self.split, "--samples", str(self.samples)]
        words += ["--full"] if self.full else []
        words += [] if self.exact is None else ["--exact", f"{self.exact:g}"]
        return [*words, "--networks", *self.networks]


RUNS = (
    ReferenceRun(
        name="minimal_norm",
        suite="minimal_norm",
        full=True,
        purpose="every attack and certified bound of the grid on the four networks",
        page=True,
    ),
    ReferenceRun(
        name="exact",
        suite="exact",
        networks=("MLP", "MLP_d"),
        purpose="exact distances, 60 seconds of search for each image, on the networks where the search closes",
    ),
    ReferenceRun(
        name="convolutional",
        suite="quick",
        networks=("CNN", "CNN_d"),
        samples=50,
        exact=30,
        purpose="certified bounds of convolutional networks, 30 seconds of search for each image",
    ),
    ReferenceRun(name="whole_test", suite="whole_test", samples=10_000, purpose="all test images"),
    ReferenceRun(
        name="val",
        suite="quick",
        split="val",
        purpose="the final confirmation on the validation split, on which nothing was chosen",
    ),
    ReferenceRun(
        name="digits",
        suite="minimal_norm",
        networks=("MLP_digits",),
        data="digits",
        full=True,
        purpose="the grid on 8 x 8 digits",
        page=True,
    ),
    ReferenceRun(
        name="breast_cancer",
        suite="minimal_norm",
        networks=("MLP_cancer",),
        data="breast_cancer",
        full=True,
        purpose="the grid on a table of 30 features",
    ),
    ReferenceRun(
        name="defended",
        suite="strong",
        networks=("CNN", "CNN_at_linf", "CNN_at_l2"),
        samples=50,
        purpose="adversarially trained networks beside one that is not",
    ),
)
"""In the order in which they are made."""


def parser() -> Parser:
    """The command line of ``python -m bench.guide.reference``."""
    words = Parser(
        prog="python -m bench.guide.reference",
        description="Make the reference runs, or what is missing of them, and store them thinned. After an interruption the "
        "same command goes on.",
    )
    words.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(run.name for run in RUNS)}; all")
    words.add_argument("--list", action="store_true", help="instead, show the runs, their state and their time")
    words.add_argument("--into", type=Path, default=INTO, help="where thinned runs are stored (%(default)s)")
    words.add_argument("--work", type=Path, default=WORK, help="where runs are made, or lie finished (%(default)s)")
    words.add_argument("--workers", type=int, metavar="N", help="processes (one for each core)")
    return words


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing of the runs; returns the exit code."""
    return command(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    chosen = [find(name) for name in options.runs] or list(RUNS)
    if options.list:
        for run in chosen:
            print(printable(f"{run.name:14} {state(run, options.work, options.into)}; {run.purpose}"))
            print(
                printable(f"{'':14} python -m bench.run {' '.join(run.options)}; {_time(run, options.workers)}"),
                flush=True,
            )
        return 0
    for run in chosen:
        code = make(run, options.work, options.into, workers=options.workers)
        if code:
            return code
    print(printable(f"{options.into}: {size(options.into) / 1e6:.1f} MB"))
    return 0


def find(name: str) -> ReferenceRun:
    """A run by its name.

    Raises:
        UsageError: there is none of this name.
    """
    for run in RUNS:
        if run.name == name:
            return run
    raise unknown("reference run", name, [run.name for run in RUNS])


def state(run: ReferenceRun, work: Path, into: Path) -> str:
    """How far a run is, in words.

    Args:
        run: which.
        work: where runs are made.
        into: where thinned runs lie.

    Raises:
        StoreError: what lies there is no run.
    """
    whole, kept = _opened(work / run.name), _opened(into / run.name)
    if whole is not None and whole.manifest.get("status") != "finished":
        return f"begun: {len(whole.finished)} blocks are done"
    if whole is not None and (kept is None or kept.manifest.get("ended") != whole.manifest.get("ended")):
        return "finished, not stored yet"
    return "not begun" if kept is None else f"stored, made {str(kept.manifest.get('ended'))[:10]}"


def make(run: ReferenceRun, work: Path, into: Path, *, workers: int | None = None) -> int:
    """Make a run, or go on with it, and store it thinned; nothing where it is stored already.

    Args:
        run: which.
        work: where it is made; a finished run that lies there under the name is taken.
        into: where the thinned run is stored.
        workers: processes; None for one for each core.

    Returns:
        The exit code of ``python -m bench.run``, 0 where it was not needed.

    Raises:
        StoreError: what lies there is another run, or cannot be read or written.
    """
    found = state(run, work, into)
    print(printable(f"{run.name}: {found}"), flush=True)
    if found.startswith("stored"):
        return 0
    folder = work / run.name
    if not found.startswith("finished"):
        words = (
            ["--resume", str(folder)]
            if found.startswith("begun")
            else [*run.options, "--out", str(work), "--name", run.name]
        )
        code = _bench_run([*words, *(["--workers", str(workers)] if workers is not None else [])])
        # A run that contradicts a rule of the bench ends with 1: it is finished, and its report says so.
        if code == EXIT_INTERRUPTED or (_opened(folder) or _none(folder)).manifest.get("status") != "finished":
            return code or 1
    whole = store.read(folder)
    check(run, whole.manifest)
    print(printable(f"{run.name}: thinned to {thinned(whole, into / run.name)}"), flush=True)
    if run.page:
        report.render(into / run.name)
    return 0


def check(run: ReferenceRun, manifest: store.Manifest) -> None:
    """See that a stored run is what a reference run asks for.

    Raises:
        StoreError: suite, networks, data, split, images, caps or time limit differ; the message says which.
    """
    found = {
        "suite": manifest["suite"]["name"],
        "networks": tuple(network["name"] for network in manifest["networks"]),
        "data": manifest["data"]["name"],
        "split": manifest["split"],
        "samples": manifest["samples"],
        "full": bool((manifest.get("request") or {}).get("full")),
        "exact": (manifest.get("request") or {}).get("exact"),
    }
    for key, asked in run.request.items():
        if found[key] != asked:
            raise StoreError(
                f"the run that lies there for {run.name} has {key} {found[key]!r}, the reference run {asked!r}; move it away, or "
                "give another --work"
            )


def thinned(whole: store.Run, target: Path) -> Path:
    """Store a run thinned, with the examples that its gallery shows and those of its first images.

    Args:
        whole: a finished run.
        target: the folder.

    Raises:
        StoreError: the run is not finished or damaged, or the folder cannot be written.
    """
    known = evidence(whole.records(), whole.manifest)
    wanted: dict[tuple[str, str], set[int]] = defaultdict(set)
    for network, attack, image in [*_gallery(known), *_first(known, whole.manifest)]:
        wanted[network, attack].add(image)
    images = set().union(*wanted.values())
    return store.thin(whole, target, store.Kept(images, wanted))


def size(folder: Path) -> int:
    """The bytes of all files of a folder of thinned runs that are stored beside the code."""
    kept = ("manifest.json", "*.parquet")
    files = [path for pattern in kept for path in folder.glob(f"*/{pattern}")]
    pages = [folder / run.name / "report.html" for run in RUNS if run.page]
    return sum(path.stat().st_size for path in [*files, *pages] if path.exists())


def _gallery(known: Evidence) -> list[tuple[str, str, int]]:
    return [(str(line["network"]), str(line["attack"]), int(line["image"])) for _, line in gallery.lines(known)]


def _first(known: Evidence, manifest: store.Manifest) -> list[tuple[str, str, int]]:
    """The nearest examples of the first images of the plan."""
    first = (manifest.get("indices") or sorted(map(int, manifest["image_sha256"])))[:PICTURED]
    best = known.best
    own = best[best["image"].isin(first) & np.isfinite(best["distance"]) & ~best["misclassified"]]
    return [
        (str(network), str(attack), int(image))
        for network, attack, image in zip(own["network"], own["attack"], own["image"], strict=True)
    ]


def _opened(folder: Path) -> store.Run | None:
    return store.read(folder) if folder.exists() else None


def _none(folder: Path) -> store.Run:
    raise UsageError(f"{folder} was not made; the lines above say why")


def _bench_run(words: list[str]) -> int:
    """``python -m bench.run`` as a process of its own, which an interruption reaches as well; returns its exit code."""
    try:
        return subprocess.run([sys.executable, "-m", "bench.run", *words], check=False).returncode  # noqa: S603 - our own command
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _time(run: ReferenceRun, workers: int | None) -> str:
    """What a run should take on this machine as fast as it is now."""
    # Only this needs torch.
    from bench.engine import planning  # noqa: PLC0415
    from bench.engine.plan import expected_seconds  # noqa: PLC0415
    from bench.engine.request import Request, processes  # noqa: PLC0415

    count = max(processes(workers), 1)
    job, estimated, _ = planning.planned(Request(**run.request), count)
    seconds = sum(expected_seconds(block, estimated) for block in job.plan.blocks()) / count
    return f"about {timedelta(seconds=round(seconds))} with {count} workers"


if __name__ == "__main__":
    sys.exit(main())
