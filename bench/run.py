"""``python -m bench.run --suite minimal_norm``: arguments, wiring, progress; nothing else."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import adapters.base
import suites
from bench import data, metrics, networks, preflight, report, store
from bench.engine import costs, executors, manifest, plan, runner
from bench.engine.plan import Plan
from bench.errors import BenchError, NetworkError, UsageError
from bench.networks import NETWORKS
from bench.records import Status
from bench.specs import AttackSpec, Kind
from bench.store import Manifest

PROBED = 200
"""How many of a run's images the checks before it look at."""

DECIDING = (
    *("suite", "networks", "weights", "norms", "libraries", "attacks"),
    *("samples", "exact", "full", "split", "seed", "device", "time_limit"),
)
"""The options that decide a run's records; the manifest keeps them for ``--resume``."""

EXIT_BROKEN, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

EPILOG = """\
examples:
  python -m bench.run --suite smoke
  python -m bench.run --suite minimal_norm --networks MLP CNN --norms l2 --samples 100
  python -m bench.run --suite minimal_norm --networks path/to/mine.py:make --weights mine.safetensors
  python -m bench.run --resume results/minimal_norm-20260101-120000

A file.py:factory is Python code and is executed; give only files you trust. The factory returns a torch module
from (n, 1, 28, 28) float32 images in [0, 1] to (n, classes) logits.

exit codes: 0 all is well, 1 the records contradict each other, 2 unusable input, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line of ``python -m bench.run``."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description="How small a change makes a classifier wrong? Attack networks image by image and report it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to run")
    what.add_argument("--suite", default=None, metavar="NAME", help="a suite of attacks; --list shows them")
    what.add_argument("--networks", nargs="+", metavar="NETWORK", help="names, or path/to/file.py:factory")
    what.add_argument("--weights", metavar="FILE", help="safetensors for the file.py:factory among the networks")
    what.add_argument("--norms", nargs="+", metavar="NORM", help="l0, l2, linf")
    what.add_argument("--libraries", nargs="+", metavar="LIBRARY", help="art, foolbox, certify")
    what.add_argument("--attacks", nargs="+", metavar="ATTACK", help="names, or patterns such as 'foolbox-*'")
    what.add_argument("--samples", type=int, metavar="N", help="the first N images of the split")
    what.add_argument(
        "--exact", type=float, metavar="SECONDS", help="time limit per image of the exact search; 0 leaves it out"
    )
    what.add_argument("--full", action="store_true", help="lift the caps of dear attacks: every row gets every image")
    what.add_argument("--split", choices=[split.value for split in data.Split], default="test", help="(%(default)s)")
    what.add_argument("--seed", type=int, default=0, help="of all randomness (%(default)s)")
    how = parser.add_argument_group("how to run")
    how.add_argument("--workers", type=int, default=None, metavar="N", help="processes (one for each core)")
    how.add_argument("--executor", choices=["local", "dask"], default="local", help="(%(default)s)")
    how.add_argument("--scheduler", metavar="ADDRESS", help="tcp://host:port of a Dask scheduler; none: start one here")
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (%(default)s)")
    how.add_argument(
        "--time-limit",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="wall time per image and attack (%(default)g)",
    )
    how.add_argument("--out", type=Path, default=Path("results"), help="folder of all runs (%(default)s)")
    how.add_argument("--name", help="of this run (suite and time); an unfinished run of this name goes on")
    how.add_argument("--resume", type=Path, metavar="RUN", help="go on with results/<run>, as it was started")
    how.add_argument("--open", action="store_true", help="open the report in the browser")
    instead = parser.add_argument_group("instead of running")
    instead.add_argument("--list", action="store_true", help="show suites, networks and attacks")
    instead.add_argument("--dry-run", action="store_true", help="show the plan and the time it should take")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(arguments)
    # A pipe or a log has no width of its own; the tables need about this much.
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        if options.list:
            _list(console, options.suite)
            return 0
        if options.resume is not None:
            _resume(options)
        chosen = _plan(options)
        if options.dry_run:
            _dry_run(console, chosen, _workers(options))
            return 0
        return _run(console, options, chosen)
    except BenchError as error:
        # What others raised may have lines of its own.
        print("error:", *str(error).split(), file=sys.stderr)
        return EXIT_USAGE


def _plan(options: argparse.Namespace) -> Plan:
    """The plan that the options ask for."""
    if options.suite is None:
        raise UsageError(f"--suite is missing; known: {', '.join(suites.names())}")
    suite = suites.load(options.suite)
    samples = suite.samples if options.samples is None else options.samples
    sizes = {"train": data.TRAIN_SIZE, "test": 10_000, "val": 10_000}
    if not 1 <= samples <= sizes[options.split]:
        raise UsageError(
            f"--samples {samples} is not possible; split {options.split!r} has 1 to {sizes[options.split]:,} images"
        )
    if options.time_limit <= 0:
        raise UsageError(f"--time-limit {options.time_limit:g} is not possible; give seconds above 0")
    if not 0 <= options.seed < 2**31:
        raise UsageError(f"--seed {options.seed} is not possible; give a whole number from 0 to {2**31 - 1}")
    if options.exact is not None and options.exact < 0:
        raise UsageError(f"--exact {options.exact:g} is not possible; give seconds, or 0 to leave the exact search out")
    rows = plan.choose(
        plan.with_exact(suite, options.exact), norms=options.norms, libraries=options.libraries, attacks=options.attacks
    )
    if options.full:
        rows = tuple(replace(row, cap=None) for row in rows)
    return Plan(
        suite=suite,
        rows=rows,
        holes=plan.holes(suite, rows),
        networks=networks.specs(options.networks or suite.networks, options.weights),
        samples=samples,
        split=options.split,
        seed=options.seed,
        device=_device(options.device),
        time_limit=options.time_limit,
    )


def _resume(options: argparse.Namespace) -> None:
    """Set the options to those of the run that ``--resume`` names, but for how it is computed.

    Raises:
        UsageError: other options of what to run are given as well.
        StoreError: the folder is no run.
    """
    defaults = parser().parse_args([])
    extra = [name for name in (*DECIDING, "out", "name") if getattr(options, name) != getattr(defaults, name)]
    if extra:
        flags = ", ".join("--" + name.replace("_", "-") for name in extra)
        raise UsageError(f"--resume goes on with a run as it was started; leave out {flags}")
    run = store.read(options.resume)
    vars(options).update(run.manifest["options"], out=run.path.resolve().parent, name=run.path.resolve().name)


def _run(console: Console, options: argparse.Namespace, chosen: Plan) -> int:
    """Check the networks, run the plan, render the report."""
    workers, path = _workers(options), _folder(options)
    if options.scheduler is not None and options.executor != "dask":
        raise UsageError(f"--scheduler {options.scheduler} is for --executor dask")
    images, labels = data.load(chosen.split, chosen.samples)
    loaded = []
    for spec in chosen.networks:
        module = networks.load(spec, chosen.device)
        if spec.factory and networks.fingerprint(networks.load(spec)) != networks.fingerprint(module):
            raise NetworkError(
                f"network {spec.name}: its factory returns another network every time, so that every worker would attack "
                "another one; give --weights, or seed what it draws"
            )
        findings = preflight.check(module, images[:PROBED].to(chosen.device), labels[:PROBED].to(chosen.device))
        preflight.demand(spec.name, findings)
        for finding in findings:
            if finding.status is not preflight.Level.PASS:
                console.print(f"warning: network {spec.name}: {finding.message}", style="yellow", markup=False)
        loaded.append((spec, module, findings))
    current = manifest.describe(chosen, loaded, images, data.load(chosen.split))
    deciding = {name: getattr(options, name) for name in DECIDING}
    deciding |= {"networks": [spec.factory or spec.name for spec in chosen.networks], "device": chosen.device}
    current |= {"name": path.name, "command": sys.argv, "options": deciding}
    with store.writing(path) as writer:
        content = _begin(writer, path, current, images)
        try:
            with _interruptible(), _progress(console) as show, _executor(options, workers) as executor:
                runner.run(chosen, store.read(path), writer, executor, report=show)
        except KeyboardInterrupt:
            writer.manifest(content | {"status": "interrupted", "ended": manifest.now()})
            page = report.render(path)
            print(f"interrupted; what is finished is kept. Go on with: python -m bench.run --resume {path}")
            print(page)
            return EXIT_INTERRUPTED
        writer.manifest(content | {"status": "finished", "ended": manifest.now()})
    return _finish(console, path, open_page=options.open)


def _begin(writer: store.Writer, path: Path, current: Manifest, images: torch.Tensor) -> Manifest:
    """Write the manifest of a new run, or check that a stored one can go on."""
    if (path / "manifest.json").exists():
        content = store.read(path).manifest
        manifest.demand_same(path.name, content, current)
        content |= {"status": "running", "ended": None}
    else:
        content = current | {"images_file_sha256": writer.images(range(len(images)), images.numpy())}
    writer.manifest(content)
    return content


def _finish(console: Console, path: Path, *, open_page: bool) -> int:
    """Render the report, print the table, the contradictions and the report's path."""
    run = store.read(path)
    records = run.records()
    page = report.render(path)
    console.print(_table(records, run.manifest))
    rules = metrics.invariants(metrics.evidence(records, run.manifest), run.manifest)
    broken = [rule for rule in rules if rule.holds is False]
    for rule in broken:
        console.print(f"BROKEN: {rule.rule} ({rule.detail})", style="bold red", markup=False)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    print(page)
    return EXIT_BROKEN if broken else 0


