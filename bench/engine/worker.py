"""A worker's task: attack, or bound, one block of images and judge what comes back."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters.layout import laid_out
from bench import libraries, networks
from bench.domain import Domain
from bench.engine.devices import deterministic, now
from bench.engine.provenance import decisive
from bench.engine.queries import CountedNetwork, CurveNetwork, PointsNetwork, WatchedNetwork
from bench.engine.task import Task
from bench.errors import BenchError, MachineError, NetworkError, cause
from bench.guard import Guarded
from bench.judge import Decision, Judge, Judgement
from bench.norms import L0_TOLERANCE, Norm
from bench.problem import Problem, Unsupported, in_unit_box, problem
from bench.records import Record, Status
from bench.specs import Access, AttackSpec, Coupling, VerifierSpec
from bench.usercode import kept

MESSAGE_LENGTH = 500

MODELS = 8
"""How many networks a process keeps ready."""


@dataclass(frozen=True, slots=True)
class Part:
    """A block's results: one record per image, and the adversarial examples by image index."""

    records: tuple[Record, ...]
    candidates: dict[int, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one call made of some images, and what it cost per image.

    Attributes:
        candidates: (n, *shape) in the domain's box, or whatever else the attack returned.
        lower: certified lower bounds (n,) in the units of distances, zeros for an attack.
        status, message: set when the call failed.
        seconds, forwards, backwards: per image.
        seen: (n, *shape) in the domain's box, the nearest adversarial points that the network saw, NaN where there was
            none; None where nothing was watched.
        curve: (counts, n) distances in the units of distances, as in :class:`bench.records.Record`; None where nothing
            was noted.
    """

    candidates: object
    lower: NDArray[np.float64]
    seconds: float
    forwards: float
    backwards: float
    status: Status | None = None
    message: str = ""
    seen: object = None
    curve: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class _Model:
    """A network in the forms in which a worker needs it.

    Attributes:
        plain: as the user made it, in eval mode: what verifiers read.
        lean: what attacks call, a copy whose convolutions are laid out for speed.
        judge: decides on a float64 copy.
        decisions: on clean images, by the SHA-256 of their bytes and their labels; every row of a network needs them.
    """

    plain: nn.Module
    lean: Guarded
    judge: Judge
    decisions: dict[tuple[bytes, int], Decision] = field(default_factory=dict)

    def decide(self, inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Decision]:
        """The judge's decision on each clean image, made once."""
        # A process meets all images of a run: it keeps none of them.
        keys = [(sha256(image.tobytes()).digest(), int(label)) for image, label in zip(inputs, labels, strict=True)]
        missing = [i for i, key in enumerate(keys) if key not in self.decisions]
        made = self.judge.decide(inputs[missing], labels[missing])
        self.decisions.update(zip((keys[i] for i in missing), made, strict=True))
        return [self.decisions[key] for key in keys]


class _Models:
    """The networks that this process has loaded, the latest last."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[object, ...], _Model] = {}

    def of(self, task: Task) -> _Model:
        """The network of a task.

        Raises:
            NetworkError: it cannot be loaded, or is another one than the run began with.
        """
        key = (task.block.network, task.device, task.expected.identity.state, task.expected.changes, task.domain)
        model = self._loaded.pop(key, None) or _load(task)
        self._loaded[key] = model
        while len(self._loaded) > MODELS:
            del self._loaded[next(iter(self._loaded))]
        return model

    def forget(self) -> None:
        """Let all networks go."""
        self._loaded.clear()


MODELS_OF_THIS_PROCESS = _Models()


def run(task: Task) -> Part:
    """Compute a block.

    Misclassified images are never attacked. When a call raises, its images are tried again one by one, so that
    one bad image never spoils its neighbours.

    Returns:
        Exactly one record for every image of the block, in its order.

    Raises:
        BenchError: the network cannot be loaded, or is another one than the run began with.
    """
    with deterministic(task.device):
        return _computed(task)


def _computed(task: Task) -> Part:
    """What :func:`run` returns."""
    model = MODELS_OF_THIS_PROCESS.of(task)
    decisions = model.decide(task.inputs, task.labels)
    attacked = [i for i, decision in enumerate(decisions) if decision.finite and not decision.wrong]
    records = {i: _untouched(task, i, decisions[i]) for i in range(len(task)) if i not in attacked}
    candidates: dict[int, NDArray[np.float32]] = {}
    for chosen, proposal in _proposals(task, model, attacked):
        judgements = _judgements(model.judge, task.inputs[chosen], task.labels[chosen], proposal)
        seen = _best_seen(model.judge, task, chosen, judgements, proposal)
        for position, (i, judgement) in enumerate(zip(chosen, judgements, strict=True)):
            made = _record(task, i, decisions[i], judgement, proposal)
            curve = None if proposal.curve is None else tuple(proposal.curve[:, position].tolist())
            lower = float(proposal.lower[position])
            records[i] = replace(made, lower=lower, best_seen=seen[position], curve=curve)
            if judgement.candidate is not None:
                candidates[task.block.images[i]] = judgement.candidate
    return Part(tuple(records[i] for i in range(len(task))), candidates)


def failed(task: Task, status: Status, message: str) -> Part:
    """The part of a block whose process died or ran out of time: a record with the reason for every image.

    Raises:
        BenchError: the network cannot be loaded.
    """
    decisions = MODELS_OF_THIS_PROCESS.of(task).decide(task.inputs, task.labels)
    seconds = task.limit if status is Status.TIMEOUT else 0.0
    proposal = Proposal(None, np.zeros(len(task)), seconds, 0.0, 0.0)
    judgement = Judgement(status, message=message)
    return Part(
        tuple(
            _untouched(task, i, decision)
            if decision.wrong or not decision.finite
            else _record(task, i, decision, judgement, proposal)
            for i, decision in enumerate(decisions)
        ),
        {},
    )


def _load(task: Task) -> _Model:
    spec, expected = task.block.network, task.expected
    _check_code(task)
    source = networks.source(spec, task.device, task.domain)
    if difference := expected.identity.difference(source.identity(task.domain)):
        raise NetworkError(
            f"network {spec.name} is not the one that the run began with: {difference}; its file or its weights changed "
            "meanwhile, or differ on this machine"
        )
    # The judge's copy comes first: what attacks do to theirs is nothing to it.
    judge = Judge(Guarded(source.module, source.within), task.domain)
    lean = Guarded(laid_out(source.module), source.guard(expected.changes))
    return _Model(source.module, lean, judge)


def _check_code(task: Task) -> None:
    """Refuse to compute with other code or other packages than the run began with."""
    found = decisive([libraries.load(task.block.row.library)])
    for name, wanted in task.expected.decisive.items():
        if found.get(name, wanted) != wanted:
            raise MachineError(
                f"{name} is not what the run began with: {found[name][:12]}, expected {wanted[:12]}; it changed meanwhile, or "
                "differs on this machine. Restore it and go on with --resume, or start a new run"
            )


def _proposals(task: Task, model: _Model, attacked: list[int]) -> Iterator[tuple[list[int], Proposal]]:
    """One call for as many attacked images as the row takes, or one for each image where that call raises."""
    row = task.block.row
    # Images that draw from one stream of random numbers stay together, as far as memory allows it on every machine.
    most = row.batch if isinstance(row, AttackSpec) and row.coupling is not Coupling.NOISE else None
    most = task.domain.at_once(most or max(len(attacked), 1))
    for first in range(0, len(attacked), most):
        chosen = attacked[first : first + most]
        together = _propose(task, model, chosen)
        if together.status is not Status.ERROR or len(chosen) == 1:
            yield chosen, together
        else:
            yield from (([i], _propose(task, model, [i])) for i in chosen)


def _propose(task: Task, model: _Model, chosen: list[int]) -> Proposal:
    """Call the attack or the verifier once, on copies of the images."""
    row, domain = task.block.row, task.domain
    library = libraries.load(row.library)
    inputs, labels, starts = (
        torch.from_numpy(values[chosen]).to(task.device) for values in (task.inputs, task.labels, task.starts)
    )
    asked = problem(model.plain, inputs, labels, domain, starts=starts, seed=task.block.seed)
    counted = CountedNetwork(model.lean)
    if isinstance(row, AttackSpec):
        asked, counted = _watched(row, model, asked)
    clean = asked.images.numpy(force=True).copy()
    # Importing a library is no part of an attack's cost.
    place = library.attacker if isinstance(row, AttackSpec) else library.verifier
    engine = libraries.part(library, place)
    status, message, lower = None, "", np.zeros(len(chosen))
    candidates: object = None
    start = now(task.device)
    try:
        with kept():
            _seed(task.block.seed)
            if isinstance(row, AttackSpec):
                candidates = engine.attack(row, asked)
            else:
                candidates, lower = _bound(engine, row, asked)
    except Unsupported as error:
        status, message = Status.UNSUPPORTED, str(error)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        if cause(error) is not None:
            raise
        status, message = Status.ERROR, _reason(error)
    seconds = now(task.device) - start
    model.lean.eval()
    seen: object = None
    if isinstance(counted, WatchedNetwork):
        seconds -= counted.spent
    if isinstance(counted, PointsNetwork):
        seen = _in_the_box(counted.points, task.inputs[chosen], clean, domain)
    n = len(chosen)
    return Proposal(
        _in_the_box(candidates, task.inputs[chosen], clean, domain),
        lower * domain.scale(row.norm),
        seconds / n,
        counted.forwards / n,
        counted.backwards / n,
        status=status,
        message=message,
        seen=seen,
        curve=counted.curve * domain.scale(row.norm) if isinstance(counted, CurveNetwork) else None,
    )


def _watched(row: AttackSpec, model: _Model, asked: Problem) -> tuple[Problem, WatchedNetwork]:
    """A problem with a network that watches what it is asked.

    Of an attack that sees gradients it keeps the nearest points, of a decision-based one their distances over queries.
    """
    kind = CurveNetwork if row.method.access is Access.DECISION else PointsNetwork
    counted = kind(in_unit_box(model.lean, asked.domain), asked.images, asked.labels, row.norm)
    return replace(asked, network=counted), counted


def _best_seen(
    judge: Judge, task: Task, chosen: list[int], judgements: Sequence[Judgement], proposal: Proposal
) -> list[float | None]:
    """The distance of each image's nearest adversarial point, of the candidate and of what the network saw before it."""
    norm = task.block.row.norm
    best = [judgement.distances[norm] for judgement in judgements]
    if proposal.seen is None:
        return [None] * len(best)
    points = np.asarray(proposal.seen.cpu() if isinstance(proposal.seen, Tensor) else proposal.seen)
    changes = points - task.inputs[chosen].astype(np.float64)
    if norm.counts:
        changes = np.where(np.abs(changes) <= L0_TOLERANCE * task.domain.width, 0.0, changes)
    lengths = norm.of(task.domain.measured(changes))
    nearer = [i for i, length in enumerate(lengths) if length < best[i] and np.isfinite(points[i]).all()]
    if nearer:
        rows = [chosen[i] for i in nearer]
        judged = judge.judge(task.inputs[rows], task.labels[rows], points[nearer])
        for i, judgement in zip(nearer, judged, strict=True):
            best[i] = min(best[i], judgement.distances[norm])
    return [float(distance) for distance in best]


def _bound(verifier: Any, row: VerifierSpec, asked: Problem) -> tuple[object, NDArray[np.float64]]:
    """A verifier's examples and bounds; where it has no example, the clean image stands for it, as for an attack."""
    bounds = verifier.bound(row, asked)
    clean = asked.images.numpy(force=True)
    return np.where(np.isnan(bounds.candidates), clean, bounds.candidates), bounds.lower


def _in_the_box(candidates: object, inputs: NDArray[np.float32], clean: NDArray[np.float32], domain: Domain) -> object:
    """Candidates of the unit box in the domain's; what is no array of images is left for the judge to refuse."""
    if domain.is_unit:
        return candidates
    try:
        values = np.asarray(candidates.detach().cpu() if isinstance(candidates, Tensor) else candidates, np.float64)
    except (TypeError, ValueError):
        return candidates
    return domain.from_unit(values, inputs, clean) if values.shape == inputs.shape else candidates


def _seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the libraries draw from the global generator
    torch.manual_seed(seed)


def _judgements(
    judge: Judge, inputs: NDArray[np.float32], labels: NDArray[np.int64], proposal: Proposal
) -> list[Judgement]:
    if proposal.status is not None:
        return [Judgement(proposal.status, message=proposal.message) for _ in inputs]
    return judge.judge(inputs, labels, proposal.candidates)


def _record(task: Task, i: int, decision: Decision, judgement: Judgement, proposal: Proposal) -> Record:
    return Record(
        **_identity(task, i, decision),
        status=judgement.status,
        adversarial_class=judgement.adversarial_class,
        distances=judgement.distances,
        pixels=judgement.pixels,
        seconds=proposal.seconds,
        forwards=proposal.forwards,
        backwards=proposal.backwards,
        message=judgement.message[:MESSAGE_LENGTH],
    )


def _untouched(task: Task, i: int, decision: Decision) -> Record:
    """The record of an image that is not attacked: wrong already, or without finite logits."""
    if not decision.finite:
        message = "the network's logits for the clean image are not finite"
        return Record(**_identity(task, i, decision), status=Status.ERROR, message=message)
    return Record(
        **_identity(task, i, decision),
        status=Status.MISCLASSIFIED,
        distances=dict.fromkeys(Norm, 0.0),
        pixels=0.0,
    )


def _identity(task: Task, i: int, decision: Decision) -> dict[str, Any]:
    block = task.block
    return {
        "network": block.network.name,
        "attack": block.row.name,
        "library": block.row.library,
        "norm": block.row.norm,
        "kind": block.row.kind,
        "block": block.number,
        "image": block.images[i],
        "label": decision.label,
        "predicted": decision.predicted,
    }


def _reason(error: BaseException) -> str:
    """Class, message and place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].name}, {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{place}".split())
