"""The front door: bounds for the rows of a suite."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from bench.certify.dense.propagation import DenseNetwork
from bench.certify.dense.search import Bounder, Effort, Search
from bench.certify.incumbent import Incumbent, attack
from bench.certify.l0.pixels import PixelSearch, greedy
from bench.certify.l0.sweep import LineSweep
from bench.certify.layers import PlainNetwork, Unsupported, in_double, read, unwrapped
from bench.certify.pooled.bounder import QUICK, PooledBounder, Work
from bench.certify.pooled.rows import Prepared, prepare
from bench.networks import fingerprint
from bench.norms import FloatArray, Norm
from bench.specs import Kind, VerifierSpec

_ATTACK_STEPS = 60
"""Gradient steps of the attack that gives a search its first upper bound."""

_MOST_PIXELS = 40
"""In L0 no example with more changed pixels is looked for."""

_BEAM, _WIDE_BEAM = 4, 20
"""How many images the search for an example of few pixels keeps; and how many where branching up to the exact distance
follows: a pixel less found in that second is one that need not be excluded."""

_DENSE = 4096
"""Networks of plain ReLUs with more units than this are bounded like pooled ones, without branching."""

_ROOT_BALLS, _MOST_BALLS = 2, 40
_ROOT_NODES = {Norm.LINF: 40, Norm.L2: 40, Norm.L0: 60}
"""What a row of kind ``lower`` does: work, not time, so that the bound is the same on every machine."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is proved and what was found, for n images.

    Attributes:
        lower: (n,) float64: no adversarial example lies nearer, in the row's norm; 0 where nothing is proved.
        candidates: (n, ...) of the images' dtype: the nearest adversarial example found, NaN where none was.
    """

    lower: FloatArray
    candidates: Tensor


def bound(spec: VerifierSpec, network: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Bounds:  # noqa: ARG001 - nothing here is random
    """Certified lower bounds of the distances to the nearest adversarial examples inside the box [0, 1].

    Args:
        spec: the row: norm, kind and limits. A row of kind ``lower`` does a fixed amount of work; one of kind ``exact``
            searches until the gap is closed. Both end, with what is proved by then, when ``spec.seconds`` of CPU time
            have passed for the image.
        network: logits out, in eval mode, made of the layers that :func:`bench.certify.layers.read` knows.
        images: (n, ...) float32 in [0, 1], all correctly classified.
        labels: (n,) int64, the true classes.
        seed: not used; the same call gives the same bounds.

    Returns:
        The bounds, certified for the network in real arithmetic up to float64 rounding, which a slack covers.

    Raises:
        Unsupported: no verifier for the network or the norm.
    """
    if spec.norm not in (Norm.L0, Norm.L2, Norm.LINF):
        raise Unsupported(f"no verifier for {spec.norm.label}")
    plain = read(network, images[0])
    prepared = _prepared(fingerprint(unwrapped(network)), plain.inputs, _Holder(plain))
    judge = in_double(network)
    lower = np.zeros(len(images))
    candidates = torch.full_like(images, torch.nan, device="cpu")
    for index, (image, label) in enumerate(zip(images.detach().cpu(), labels.tolist(), strict=True)):
        incumbent = Incumbent(judge, image, int(label), spec.norm)
        lower[index] = _image(spec, plain, prepared, incumbent)
        if incumbent.candidate is not None:
            candidates[index] = torch.from_numpy(incumbent.candidate).reshape(image.shape)
        if lower[index] > incumbent.distance:
            raise ArithmeticError(f"lower bound {lower[index]} above the distance {incumbent.distance} of a candidate")
    return Bounds(lower, candidates.to(images.device))


def _image(spec: VerifierSpec, plain: PlainNetwork, prepared: _Prepared, incumbent: Incumbent) -> float:
    """The lower bound for one image; the incumbent keeps what is found."""
    started = time.process_time()

    def in_time() -> bool:
        return time.process_time() - started < spec.seconds

    targets = [target for target in range(len(plain.bias)) if target != incumbent.label]
    if spec.norm is Norm.L0:
        if prepared.sweep.run(incumbent, in_time):
            beam = _WIDE_BEAM if spec.kind is Kind.EXACT and prepared.dense is not None else _BEAM
            greedy(incumbent, targets, min(len(incumbent.centre), _MOST_PIXELS), beam)
            lower = 2.0
        else:
            return 1.0
    else:
        attack(incumbent, targets, incumbent.centre.repeat(len(targets), 1), _ATTACK_STEPS)
    if prepared.dense is not None:
        bounder = Bounder(prepared.dense, incumbent, Effort())
        nodes = _ROOT_NODES[spec.norm] if spec.kind is Kind.LOWER else None
        if spec.norm is Norm.L0:
            return _pixels(bounder, targets, in_time, nodes)
        return _signs(bounder, targets, spec.gap, in_time, nodes)
    if spec.norm is Norm.L0:
        return lower
    outer = min(_outer(incumbent), incumbent.distance * (1 - spec.gap))
    quick = PooledBounder(plain, prepared.stages, incumbent, QUICK)
    lower = quick.radius(targets, outer, _ROOT_BALLS, in_time)
    if spec.kind is Kind.LOWER:
        return lower
    return PooledBounder(plain, prepared.stages, incumbent, Work()).radius(targets, outer, _MOST_BALLS, in_time, lower)


def _outer(incumbent: Incumbent) -> float:
    """A radius whose ball holds the whole box."""
    return 1.0 if incumbent.norm is Norm.LINF else float(np.sqrt(len(incumbent.centre)))


def _signs(bounder: Bounder, targets: list[int], gap: float, in_time: Callable[[], bool], nodes: int | None) -> float:
    outer = _outer(bounder.incumbent)
    start = bounder.root_radius(targets, min(outer, bounder.incumbent.distance), in_time)
    search = Search(bounder, targets, gap, start, outer)
    while in_time() and (nodes is None or search.nodes < nodes):
        if not search.step():
            break
    return search.lower


def _pixels(bounder: Bounder, targets: list[int], in_time: Callable[[], bool], nodes: int | None) -> float:
    search = PixelSearch(bounder, targets, lower=2)
    search.run(lambda: in_time() and (nodes is None or search.nodes < nodes))
    return float(search.lower)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A network in the forms that bounding needs."""

    dense: DenseNetwork | None
    stages: list[Prepared]
    sweep: LineSweep


@lru_cache(maxsize=2)
def _prepared(digest: str, inputs: int, holder: _Holder) -> _Prepared:  # noqa: ARG001 - the first two are the cache's key
    plain = holder.plain
    units = sum(len(stage.bias) for stage in plain.stages)
    dense = DenseNetwork.of(plain) if units <= _DENSE and all(stage.is_relu for stage in plain.stages) else None
    return _Prepared(dense, [] if dense else prepare(plain), LineSweep(plain))


class _Holder:
    """Carries a network past the cache, whose key is its digest and its inputs."""

    def __init__(self, plain: PlainNetwork) -> None:
        self.plain = plain

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Holder)
