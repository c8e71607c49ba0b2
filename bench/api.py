"""The bench from Python: a network and some images in, distances, figures and a report out.

::

    import bench

    result = bench.evaluate(network, images, labels, box=(0, 255), norms=["l2", "linf"])
    result.distances("l2")
    result.robust_accuracy("linf", eps=8)
    result.to_html("report.html")
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from rich.console import Console
from torch import nn

import suites
from adapters import own
from bench import data, metrics, networks, report, store, verdict
from bench.data import Dataset
from bench.engine import session
from bench.engine.request import Given, Request
from bench.engine.session import How
from bench.engine.watch import Watch
from bench.errors import NetworkError, UsageError, unknown
from bench.findings import Level
from bench.guard import Guarded, device_of
from bench.metrics import Evidence, Leader
from bench.networks.spec import LIVE
from bench.networks.standard import Pair
from bench.norms import Norm
from bench.plots import PLOTS
from bench.progress import watching
from bench.report import figures, page, sources
from bench.report.frames import Frames
from bench.specs import AttackSpec, Row, Suite, VerifierSpec
from bench.store import Run
from bench.usercode import kept
from bench.verdict import CheckResult

Attack = str | AttackSpec | VerifierSpec | Callable[..., Any]


class InterruptedRunWarning(UserWarning):
    """A run was interrupted; its result holds what was done until then."""


def evaluate(
    network: nn.Module | str | Mapping[str, nn.Module | str],
    images: Any = None,
    labels: Any = None,
    *,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    suite: str | Suite = "quick",
    norms: Sequence[str] | None = None,
    libraries: Sequence[str] | None = None,
    attacks: Sequence[Attack] | None = None,
    samples: int | None = None,
    first: bool = False,
    split: str = "",
    exact: float | None = None,
    full: bool = False,
    seed: int = 0,
    device: str | None = None,
    workers: int | None = None,
    time_limit: float = 600.0,
    minutes: float | None = None,
    normalize: tuple[ArrayLike, ArrayLike] | None = None,
    download: bool = False,
    out: Path | str | None = None,
    progress: bool = True,
    **domain: Any,
) -> Result:
    """Attack networks image by image, and measure how small a change makes each image wrong.

    The networks stay as they are: copies are attacked, in eval mode. Images that a network misclassifies have distance 0
    and are not attacked.

    Args:
        network: a module from (n, *shape) float32 images, in ``box``, to (n, classes) logits; a network's name, such as
            ``CNN``, or ``file.py:factory``, ``torchvision:resnet18``, ``onnx:file.onnx``, with arguments and weights as on the
            command line; or several of these by name.
        images: (n, *shape) numbers, an array or a tensor; a torch ``Dataset`` or ``DataLoader`` of images with labels; a
            :class:`bench.data.Dataset`; or a dataset's name, such as ``mnist``, which is also what None means.
        labels: (n,) integers, where ``images`` has none.
        box: lowest and highest value of an input: numbers, or arrays that broadcast to ``shape``, such as one value for
            each feature. None: 0 to 255 for uint8, 0 to 1 for floats that all lie there.
        suite: which attacks, see ``python -m bench.run --list``: a name, ``file.py``, or a :class:`bench.specs.Suite`.
        norms: ``l0``, ``l1``, ``l2``, ``linf``, of those that the suite has; None for all of them.
        libraries: ``art``, ``foolbox``, ``paper``, ``certify``; None for all of the suite.
        attacks: names of rows or patterns such as ``foolbox-*``, rows (``suites.rows(norm="l2")``), and functions of one's
            own ``f(network, images, labels)``, which run in every norm that is asked for (see :mod:`adapters.own`); None
            for all of the suite.
        samples: so many images, drawn with the seed, each class in its proportion; None for all that are given, or as many
            as the suite says of a named dataset.
        first: whether to take the first ``samples`` images, in place of a random sample.
        split: of a dataset that has several; empty for its usual one.
        exact: seconds per image for exact distances on small networks; None for what the suite says.
        full: run expensive attacks on every image too.
        seed: from 0 to 2**31 - 1; the same call gives the same records.
        device: ``cpu``, ``cuda``, ...; None for the device of the networks.
        workers: processes; 0 computes in this process; None for one for each core, or for this process where the networks
            are on another device than the CPU or cannot be sent.
        time_limit: seconds of wall time per image and attack, in worker processes.
        minutes: wall time of the run: as many images, and attacks, as there is time for; None for all.
        normalize: mean and deviation, a number each or one for each channel or feature: ``(input - mean) / deviation`` is put
            into every network but those of the bench, so that distances stay in the units of ``images``.
        download: whether trained weights of ``torchvision:`` and ``timm:`` networks may be downloaded.
        out: a folder for the run; if it holds an unfinished run of the same call, that one goes on. None keeps the run in
            a temporary folder as long as the result lives.
        progress: whether to show a bar.
        domain: ``classes``, ``class_names``, ``feature_names``, ``channel_axis``, ``unit``, ``name`` and ``title`` as in
            :func:`bench.data.from_arrays`.

    Returns:
        The result. After Ctrl-C it holds what was done, and an :class:`.InterruptedRunWarning` says so.

    Raises:
        BenchError: something given is not possible; one line says what, and what is.
    """
    named = dict(network) if isinstance(network, Mapping) else {_name(network): network}
    if not named:
        raise UsageError("no network is given; give a module, a name, or several by name")
    modules = {name: item for name, item in named.items() if isinstance(item, nn.Module)}
    device = device or _device(modules)
    dataset, given_size = _dataset(images, labels, box, domain, modules)
    chosen_suite, patterns = _suite(suite, attacks, norms)
    workers = _workers(workers, modules, device, chosen_suite, quiet=not progress)
    request = Request(
        suite=suite if isinstance(suite, str) else suite.name,
        networks=tuple(_text(name, item) for name, item in named.items()),
        data=images if isinstance(images, str) else "mnist" if images is None else f"{LIVE}{dataset.name}",
        split=split,
        samples=samples if samples is not None else given_size,
        first=first,
        norms=None if norms is None else tuple(norms),
        libraries=None if libraries is None else tuple(libraries),
        attacks=patterns,
        exact=exact,
        full=full,
        seed=seed,
        device=device,
        time_limit=time_limit,
        minutes=minutes,
        normalize=None if normalize is None else _pair(normalize),
        download=download,
    )
    given = Given(
        # What has a name is found again by it, also by a later program.
        suite=None if isinstance(suite, str) and chosen_suite == suites.load(suite) else chosen_suite,
        dataset=None if images is None or isinstance(images, str) else dataset,
        networks=modules,
    )
    temporary = None if out is not None else tempfile.mkdtemp(prefix="bench-run-")
    path = Path(temporary) / "run" if temporary is not None else Path(str(out))
    try:
        with _shown(progress) as watch, _untouched(modules):
            run = session.run(request, path, how=How(workers=workers), given=given, watch=watch)
    except BaseException:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    if run.manifest["status"] == "interrupted":
        advice = (
            "call evaluate again with the same arguments to go on" if out is not None else "give out= to go on later"
        )
        warnings.warn(f"interrupted; the result holds what was done; {advice}", InterruptedRunWarning, stacklevel=2)
    return Result(run, temporary)


def open_run(path: Path | str) -> Result:
    """The result of a stored run.

    Args:
        path: its folder, ``results/<run>``.

    Raises:
        StoreError: the folder is no run, or is damaged.
    """
    return Result(store.read(path))


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """What a run says of one network.

    Attributes:
        name: the network's.
        verdict: whether its distances can be trusted: the worst level of its checks.
        checks: every check with its outcome and the numbers that it rests on.
        summary: the lines of :meth:`.Result.summary` about it.
        medians: the median minimal norm by norm, over all images, misclassified ones at 0.
    """

    name: str
    verdict: Level
    checks: tuple[CheckResult, ...]
    summary: pd.DataFrame
    medians: Mapping[str, float]


class Result:
    """A run's records, and what follows from them.

    Attributes:
        run: the stored run.
    """

    def __init__(self, run: Run, temporary: str | None = None) -> None:
        self.run = run
        if temporary is not None:
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)

    def __repr__(self) -> str:
        """The run in a line, and the medians."""
        content = self.run.manifest
        head = f"{content['suite']['name']} on {content['samples']} images of {content['data']['title']}: {content['status']}"
        return f"{head}\n{self.medians().to_string()}"

    def _repr_html_(self) -> str:
        """For notebooks: the first screen of the report in short. :meth:`plot` draws its figures."""
        return page.card(self._frames, sources.single(self.run), self.checks)

    @cached_property
    def _frames(self) -> Frames:
        return Frames(self.evidence, verdict.failing(self.checks, self.networks))

    @cached_property
    def records(self) -> pd.DataFrame:
        """One line per (network, attack, image): see ``docs/store.md`` for the columns."""
        return self.run.records()

    @cached_property
    def evidence(self) -> Evidence:
        """What metrics read: ``bench.metrics.METRICS[name](result.evidence)`` is any of them."""
        return metrics.evidence(self.records, self.run.manifest)

    @cached_property
    def checks(self) -> list[CheckResult]:
        """Every check on every network."""
        return verdict.findings(self.evidence, self.run.manifest)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks' names."""
        return self.evidence.networks

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that attacks of the run minimised."""
        return tuple(norm.value for norm in self.evidence.norms)

    def distances(self, norm: str) -> pd.DataFrame:
        """The smallest known distance of every image: networks x images.

        Args:
            norm: one of :attr:`norms`.

        Returns:
            Float64, in the units of the data (widths of the box where features have boxes of their own): 0 for
            misclassified images, +inf where nothing was found. Columns are the images' indices in the split.
        """
        return self._best(norm).pivot_table(
            index="network", columns="image", values="distance", observed=False, aggfunc="first"
        )

    def lower_bounds(self, norm: str) -> pd.DataFrame:
        """The largest certified lower bound of every image, networks x images; 0 where nothing is certified."""
        return self._best(norm).pivot_table(
            index="network", columns="image", values="lower", observed=False, aggfunc="first"
        )

    def medians(self) -> pd.DataFrame:
        """The median minimal norm: networks x norms."""
        return pd.DataFrame(
            {norm: self.distances(norm).apply(metrics.median, axis=1) for norm in self.norms}, index=list(self.networks)
        )

    def robust_accuracy(self, norm: str, eps: float | Sequence[float]) -> pd.DataFrame:
        """The fraction of images that no known change of size ``eps`` or less makes wrong.

        Args:
            norm: one of :attr:`norms`.
            eps: one or several, in the units of distances.

        Returns:
            Networks x eps, from 0 to 1: an upper bound of the true robust accuracy.
        """
        values = np.atleast_1d(np.asarray(eps, dtype=np.float64))
        found = {
            network: metrics.robust_accuracy(line.dropna().to_numpy(), values)
            for network, line in self.distances(norm).iterrows()
        }
        return pd.DataFrame.from_dict(found, orient="index", columns=list(values))

    def summary(self) -> pd.DataFrame:
        """One line per (network, attack): its distances, found rate, cost and quality."""
        return metrics.METRICS["summary"](self.evidence)

    def leaders(self) -> tuple[Leader, ...]:
        """For each norm the network with the largest median distance, and how sure that is."""
        return tuple(metrics.leaders(self.evidence, verdict.failing(self.checks, self.networks)))

    def network(self, name: str) -> NetworkResult:
        """What the run says of one network: its verdict, checks and distances.

        Raises:
            UsageError: there is no such network.
        """
        if name not in self.networks:
            raise unknown("network", name, self.networks)
        summary, medians = self.summary(), self.medians().loc[name]
        return NetworkResult(
            name,
            verdict.overall(self.checks, name),
            tuple(check for check in self.checks if check.network == name),
            summary[summary["network"] == name].reset_index(drop=True),
            {norm: float(median) for norm, median in zip(self.norms, medians.to_numpy(dtype=np.float64), strict=True)},
        )

    def plot(self, name: str, norm: str | None = None) -> Figure:
        """A figure of the report.

        Args:
            name: one of ``bench.plots.PLOTS``, such as ``accuracy``.
            norm: one of :attr:`norms`; None for the first that it has data for.

        Raises:
            UsageError: there is no such figure, or this run has no data for it.
        """
        if name not in PLOTS:
            raise unknown("plot", name, PLOTS)
        frames = self._frames
        content = frames[PLOTS[name].metric]
        with_data = [each for each in self.evidence.norms if (content["norm"] == each.value).any()]
        wanted = [each for each in with_data if norm is None or each.value == norm.lower()]
        if not wanted:
            known = ", ".join(each.value for each in with_data) or "no norm"
            raise UsageError(f"plot {name!r} has no data in {norm or 'any norm'}; this run has data in {known}")
        from bench.plots import drawing  # noqa: PLC0415 - a context of its own

        with drawing():
            return figures.drawn(name, frames, wanted[0])

    def save(self, path: Path | str) -> Path:
        """Copy the run to a folder, from which :func:`open_run` and ``python -m bench.report`` read it.

        Raises:
            UsageError: the folder is there already.
        """
        target = Path(path)
        if target.exists():
            raise UsageError(f"{target} is there already; give another folder, or delete it")
        shutil.copytree(self.run.path, target, ignore=shutil.ignore_patterns(".lock"))
        return target

    def to_html(self, path: Path | str) -> Path:
        """Write the report as one self-contained page.

        Args:
            path: the file.

        Returns:
            The path.
        """
        source = sources.single(self.run)
        frames, found = report.prepared(source)
        target = Path(path)
        target.write_text(report.page_of(source, frames, found), encoding="utf-8")
        return target

    def _best(self, norm: str) -> pd.DataFrame:
        if norm.lower() not in self.norms:
            raise unknown("norm", norm, self.norms)
        best = self.evidence.best
        return best[best["norm"] == norm.lower()]


def _name(network: object) -> str:
    if isinstance(network, str):
        return networks.specs([network])[0].name
    return "network" if isinstance(network, nn.Module) else str(type(network).__name__)


def _text(name: str, item: object) -> str:
    """A network as a request names it."""
    if isinstance(item, nn.Module):
        return f"{name}={LIVE}{name}"
    if isinstance(item, str):
        (spec,) = networks.specs([item])
        if spec.source is not None:
            return replace(spec, name=name).text
        return item if spec.name == name else f"{name}={item}"
    raise UsageError(f"network {name!r} is a {type(item).__name__}; give a torch.nn.Module, a name or file.py:factory")


def _pair(normalize: tuple[ArrayLike, ArrayLike]) -> Pair:
    """Mean and deviation as a request has them."""
    try:
        mean, std = (tuple(np.asarray(part, dtype=np.float64).ravel().tolist()) for part in normalize)
    except (TypeError, ValueError):
        raise UsageError(
            f"normalize={normalize!r} is not possible; give (mean, deviation), a number each or one for each channel"
        ) from None
    return mean, std


def _device(modules: Mapping[str, nn.Module]) -> str:
    """The device that the networks are on."""
    found = {str(value.device) for module in modules.values() for value in module.parameters()}
    if len(found) > 1:
        raise UsageError(f"the networks are on several devices ({', '.join(sorted(found))}); give device=")
    return found.pop() if found else "cpu"


def _dataset(
    images: Any, labels: Any, box: Any, domain: Mapping[str, Any], modules: Mapping[str, nn.Module]
) -> tuple[Dataset, int | None]:
    """The images as a dataset, and how many were given where the caller chose them."""
    if images is None or isinstance(images, str | Dataset):
        if labels is not None or box is not None or domain:
            raise UsageError("labels, box and what else describes images go with images that are given as arrays")
        return (images if isinstance(images, Dataset) else data.find(images or "mnist")), None
    known = {"classes", "class_names", "feature_names", "channel_axis", "unit", "name", "title"}
    for name in domain:
        if name not in known:
            raise unknown("argument", name, sorted(known))
    dataset = data.from_arrays(images, labels, box=box, **domain)
    if "classes" not in domain:
        # A few images seldom show every class that a network has.
        classes = max([dataset.domain.classes, *(_classes(module, dataset) for module in modules.values())])
        dataset = replace(dataset, domain=replace(dataset.domain, classes=classes))
    return dataset, dataset.splits[data.WHOLE].size


def _classes(module: nn.Module, dataset: Dataset) -> int:
    """How many logits a network has; 0 where it cannot be asked, which the checks before a run report."""
    device = device_of(module)
    inputs, _ = dataset.load(data.WHOLE, [0])
    try:
        with networks.live({"asked": module}), torch.no_grad():
            guarded = Guarded(
                networks.load(networks.NetworkSpec("asked", f"{LIVE}asked"), device, dataset.domain), kept
            )
            return int(guarded(torch.from_numpy(np.repeat(inputs, 2, axis=0)).to(device)).shape[1])
    except Exception:
        return 0


def _suite(
    suite: str | Suite, attacks: Sequence[Attack] | None, norms: Sequence[str] | None
) -> tuple[Suite, tuple[str, ...] | None]:
    """The suite with the rows and functions that were given, and the patterns that choose among its rows."""
    found = suite if isinstance(suite, Suite) else suites.load(suite)
    if attacks is None:
        return found, None
    patterns = [attack for attack in attacks if isinstance(attack, str)]
    rows: list[Row] = [attack for attack in attacks if isinstance(attack, AttackSpec | VerifierSpec)]
    for norm in norms or ():
        if norm.lower() not in set(Norm):
            raise unknown("norm", norm, Norm)
    wanted = [Norm(norm.lower()) for norm in norms] if norms is not None else sorted({row.norm for row in found.rows})
    for attack in attacks:
        if callable(attack) and not isinstance(attack, AttackSpec | VerifierSpec):
            rows += [own.row(attack, norm=norm) for norm in wanted]
        elif not isinstance(attack, str | AttackSpec | VerifierSpec):
            raise UsageError(f"attack {attack!r} is none: give names, patterns, rows or functions")
    if not rows:
        return found, tuple(patterns)
    names = [row.name for row in rows]
    kept = tuple(row for row in found.rows if row.name not in names) if patterns else ()
    on_request = found.on_request if patterns else ()
    return replace(found, rows=(*kept, *rows), on_request=on_request), (*patterns, *names) if patterns else None


def _workers(
    workers: int | None, modules: Mapping[str, nn.Module], device: str, suite: Suite, *, quiet: bool
) -> int | None:
    """How many processes; none where the networks or the attacks cannot be sent to any."""
    if workers == 0:
        return 0
    reasons = [
        f"network {name} cannot be sent to other processes ({why})"
        for name, module in modules.items()
        if (why := networks.sendable(module))
    ]
    reasons += [
        f"attack {row.name} is a function that no file has"
        for row in suite.rows
        if isinstance(row, AttackSpec) and row.target.startswith(own.LIVE_PREFIX)
    ]
    if workers is None and device != "cpu":
        return 0
    if reasons and not quiet:
        print(f"computing in this process: {reasons[0]}", file=sys.stderr)
    return 0 if reasons else workers


@contextmanager
def _untouched(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Check that a run leaves the caller's random state as it was, whatever is computed in this process."""
    with torch.random.fork_rng(devices=_cuda(modules)):
        import random  # noqa: PLC0415 - only here

        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the libraries draw from the global state
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as above


def _cuda(modules: Mapping[str, nn.Module]) -> list[int]:
    devices = {value.device for module in modules.values() for value in module.parameters()}
    return sorted({device.index or 0 for device in devices if device.type == "cuda"})


@contextmanager
def _shown(progress: bool) -> Iterator[Watch]:
    if not progress:
        with nullcontext():
            yield Watch(warn=_warned, tell=_told)
        return
    with watching(Console(stderr=True)) as watch:
        yield watch


def _told(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def _warned(network: str, message: str) -> None:
    warnings.warn(f"network {network}: {message}", stacklevel=2)


__all__ = ["InterruptedRunWarning", "NetworkError", "NetworkResult", "Result", "evaluate", "open_run"]
