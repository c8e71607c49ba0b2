"""``python -m bench.run --suite minimal_norm``: the command line. What it shows needs no torch until a run begins."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import process
from bench.arguments import EXIT_INTERRUPTED, Parser, command
from bench.errors import UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from bench.engine.request import Request
    from bench.store import Run

EXIT_BROKEN = 1

WIDE = 130
"""Where a terminal has fewer characters, lists leave out what the report says as well."""

INDICES = 10_000_000
"""The most images of a range."""

EPILOG = """\
examples:
  python -m bench.run --suite smoke
  python -m bench.run --suite minimal_norm --networks MLP CNN --norms l2 --samples 100
  python -m bench.run --suite minimal_norm --networks path/to/mine.py:make --weights mine.safetensors
  python -m bench.run --suite quick --networks 'a=mine.py:make(width=32)@a.pt' 'b=mine.py:make(width=64)@b.pt'
  python -m bench.run --suite quick --data mine.npz --networks path/to/mine.py:make
  python -m bench.run --resume results/minimal_norm-20260101-120000

A file.py:object is Python code and is executed; give only files that you trust. A network's factory returns a torch
module from (n, ...) float32 images of the dataset to (n, classes) logits. --resume executes such files only with --trust,
and only if they are still what the run was started with.

exit codes: 0 all is well, 1 the records contradict each other, 2 unusable input, 130 interrupted
"""


def parser() -> Parser:
    """The command line of ``python -m bench.run``."""
    parser = Parser(
        prog="python -m bench.run",
        description="How small a change makes a classifier wrong? Attack networks image by image and report it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--suite", default="", metavar="SUITE", help="a suite of attacks; --list shows them; or file.py")
    what.add_argument(
        "--networks",
        nargs="+",
        metavar="NETWORK",
        help="[name=]SOURCE[(arguments)][@weights]; a SOURCE is a name, path/to/file.py:factory, torchvision:resnet18, timm:NAME "
        "or onnx:file.onnx",
    )
    what.add_argument(
        "--weights",
        metavar="FILE",
        help="safetensors, or tensors of torch.save, for the file.py:factory among the networks",
    )
    what.add_argument(
        "--normalize",
        type=_numbers,
        nargs=2,
        metavar=("MEAN", "STD"),
        help="put (input - MEAN) / STD into every network of one's own: a number, or one for each channel, 0.49,0.48,0.45",
    )
    what.add_argument(
        "--data",
        default="",
        metavar="DATA",
        help="mnist, file.npz, file.safetensors, table.csv, table.parquet, a folder of pictures by class, torchvision:CIFAR10, "
        "or file.py:object (the suite's own)",
    )
    what.add_argument("--split", default="", metavar="SPLIT", help="of the dataset (its test split)")
    what.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="how many images, drawn with the seed, each class in its proportion (the suite's own)",
    )
    what.add_argument("--balanced", action="store_true", help="as many images of each class")
    what.add_argument("--first", action="store_true", help="the first images, in place of a random sample")
    what.add_argument(
        "--indices",
        type=_indices,
        nargs="+",
        action=_Joined,
        metavar="I",
        help="which images, in place of a random sample: numbers from 0, or ranges such as 0:100, without the 100",
    )
    what.add_argument(
        "--norms", nargs="+", metavar="NORM", help="l0, l1, l2, linf, of those that the suite has (all but l1)"
    )
    what.add_argument("--libraries", nargs="+", metavar="LIBRARY", help="art, foolbox, paper, certify")
    what.add_argument("--attacks", nargs="+", metavar="ATTACK", help="names, or patterns such as 'foolbox-*'")
    what.add_argument(
        "--exact", type=float, metavar="SECONDS", help="time limit per image of the exact search; 0 leaves it out"
    )
    what.add_argument("--full", action="store_true", help="run expensive attacks on every image too")
    what.add_argument(
        "--seed", type=int, default=0, metavar="N", help="random seed, of images and attacks (%(default)s)"
    )
    read = parser.add_argument_group("how data is read")
    read.add_argument(
        "--box",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="lowest and highest value of an input (pictures are divided by 255 and lie in [0, 1]; a table's features have "
        "boxes of their own)",
    )
    read.add_argument("--class-names", metavar="FILE", help="a text file with a name for each class, one a line")
    read.add_argument("--label", metavar="COLUMN", help="a table's column of classes")
    read.add_argument("--resize", type=int, metavar="N", help="scale pictures so that the shorter side has N pixels")
    read.add_argument("--crop", type=int, metavar="N", help="cut N x N pixels from the middle of pictures")
    read.add_argument("--data-root", metavar="FOLDER", help="where torchvision's datasets lie (data)")
    read.add_argument(
        "--download",
        action="store_true",
        help="download what is missing of a dataset of torchvision, and weights of torchvision: and timm: networks",
    )
    how = parser.add_argument_group("how to run")
    how.add_argument("--workers", type=int, default=None, metavar="N", help="processes (one for each core)")
    how.add_argument("--executor", choices=["local", "dask"], default="local", help="(%(default)s)")
    how.add_argument("--scheduler", metavar="ADDRESS", help="tcp://host:port of a Dask scheduler; none: start one here")
    how.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, cuda:1, ... (%(default)s)")
    how.add_argument(
        "--time-limit",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="wall time per image and attack (%(default)g)",
    )
    how.add_argument(
        "--minutes", type=float, metavar="N", help="end in this time: as many images, and attacks, as there is time for"
    )
    how.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER", help="of all runs (%(default)s)")
    how.add_argument("--name", help="name of this run (suite and time); an unfinished run of this name goes on")
    how.add_argument("--resume", type=Path, metavar="RUN", help="go on with results/<run>, as it was started")
    how.add_argument("--trust", action="store_true", help="with --resume: execute the Python files that the run names")
    how.add_argument("--open", action="store_true", help="open the report in the browser")
    instead = parser.add_argument_group("instead of running")
    instead.add_argument("--list", action="store_true", help="show suites, networks, datasets and attacks")
    instead.add_argument("--dry-run", action="store_true", help="show the plan and the time it should take")
    return parser


def _indices(text: str) -> tuple[int, ...]:
    """The images of a word: a number, or a range without its end."""
    first, colon, stop = text.partition(":")
    if not first.isdecimal() or (colon and not stop.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not possible; give numbers from 0, or ranges such as 0:100")
    if colon and int(stop) - int(first) > INDICES:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible; a range has at most {INDICES:,} images")
    return tuple(range(int(first), int(stop))) if colon else (int(first),)


def _numbers(text: str) -> tuple[float, ...]:
    """The numbers of a word, with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not possible; give a number, or one for each channel with commas between them, 0.49,0.48,0.45"
        ) from None


