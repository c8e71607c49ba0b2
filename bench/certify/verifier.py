"""The verifier: certified bounds for the images of a problem, by the engine that fits the network and the norm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.certify import cost
from bench.certify.dense.propagation import DenseNetwork
from bench.certify.dense.search import Bounder, Search
from bench.certify.effort import QUICK, DenseEffort, PooledEffort
from bench.certify.incumbent import Incumbent, attack, attack_around
from bench.certify.l0.pairs import PairSearch
from bench.certify.l0.pixels import PixelSearch, greedy
from bench.certify.l0.sweep import LineSweep
from bench.certify.layers import FloatArray, PlainNetwork
from bench.certify.pooled.bounder import PooledBounder
from bench.certify.pooled.propagation import PooledStage, prepare
from bench.certify.reading import in_double, read
from bench.certify.regions import CODES
from bench.norms import Norm
from bench.problem import Bounds, Problem, Unsupported
from bench.specs import Kind, VerifierSpec

_ATTACK_STEPS = 60
"""Gradient steps of the attack that gives a search its first upper bound."""

_MOST_PIXELS = 40
"""In L0 no example with more changed pixels is looked for."""

_BEAM, _WIDE_BEAM = 4, 20
"""How many images the search for an example of few pixels keeps; and how many where branching up to the exact distance
follows: a pixel less found in that second is one that need not be excluded."""

_ROOT_BALLS, _MOST_BALLS = 2, 40
_ROOT_NODES = {Norm.LINF: 40, Norm.L2: 40, Norm.L1: 40, Norm.L0: 60}
"""What a row of kind ``lower`` does: work, not time, so that the bound is the same on every machine."""


class Verifier:
    """Certified lower bounds of the distances to the nearest adversarial examples in the box."""

    def bound(self, spec: VerifierSpec, problem: Problem) -> Bounds:
        """Certified lower bounds for the images of a problem.

        Args:
            spec: the row: norm, kind and limits. A row of kind ``lower`` does a fixed amount of work; one of kind
                ``exact`` searches until the gap is closed. Both end, with what is proved by then, when ``spec.seconds``
                of CPU time have passed for the image.
            problem: n correctly classified images; the network is made of the layers that
                :func:`bench.certify.reading.read` knows. Nothing here is random.

        Returns:
            Bounds in the unit box, certified for the network in real arithmetic up to float64 rounding, which a slack
            covers. Candidates translate back to exactly the float32 inputs that were found to be adversarial.

        Raises:
            Unsupported: no verifier for the network or the norm, or the network is too large for one.
        """
        if spec.norm not in CODES:
            raise Unsupported(f"no verifier for {spec.norm.label}")
        cost.check_size(problem.network, problem.images, spec.norm)
        plain = read(problem.network, problem.images)
        cost.check(plain, spec.norm)
        forms = _forms(plain)
        network = in_double(problem.network)
        lower = np.zeros(len(problem))
        candidates = np.full(problem.images.shape, np.nan)
        for index, (clean, label) in enumerate(
            zip(problem.inputs.detach().cpu(), problem.labels.tolist(), strict=True)
        ):
            incumbent = Incumbent(network, clean, int(label), spec.norm, problem.domain)
            lower[index] = _image(spec, forms, incumbent)
            candidates[index] = _candidate(incumbent, problem.images[index].numpy(force=True))
            if lower[index] > incumbent.distance:
                raise ArithmeticError(
                    f"lower bound {lower[index]} above the distance {incumbent.distance} of a candidate"
                )
        return Bounds(lower, candidates)


VERIFIER = Verifier()


def _candidate(incumbent: Incumbent, image: NDArray[np.float32]) -> FloatArray:
    """The example found as a point whose unmoved values are those of the image as the problem has it; NaN without one."""
    if incumbent.candidate is None:
        return np.full(image.shape, np.nan)
    point, given = incumbent.candidate.reshape(image.shape), image.astype(np.float64)
    moved = point != incumbent.centre.numpy().reshape(image.shape)
    # A moved value that equals the image's own, which is rounded to float32, would be taken for one that was not moved.
    point = np.where(moved & (point == given), np.nextafter(point, 0.5), point)
    return np.where(moved, point, given)


@dataclass(frozen=True)
class Forms:
    """A network in the forms that bounding needs.

    Attributes:
        plain: as plain arrays.
        dense: as a dense ReLU network, which can be searched to the end; None for all others.
        stages: as stages of windows; empty where dense.
        sweep: excludes changes of a single value, for L0.
    """

    plain: PlainNetwork
    dense: DenseNetwork | None
    stages: list[PooledStage]
    sweep: LineSweep

    @cached_property
    def pairs(self) -> PairSearch:
        """Excludes changes of two values, for L0."""
        return PairSearch(self.plain)


_KEPT: dict[str, Forms] = {}
"""The network of the last call, by its digest: blocks of one network follow each other."""


def _forms(plain: PlainNetwork) -> Forms:
    digest = plain.digest
    if digest not in _KEPT:
        _KEPT.clear()
        dense = DenseNetwork.of(plain) if cost.is_dense(plain) else None
        _KEPT[digest] = Forms(plain, dense, [] if dense else prepare(plain), LineSweep(plain))
    return _KEPT[digest]


def _image(spec: VerifierSpec, forms: Forms, incumbent: Incumbent) -> float:
    """The lower bound for one image; the incumbent keeps what is found."""
    started = time.process_time()

    def in_time() -> bool:
        return time.process_time() - started < spec.seconds

    targets = [target for target in range(len(forms.plain.bias)) if target != incumbent.label]
    if spec.norm is Norm.L0:
        return _fewest_pixels(spec, forms, incumbent, targets, in_time)
    attack(incumbent, targets, incumbent.centre.repeat(len(targets), 1), _ATTACK_STEPS)
    if forms.dense is not None:
        return _by_signs(spec, forms.dense, incumbent, targets, in_time)
    return _by_balls(spec, forms, incumbent, targets, in_time)


def _fewest_pixels(
    spec: VerifierSpec, forms: Forms, incumbent: Incumbent, targets: list[int], in_time: Callable[[], bool]
) -> float:
    """L0: one pixel is decided for every network; branching on pixels goes on for dense ones, pairs are tried on others."""
    if not forms.sweep.run(incumbent, in_time):
        return 1.0
    exact = spec.kind is Kind.EXACT
    beam = _WIDE_BEAM if exact and forms.dense is not None else _BEAM
    greedy(incumbent, targets, min(len(incumbent.centre), _MOST_PIXELS), beam)
    if forms.dense is None:
        return 3.0 if exact and incumbent.distance > 2 and forms.pairs.run(incumbent, in_time) else 2.0
    search = PixelSearch(Bounder(forms.dense, incumbent, DenseEffort()), targets, lower=2)
    search.run(lambda: in_time() and (exact or search.nodes < _ROOT_NODES[Norm.L0]))
    return float(search.lower)


def _by_signs(
    spec: VerifierSpec, dense: DenseNetwork, incumbent: Incumbent, targets: list[int], in_time: Callable[[], bool]
) -> float:
    """L1, L2 and Linf, dense: branch and bound over the signs of ReLUs."""
    exact = spec.kind is Kind.EXACT
    if exact:
        attack_around(incumbent, targets)
    bounder = Bounder(dense, incumbent, DenseEffort() if exact else replace(DenseEffort(), parts=()))
    outer = _outer(incumbent)
    start = bounder.root_radius(targets, min(outer, incumbent.distance), in_time)
    search = Search(bounder, targets, spec.gap, start, outer, in_time)
    while in_time() and (exact or search.nodes < _ROOT_NODES[spec.norm]):
        if not search.step():
            break
    return search.lower


def _by_balls(
    spec: VerifierSpec, forms: Forms, incumbent: Incumbent, targets: list[int], in_time: Callable[[], bool]
) -> float:
    """L1, L2 and Linf, any network: one ball after the other, without branching."""
    outer = min(_outer(incumbent), incumbent.distance * (1 - spec.gap))
    quick = PooledBounder(forms.plain, forms.stages, incumbent, QUICK)
    lower = quick.radius(targets, outer, _ROOT_BALLS, in_time)
    if spec.kind is Kind.LOWER:
        return lower
    thorough = PooledBounder(forms.plain, forms.stages, incumbent, PooledEffort())
    return thorough.radius(targets, outer, _MOST_BALLS, in_time, lower)


def _outer(incumbent: Incumbent) -> float:
    """A radius whose ball holds the whole box."""
    return float(incumbent.norm.of(np.ones((1, len(incumbent.centre))))[0])