def _folder(options: argparse.Namespace) -> Path:
    """The run's folder, inside ``--out`` whatever its name."""
    name = options.name or f"{options.suite}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    out: Path = options.out
    return out / store.check_name(name)


def _workers(options: argparse.Namespace) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers: int = cores if options.workers is None else options.workers
    if workers < 0:
        raise UsageError(f"--workers {workers} is not possible; give 1 or more, or 0 to compute in this process")
    return workers


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=torch.device(name))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here: {reason}; cpu always can") from error
    return name


@contextmanager
def _executor(options: argparse.Namespace, workers: int) -> Iterator[Executor]:
    executor: Executor
    if options.executor == "dask":
        executor = _cluster(options.scheduler, workers)
    else:
        executor = executors.LocalExecutor(workers) if workers else executors.InlineExecutor()
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


def _cluster(scheduler: str | None, workers: int) -> Executor:
    try:
        from bench.engine import cluster  # noqa: PLC0415 - Dask is an extra
    except ImportError:
        raise UsageError("--executor dask needs Dask: pip install '.[cluster]'") from None
    return cluster.connect(scheduler, max(workers, 1))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a termination signal end a run as cleanly as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[runner.Progress], None]]:
    """A bar over the blocks with the time left; off a terminal, a line for the first and every twentieth of them."""
    columns = (
        TextColumn("{task.completed}/{task.total} blocks"),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("[dim]{task.fields[last]}"),
    )
    begin, shown = time.monotonic(), -1
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, left="", last="")

        def show(step: runner.Progress) -> None:
            nonlocal shown
            left = _left(time.monotonic() - begin, step)
            last = _outcome(step)
            bar.update(task, completed=step.done, total=step.planned, left=left, last=last)
            if not console.is_terminal and (twentieth := 20 * step.done // step.planned) > shown:
                shown = twentieth
                print(f"{step.done}/{step.planned} blocks, {left}; last: {last}", flush=True)

        yield show


def _left(elapsed: float, step: runner.Progress) -> str:
    """The time left, as what is done took against what it was expected to take."""
    seconds = elapsed / step.expected_done * (step.expected - step.expected_done) if step.expected_done else 0.0
    return f"{timedelta(seconds=round(seconds))} left"


def _outcome(step: runner.Progress) -> str:
    """A finished block in a few words."""
    found = sorted(record.distance for record in step.records if record.status is Status.FOUND)
    middle = f"median {statistics.median(found):.4g}, " if found else ""
    attacked = sum(record.status is not Status.MISCLASSIFIED for record in step.records)
    return f"{step.block.network.name}, {step.block.row.label}: {middle}found {len(found)} of {attacked}"


def _table(records: pd.DataFrame, content: Manifest) -> Table:
    """Medians over all images, misclassified ones being 0, by row and network: of distances, or of lower bounds."""
    summary = metrics.summary(records, content)
    table = Table(
        title="median minimal norm (found rate of the attacked images); ≥ median certified lower bound",
        title_justify="left",
    )
    names = [network["name"] for network in content["networks"]]
    table.add_column("attack")
    for name in names:
        table.add_column(name, justify="right")
    cells = {(row.attack, row.network): f"{row.median:.4g} ({row.found_rate:.0%})" for row in summary.itertuples()}
    bounds = records[records["kind"] != Kind.UPPER].groupby(["attack", "network"], observed=True)["lower"].median()
    for row in bounds.reset_index().itertuples():
        cells[row.attack, row.network] = f"≥ {row.lower:.4g}"
    for row in content["rows"]:
        table.add_row(row["label"], *(cells.get((row["name"], name), "-") for name in names))
    return table


def _list(console: Console, only: str | None) -> None:
    """Show every suite, network and attack."""
    console.print("networks: " + ", ".join(NETWORKS) + ", or path/to/file.py:factory", markup=False)
    console.print("libraries: " + ", ".join([*adapters.base.libraries(), "certify"]), markup=False)
    for name in suites.names() if only is None else [only]:
        suite = suites.load(name)
        table = Table(title=f"suite {name}: {suite.description}", title_justify="left")
        for column in ("name", "attack", "origin", "access", "images", "paper"):
            table.add_column(column)
        for row in suite.rows:
            origin, access, paper = (
                (row.origin, row.method.access, row.method.paper)
                if isinstance(row, AttackSpec)
                else (row.kind, "weights", row.paper)
            )
            table.add_row(row.name, row.label, origin, access, "all" if row.cap is None else f"first {row.cap}", paper)
        console.print(table)
        for hole in suite.holes:
            console.print(f"  no {hole.family} in {hole.norm.label} with {hole.library}: {hole.reason}", markup=False)


def _dry_run(console: Console, chosen: Plan, workers: int) -> None:
    """Show the plan and what it should take."""
    measured = costs.load(chosen.suite.name)
    table = Table(title=f"plan of suite {chosen.suite.name}, {chosen.samples} images", title_justify="left")
    for column in ("attack", "images", "blocks", *(f"{spec.name}, s" for spec in chosen.networks)):
        table.add_column(column, justify="left" if column == "attack" else "right")
    blocks = chosen.blocks()
    seconds = {
        (spec.name, row.name): sum(
            plan.expected_seconds(block, measured)
            for block in blocks
            if block.row.name == row.name and block.network.name == spec.name
        )
        for spec in chosen.networks
        for row in chosen.rows
    }
    for row in chosen.rows:
        n = chosen.images(row)
        count = f"{n} (capped)" if n < chosen.samples else str(n)
        cells = [f"{seconds[spec.name, row.name]:.1f}" for spec in chosen.networks]
        table.add_row(row.label, count, str(-(-n // row.batch)), *cells)
    console.print(table)
    total = timedelta(seconds=round(sum(seconds.values()) / max(workers, 1)))
    print(f"{len(blocks)} blocks, {chosen.records()} records, about {total} with {max(workers, 1)} workers")


if __name__ == "__main__":
    sys.exit(main())