class _Joined(argparse.Action):
    """Several words that are sequences, as one list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        del parser, option_string
        setattr(namespace, self.dest, [index for part in values for index in part])


def main(arguments: Sequence[str] | None = None, *, last: bool = False) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: its words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(arguments), last=last)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    if options.list:
        _list(_console(), options.suite)
        return 0
    asked = _resumed(options) if options.resume is not None else _asked(options)
    with asked.guard:
        return _dry_run(asked.request, options) if options.dry_run else _run(asked.request, asked.path, options)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to run, the run's folder, and within what."""

    request: Request
    path: Path
    guard: AbstractContextManager[None] = field(default_factory=nullcontext)


def _asked(options: argparse.Namespace) -> _Asked:
    """The request that the options make, and the run's folder inside ``--out``."""
    from bench.engine.request import Request, check_name

    if options.trust:
        raise UsageError("--trust goes with --resume; files that the command line names are executed anyway")

    given = {item.name: getattr(options, item.name) for item in fields(Request)}
    words: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    request = Request(**{name: value for name, value in words.items() if value is not None})
    short = Path(options.suite.rpartition(":")[0] or options.suite).stem or "run"
    name = options.name or f"{short}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return _Asked(request, options.out / check_name(name))


def _resumed(options: argparse.Namespace) -> _Asked:
    """The request of the run that ``--resume`` names; nothing that the run names has been executed.

    Raises:
        UsageError: other options of what to run are given as well, or the run executes files and is not trusted.
        StoreError: the folder is no run, or a thinned one, its version cannot go on, or a file is not what the run was
            started with.
    """
    from bench import store
    from bench.engine import trust
    from bench.engine.request import Request

    defaults = parser().parse_args([])
    names = [*(item.name for item in fields(Request)), "out", "name"]
    extra = [name for name in names if getattr(options, name) != getattr(defaults, name)]
    if extra:
        flags = ", ".join("--" + name.replace("_", "-") for name in extra)
        raise UsageError(f"--resume goes on with a run as it was started; leave out {flags}")
    run = store.read(options.resume)
    run.require_whole("resumed")
    if "request" not in run.manifest:
        raise UsageError(f"{options.resume} was written by an older version, and cannot go on; start a new run")
    request = Request.from_json(run.manifest["request"])
    return _Asked(request, run.path.resolve(), trust.only(trust.require(run, trusted=options.trust)))


