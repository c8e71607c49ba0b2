"""What a user asks of the engine: plain data that a manifest keeps and that a resumed run is made from again."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Self

import msgspec

import suites
from adapters import own
from bench import data
from bench.data.options import Options
from bench.engine import choice, plan
from bench.engine.choice import Choice
from bench.engine.plan import Plan
from bench.errors import StoreError, UsageError, unknown
from bench.networks import standard
from bench.networks.spec import LIVE, NetworkSpec, specs
from bench.networks.standard import Pair
from bench.plugins import Found, file_path
from bench.specs import AttackSpec, Suite

if TYPE_CHECKING:
    from torch import nn

    from bench.data import Dataset

SEEDS = 2**31
"""Seeds lie below this, as every library takes them."""

LEAST_MOST_WORKERS, WORKERS_OF_A_CORE = 64, 4
"""More worker processes than these only take each other's memory and time: 64, or 4 of a core where that is more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to run. Every part is text or a number, and written to the manifest as it is.

    Attributes:
        suite: a suite's name, ``file.py`` or ``module:object``.
        networks: each as :func:`bench.networks.specs` takes it; empty for the suite's own.
        weights: a file of weights for the user's network among them.
        normalize: means and deviations by which the user's networks standardise their inputs.
        data: a dataset as :func:`bench.data.find` takes it; empty for the suite's own.
        box, class_names, label, resize, crop, data_root, download: how it is read, see :class:`bench.data.Options`.
        split: a split of the dataset; empty for its usual one.
        samples: how many images; None for as many as the suite says.
        indices: of the images in the split, in place of those that are drawn; None for these.
        balanced: whether to take as many images of each class.
        first: whether to take the first images, in place of those that are drawn.
        norms, libraries, attacks: which rows of the suite; None for all.
        exact: seconds per image for exact searches; 0 leaves them out; None for each row's own.
        full: whether rows with a cap get every image.
        seed: of everything, the draw of images too; below 2**31.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        time_limit: seconds of wall time per image and row.
        minutes: wall time of the run, by which images and rows are chosen; None for all of them.
    """

    suite: str
    networks: tuple[str, ...] = ()
    weights: str | None = None
    normalize: Pair | None = None
    data: str = ""
    box: tuple[float, float] | None = None
    class_names: str | None = None
    label: str | None = None
    resize: int | None = None
    crop: int | None = None
    data_root: str | None = None
    download: bool = False
    split: str = ""
    samples: int | None = None
    indices: tuple[int, ...] | None = None
    balanced: bool = False
    first: bool = False
    norms: tuple[str, ...] | None = None
    libraries: tuple[str, ...] | None = None
    attacks: tuple[str, ...] | None = None
    exact: float | None = None
    full: bool = False
    seed: int = 0
    device: str = "auto"
    time_limit: float = 600.0
    minutes: float | None = None

    def options(self, networks: Sequence[NetworkSpec]) -> Options:
        """How the dataset is read.

        Args:
            networks: of the request: ``download`` is for weights that a library brings to them, too.

        Raises:
            UsageError: a number is not possible.
        """
        found = Options(**{item.name: getattr(self, item.name) for item in fields(Options)})
        for_data = self.data.startswith(data.TORCHVISION) or not any(spec.pretrained for spec in networks)
        return found if for_data else replace(found, download=False)

    def to_json(self) -> dict[str, Any]:
        """For the manifest; :meth:`from_json` reads it."""
        content = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The request that :meth:`to_json` wrote.

        Raises:
            StoreError: it is none.
        """
        extra = set(content) - {item.name for item in fields(cls)}
        if extra:
            raise StoreError(
                f"the request in the manifest has {', '.join(sorted(extra))}, which is unknown; start a new run"
            )
        try:
            return msgspec.convert(content, cls)
        except msgspec.ValidationError as error:
            raise StoreError(f"the request in the manifest cannot be read ({error}); start a new run") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Objects of the calling program that a request names, where no file and no name leads to them.

    Attributes:
        suite: in place of the one that the request names.
        dataset: in place of the one that the request names.
        networks: modules by name; a request names them ``live:<name>``.
    """

    suite: Suite | None = None
    dataset: Dataset | None = None
    networks: Mapping[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request with every name resolved.

    Attributes:
        request: as asked, with relative paths made absolute.
        plan: its blocks.
        dataset: where its images are from.
        split: of the dataset.
        chosen: how its images were chosen, see :class:`bench.engine.choice.Chosen`.
        sources: every user's file that was executed, by what it was executed for, such as ``suite mine``.
    """

    request: Request
    plan: Plan
    dataset: Dataset
    split: str
    chosen: str
    sources: Mapping[str, Found]


