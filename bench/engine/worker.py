"""A worker's task: attack, or bound, one block of images and judge what comes back."""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import adapters.base
from bench import certify, data, networks
from bench.engine.plan import Block
from bench.engine.queries import CountedNetwork
from bench.judge import Decision, Judge, Verdict
from bench.networks import NetworkSpec
from bench.norms import Norm
from bench.records import Record, Status
from bench.specs import AttackSpec, VerifierSpec

MESSAGE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Part:
    """A block's results: one record per image, and the adversarial examples by image index."""

    records: tuple[Record, ...]
    candidates: dict[int, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one call made of some images, and what it cost per image.

    Attributes:
        candidates: whatever the attack returned.
        lower: certified lower bounds (n,), zeros for an attack.
        status, message: set when the call failed.
        seconds, forwards, backwards: per image.
    """

    candidates: object
    lower: NDArray[np.float64]
    seconds: float
    forwards: float
    backwards: float
    status: Status | None = None
    message: str = ""


def run(block: Block) -> Part:
    """Compute a block.

    Misclassified images are never attacked. When a call raises, its images are tried again one by one, so that
    one bad image never spoils its neighbours.

    Returns:
        Exactly one record for every image of the block, in its order.

    Raises:
        BenchError: the network or the data cannot be loaded.
    """
    network, judge = _network(block.network, block.device)
    images, labels = _images(block.split, block.images)
    decisions = _decisions(block, judge, images, labels)
    attacked = [i for i, decision in enumerate(decisions) if decision.finite and not decision.wrong]
    records: dict[int, Record] = {
        i: _untouched(block, i, decisions[i]) for i in range(len(images)) if i not in attacked
    }
    candidates: dict[int, NDArray[np.float32]] = {}
    for chosen, proposal in _proposals(block, network, images, labels, attacked):
        verdicts = _verdicts(judge, images[chosen], labels[chosen], proposal)
        for position, (i, verdict) in enumerate(zip(chosen, verdicts, strict=True)):
            lower = float(proposal.lower[position])
            records[i] = _record(block, i, decisions[i], verdict, proposal=proposal, lower=lower)
            if verdict.candidate is not None:
                candidates[block.images[i]] = verdict.candidate
    return Part(tuple(records[i] for i in range(len(images))), candidates)


def failed(block: Block, status: Status, message: str) -> Part:
    """The part of a block whose process died or ran out of time: a record with the reason for every image.

    Raises:
        BenchError: the network or the data cannot be loaded.
    """
    _, judge = _network(block.network, block.device)
    images, labels = _images(block.split, block.images)
    proposal = Proposal(None, np.zeros(len(images)), block.limit if status is Status.TIMEOUT else 0.0, 0.0, 0.0)
    verdict = Verdict(status, message=message)
    decisions = _decisions(block, judge, images, labels)
    return Part(
        tuple(
            _untouched(block, i, decision)
            if decision.wrong or not decision.finite
            else _record(block, i, decision, verdict, proposal=proposal)
            for i, decision in enumerate(decisions)
        ),
        {},
    )


def _proposals(
    block: Block, network: nn.Module, images: Tensor, labels: Tensor, attacked: list[int]
) -> list[tuple[list[int], Proposal]]:
    """One call for all attacked images, or one for each where that call raises."""
    if not attacked:
        return []
    together = _propose(block, network, images[attacked], labels[attacked])
    if together.status is not Status.ERROR or len(attacked) == 1:
        return [(attacked, together)]
    return [([i], _propose(block, network, images[[i]], labels[[i]])) for i in attacked]


def _propose(block: Block, network: nn.Module, images: Tensor, labels: Tensor) -> Proposal:
    """Call the attack or the verifier once, on copies of the images."""
    counted = CountedNetwork(network)
    x, y = (part.clone().to(block.device) for part in (images, labels))
    row = block.row
    # Importing a library is no part of an attack's cost.
    attacker = adapters.base.load(row.library) if isinstance(row, AttackSpec) else None
    _seed(block.seed)
    status, message, lower = None, "", np.zeros(len(images))
    candidates: object = None
    start = time.perf_counter()
    try:
        if attacker is not None and isinstance(row, AttackSpec):
            candidates = attacker.attack(row, counted, x, y, block.seed)
        elif isinstance(row, VerifierSpec):
            bounds = certify.bound(row, network, x, y, block.seed)
            lower = bounds.lower
            # NaN says that a verifier has no adversarial example, which is no fault: the clean image says it as well.
            candidates = torch.where(bounds.candidates.isnan(), x, bounds.candidates)
    except certify.Unsupported as error:
        status, message = Status.UNSUPPORTED, str(error)
    except Exception as error:
        status, message = Status.ERROR, _reason(error)
    seconds = time.perf_counter() - start
    network.eval()
    n = len(images)
    return Proposal(
        candidates, lower, seconds / n, counted.forwards / n, counted.backwards / n, status=status, message=message
    )


def _seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the libraries draw from the global generator
    torch.manual_seed(seed)


def _verdicts(judge: Judge, images: Tensor, labels: Tensor, proposal: Proposal) -> list[Verdict]:
    if proposal.status is not None:
        return [Verdict(proposal.status, message=proposal.message) for _ in images]
    return judge.judge(images, labels, proposal.candidates)


def _record(
    block: Block, i: int, decision: Decision, verdict: Verdict, *, proposal: Proposal, lower: float = 0.0
) -> Record:
    return Record(
        **_identity(block, i, decision),
        status=verdict.status,
        adversarial_class=verdict.adversarial_class,
        l0=verdict.distances[Norm.L0],
        l1=verdict.distances[Norm.L1],
        l2=verdict.distances[Norm.L2],
        linf=verdict.distances[Norm.LINF],
        lower=lower,
        seconds=proposal.seconds,
        forwards=proposal.forwards,
        backwards=proposal.backwards,
        message=verdict.message[:MESSAGE_LENGTH],
    )


def _untouched(block: Block, i: int, decision: Decision) -> Record:
    """The record of an image that is not attacked: wrong already, or without finite logits."""
    if not decision.finite:
        message = "the network's logits for the clean image are not finite"
        return Record(**_identity(block, i, decision), status=Status.ERROR, message=message)
    return Record(**_identity(block, i, decision), status=Status.MISCLASSIFIED, l0=0.0, l1=0.0, l2=0.0, linf=0.0)


def _identity(block: Block, i: int, decision: Decision) -> dict[str, Any]:
    row = block.row
    return {
        "network": block.network.name,
        "attack": row.name,
        "library": row.library,
        "norm": row.norm,
        "kind": row.kind,
        "block": block.number,
        "image": block.images[i],
        "label": decision.label,
        "predicted": decision.predicted,
    }


def _reason(error: Exception) -> str:
    """Class, message and place of an exception, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].name}, {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{place}".split())


@lru_cache(maxsize=8)
def _network(spec: NetworkSpec, device: str) -> tuple[nn.Module, Judge]:
    network = networks.load(spec, device)
    return network, Judge(network)


def _decisions(block: Block, judge: Judge, images: Tensor, labels: Tensor) -> list[Decision]:
    """The judge's decisions for the clean images; every row of a network needs them, and they are made once."""
    known = _clean(block.network, block.device, block.split)
    missing = [i for i, image in enumerate(block.images) if image not in known]
    made = judge.decide(images[missing], labels[missing])
    known.update(zip((block.images[i] for i in missing), made, strict=True))
    return [known[image] for image in block.images]


@lru_cache(maxsize=8)
def _clean(_network: NetworkSpec, _device: str, _split: str) -> dict[int, Decision]:
    return {}


@lru_cache(maxsize=2)
def _split(split: str) -> data.Images:
    return data.load(split)


def _images(split: str, indices: tuple[int, ...]) -> data.Images:
    images, labels = _split(split)
    chosen = list(indices)
    return images[chosen], labels[chosen]