def _run(request: Request, path: Path, options: argparse.Namespace) -> int:
    """Run, render the report, print the table, the contradictions and the report's path."""
    try:
        from bench.engine.request import resolve

        # What is wrong with the words is reported before torch is imported, which takes seconds.
        resolve(request)
        console = _console()
        with console.status("loading libraries"):
            if not console.is_terminal:
                print("loading libraries", flush=True)
            from bench import report
            from bench.engine import session
            from bench.progress import watching

        with watching(console) as watch:
            how = session.How(workers=options.workers, cluster=options.executor == "dask", scheduler=options.scheduler)
            run = session.run(request, path, how=how, watch=watch)
            watch.stage("writing the report")
            page = _shown(report.render(run.path))
        if run.manifest["status"] == "interrupted":
            print(printable(str(page)))
            return _interrupted(run.path)
        return _finish(console, run, page, open_page=options.open)
    except KeyboardInterrupt:
        return _interrupted(path)
    except Exception:
        # Somebody's code may have made another error of the interruption.
        if not process.interrupted():
            raise
        return _interrupted(path)


def _interrupted(path: Path) -> int:
    """Say how to go on; returns the exit code."""
    process.done()
    if (path / "manifest.json").exists():
        words = f"python -m bench.run --resume {shlex.quote(str(_shown(path)))}{_trusted(path)}"
        print(f"interrupted; what is finished is kept. Go on with: {words}")
    else:
        print("interrupted before anything was stored; begin again with the same command")
    return EXIT_INTERRUPTED


def _trusted(path: Path) -> str:
    """What a resumed run needs to execute the files that it names."""
    try:
        from bench import store
        from bench.engine import trust

        return " --trust" if trust.named(store.read(path).manifest) else ""
    except Exception:
        # Imports that were interrupted may fail; the run says so itself when it is resumed.
        return ""


def _finish(console: Console, run: Run, page: Path, *, open_page: bool) -> int:
    import webbrowser

    from bench import metrics, report
    from bench.report import sources, terminal

    frames, found = report.prepared(sources.single(run))
    for heading, table in terminal.tables(frames, width=console.width):
        console.print(heading, style="bold", markup=False, highlight=False)
        console.print(table, "")
    for line in terminal.lines(frames.evidence, run.manifest, found):
        console.print(line, markup=False, highlight=False)
    rules = metrics.invariants(frames.evidence, run.manifest)
    broken = [rule for rule in rules if rule.holds is False]
    for rule in broken:
        console.print(f"BROKEN: {printable(rule.rule)} ({printable(rule.detail)})", style="bold red", markup=False)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    print(printable(str(page)))
    return EXIT_BROKEN if broken else 0