def resolve(request: Request, given: Given | None = None) -> Job:
    """Find everything that a request names, and check its numbers. No network is loaded, and of images their labels only.

    Raises:
        BenchError: a name is unknown, a number is not possible, or nothing is left to run.
    """
    given = given or Given()
    _check_numbers(request)
    sources: dict[str, Found] = {}
    suite, place = (
        (suites.usable(given.suite, given.suite.name), f"{LIVE}{given.suite.name}")
        if given.suite
        else _suite(request.suite, sources)
    )
    rows = plan.choose(
        plan.with_exact(plan.with_norms(suite, request.norms), request.exact),
        norms=request.norms,
        libraries=request.libraries,
        attacks=request.attacks,
    )
    if request.full:
        rows = tuple(replace(row, cap=None) for row in rows)
    for row in rows:
        if (
            row.library == own.LIBRARY.name
            and isinstance(row, AttackSpec)
            and not row.target.startswith(own.LIVE_PREFIX)
        ):
            _keep(f"attack {row.name}", own.ATTACKS.find(row.target), sources)
    networks = specs(request.networks or suite.networks, request.weights, request.normalize)
    if not networks:
        raise UsageError(f"suite {suite.name!r} names no network; give one with --networks")
    for spec in networks:
        if spec.live and spec.name not in given.networks:
            raise UsageError(
                f"network {spec.name} was a module of the program that started the run; go on with "
                "bench.evaluate(..., out=...) from there, or start a new run with --networks file.py:factory"
            )
    wanted = request.data or suite.data
    dataset, source = (
        (given.dataset, wanted)
        if given.dataset
        else _dataset(wanted, replace(request, data=wanted).options(networks), sources)
    )
    if request.normalize is not None:
        standard.shaped(request.normalize, dataset.domain)
    split = _split(dataset, request.split)
    asked = Choice(
        request.samples, suite.samples, request.indices, request.balanced, first=request.first, seed=request.seed
    )
    chosen = choice.choose(dataset, split, asked)
    return Job(
        request=replace(
            request,
            suite=place,
            networks=tuple(spec.text for spec in networks),
            weights=None,
            data=source,
            split=split,
            samples=len(chosen.indices) if request.indices is None else None,
            class_names=_absolute(request.class_names, "--class-names"),
            data_root=_absolute(request.data_root, "--data-root"),
        ),
        plan=Plan(
            suite=suite,
            rows=rows,
            holes=plan.holes(suite, rows),
            networks=networks,
            indices=chosen.indices,
            seed=request.seed,
            time_limit=request.time_limit,
        ),
        dataset=dataset,
        split=split,
        chosen=chosen.words,
        sources=sources,
    )


def check_name(name: str) -> str:
    """A run's name, if it can be a folder's name inside the results folder.

    Raises:
        UsageError: it is empty, too long, or holds anything but letters, digits, ``_``, ``.`` and ``-``.
    """
    if not re.fullmatch(r"[\w][\w.-]{0,99}", name) or ".." in name:
        raise UsageError(
            f"{name!r} cannot name a run; use up to 100 letters, digits, '_', '.' and '-', beginning with a letter or digit"
        )
    return name


def processes(workers: int | None) -> int:
    """How many worker processes: as asked, one for each core for None; 0 computes in this process.

    Raises:
        UsageError: fewer than none, or far more than there are cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(LEAST_MOST_WORKERS, WORKERS_OF_A_CORE * cores)
    if workers is not None and not 0 <= workers <= most:
        raise UsageError(
            f"--workers {workers} is not possible; there are {cores} cores: give 1 to {most}, or 0 to compute in this process"
        )
    return cores if workers is None else workers


def _check_numbers(request: Request) -> None:
    if not (request.time_limit > 0 and math.isfinite(request.time_limit)):
        raise UsageError(
            f"--time-limit {request.time_limit:g} is not possible; give a finite number of seconds above 0"
        )
    if request.minutes is not None and not (request.minutes > 0 and math.isfinite(request.minutes)):
        raise UsageError(f"--minutes {request.minutes:g} is not possible; give a finite number above 0")
    if not 0 <= request.seed < SEEDS:
        raise UsageError(f"--seed {request.seed} is not possible; give a whole number from 0 to {SEEDS - 1}")
    if request.exact is not None and not (request.exact >= 0 and math.isfinite(request.exact)):
        raise UsageError(f"--exact {request.exact:g} is not possible; give seconds, or 0 to leave the exact search out")


def _suite(text: str, sources: dict[str, Found]) -> tuple[Suite, str]:
    if not text:
        raise UsageError(f"--suite is missing; known: {', '.join(suites.names())}")
    _require_named("suite", text)
    found = suites.SUITES.find(text)
    _keep(f"suite {found.name}", found, sources)
    return suites.usable(found.value, text), found.source


def _absolute(path: str | None, option: str) -> str | None:
    """A path that leads there from any folder."""
    return None if path is None else str(file_path(path, option))


def _dataset(text: str, options: Options, sources: dict[str, Found]) -> tuple[Dataset, str]:
    _require_named("dataset", text)
    dataset, found = data.located(text, options)
    _keep(f"data {found.name}", found, sources)
    return dataset, found.source


def _require_named(what: str, text: str) -> None:
    if text.startswith(LIVE):
        raise UsageError(
            f"the {what} {text.removeprefix(LIVE)} was made by the program that started the run; go on with "
            "bench.evaluate(..., out=...) from there, or start a new run"
        )


def _keep(what: str, found: Found, sources: dict[str, Found]) -> None:
    """Keep what was found among the sources, where it is a user's."""
    if found.sha256 is not None:
        sources[what] = found


def _split(dataset: Dataset, name: str) -> str:
    if not name:
        return dataset.usual_split
    if name not in dataset.splits:
        raise unknown(f"split of {dataset.title}", name, dataset.splits)
    return name
