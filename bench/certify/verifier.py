"""The front door: bounds for the rows of a suite."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.certify.layers import PlainNetwork, Unsupported, in_double, read
from bench.certify.pixels import PixelSearch, greedy
from bench.certify.primal import Incumbent, attack
from bench.certify.propagation import DenseNetwork
from bench.certify.search import Bounder, Effort, Search
from bench.norms import FloatArray, Norm
from bench.specs import Kind, VerifierSpec

_ATTACK_STEPS = 60
_ROOT_NODES = {Norm.LINF: 24, Norm.L2: 24, Norm.L0: 40}
"""Nodes searched for a row of kind ``lower``: work, not time, so that the bound is the same on every machine."""


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
            searches until the gap is closed or ``spec.seconds`` of CPU time have passed for the image. Whatever
            is proved by then is returned.
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
    judge = in_double(network)
    lower = np.zeros(len(images))
    candidates = torch.full_like(images, torch.nan, device="cpu")
    for index, (image, label) in enumerate(zip(images.detach().cpu(), labels.tolist(), strict=True)):
        incumbent = Incumbent(judge, image, int(label), spec.norm)
        lower[index] = _image(spec, plain, incumbent)
        if incumbent.candidate is not None:
            candidates[index] = torch.from_numpy(incumbent.candidate).reshape(image.shape)
        if lower[index] > incumbent.distance:
            raise ArithmeticError(f"lower bound {lower[index]} above the distance {incumbent.distance} of a candidate")
    return Bounds(lower, candidates.to(images.device))


def _image(spec: VerifierSpec, plain: PlainNetwork, incumbent: Incumbent) -> float:
    """The lower bound for one image; the incumbent keeps what is found."""
    started = time.process_time()

    def in_time() -> bool:
        return time.process_time() - started < spec.seconds

    targets = [target for target in range(len(plain.bias)) if target != incumbent.label]
    if spec.norm is Norm.L0:
        greedy(incumbent, targets, most=min(len(incumbent.centre), 40))
    else:
        attack(incumbent, targets, incumbent.centre.repeat(len(targets), 1), _ATTACK_STEPS)
    bounder = Bounder(DenseNetwork.of(plain), incumbent, Effort())
    nodes = _ROOT_NODES[spec.norm] if spec.kind is Kind.LOWER else None
    if spec.norm is Norm.L0:
        return _pixels(bounder, targets, in_time, nodes)
    outer = 1.0 if spec.norm is Norm.LINF else float(np.sqrt(len(incumbent.centre)))
    start = bounder.root_radius(targets, min(outer, incumbent.distance), in_time)
    search = Search(bounder, targets, spec.gap, start, outer)
    while in_time() and (nodes is None or search.nodes < nodes):
        if not search.step():
            break
    return search.lower


def _pixels(bounder: Bounder, targets: list[int], in_time: Callable[[], bool], nodes: int | None) -> float:
    search = PixelSearch(bounder, targets)
    search.run(lambda: in_time() and (nodes is None or search.nodes < nodes))
    return float(search.lower)