def _shown(path: Path) -> Path:
    """A path as it is typed from here: relative where it lies below this folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _console() -> Console:
    from rich.console import Console

    # A pipe or a log has no width of its own; the tables need about this much.
    return Console(width=None if sys.stdout.isatty() else 150)


def _list(console: Console, only: str) -> None:
    """Show every suite, network, dataset and attack."""
    from rich.table import Table

    import suites
    from bench import data, libraries
    from bench.networks.grammar import ALSO
    from bench.networks.spec import NETWORKS
    from bench.specs import AttackSpec

    for kind in (NETWORKS, data.DATASETS):
        also = ALSO if kind is NETWORKS else (*kind.also, "path/to/file.py:object")
        console.print(f"{kind.group}: {', '.join((*kind.names(), *also))}", markup=False)
    console.print("libraries: " + ", ".join(libraries.LIBRARIES.names()), markup=False)
    for name in [only] if only else suites.names():
        suite = suites.load(name)
        console.print(f"suite {suite.name}: {suite.description}", style="bold", markup=False, highlight=False)
        table = Table(box=None, pad_edge=False)
        wide = console.width >= WIDE
        for column in (
            ("name", "attack", "origin", "access", "images", "paper") if wide else ("name", "images", "paper")
        ):
            table.add_column(column, no_wrap=True)
        for row in (*suite.rows, *suite.on_request):
            origin, access, paper = (
                (row.origin, row.method.access, row.method.paper)
                if isinstance(row, AttackSpec)
                else (row.kind, "weights", row.paper)
            )
            images = "all" if row.cap is None else f"first {row.cap}"
            on_request = f" (with --norms {row.norm.value})" if row in suite.on_request else ""
            cells = (row.name, row.label, origin, access, images + on_request, paper)
            table.add_row(*(cells if wide else (row.name, images + on_request, paper)))
        console.print(table, "")
        for hole in suite.holes:
            console.print(f"  no {hole.family} in {hole.norm.label} with {hole.library}: {hole.reason}", markup=False)


def _dry_run(request: Request, options: argparse.Namespace) -> int:
    """Show the plan and what it should take on this machine, as fast as it is now."""
    from rich.table import Table

    from bench.engine.request import processes, resolve

    resolve(request)
    console, workers = _console(), max(processes(options.workers), 1)
    with console.status("measuring how fast the networks are"):
        from bench.engine import planning
        from bench.engine.plan import expected_seconds

        job, estimated, fitted = planning.planned(request, workers)
    plan = job.plan
    print(printable(f"plan of suite {plan.suite.name}, {len(plan.indices)} images; seconds on each network"))
    table = Table(box=None, pad_edge=False)
    table.add_column("attack", no_wrap=True, overflow="ellipsis", max_width=38)
    for column in ("images", "blocks", *(spec.name for spec in plan.networks)):
        table.add_column(printable(column), justify="right", no_wrap=True, overflow="ellipsis")
    blocks = plan.blocks()
    seconds: dict[tuple[str, str], float] = {}
    for block in blocks:
        key = block.network.name, block.row.name
        seconds[key] = seconds.get(key, 0.0) + expected_seconds(block, estimated)
    for row in plan.rows:
        n = plan.count(row)
        count = f"first {n}" if n < len(plan.indices) else str(n)
        cells = [f"{seconds[spec.name, row.name]:.1f}" for spec in plan.networks]
        table.add_row(row.label, count, str(-(-n // row.block)), *cells)
    console.print(table)
    if fitted is not None:
        print(printable(fitted.words))
    total = timedelta(seconds=round(sum(seconds.values()) / workers))
    print(
        f"{len(blocks)} blocks, {plan.records} records, about {total} with {workers} workers, as fast as this machine is now"
    )
    return 0


if __name__ == "__main__":
    process.leave(main(last=True))
