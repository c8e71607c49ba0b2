"""The judge: decides, independently of every library, what a candidate is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.domain import ROUNDING, Domain
from bench.errors import NetworkError, line
from bench.guard import Guarded, converted, copied, device_of, frozen, has_float64
from bench.norms import L0_TOLERANCE, Norm, distances
from bench.records import Status
from bench.usercode import kept

TIE = 1e-9
"""Logits (relative to the largest) closer than this are compared again with the image alone in its batch.

float64 sums over a thousand products differ by about 1e-13 with the order of summation, which depends on the
batch; a decision with a margin above 1e-9 is the same in every batch, and the others are made in a batch of one.
"""

BATCH = 250

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """The network's decision on one image, in float64.

    Attributes:
        label: the true class.
        predicted: the class of the largest logit, the lowest where several tie; -1 if a logit is not finite.
        excess: largest logit of another class minus the label's; the image is adversarial when it is above 0.
    """

    label: int
    predicted: int
    excess: float

    @property
    def finite(self) -> bool:
        """Whether all logits are numbers."""
        return self.predicted >= 0

    @property
    def wrong(self) -> bool:
        """Whether some other class has a strictly larger logit than the label: a tie fools nobody."""
        return self.finite and self.excess > 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a candidate is worth.

    Attributes:
        status: ``found``, ``not_found`` or ``invalid``.
        adversarial_class: the network's class for it if ``found``, else -1.
        distances: every norm of the change if ``found``, else +inf; in the units of :meth:`bench.domain.Domain.measured`.
        pixels: how many pixels change if ``found``, else +inf.
        message: why it is ``invalid``.
        candidate: the values judged, float32 inside the box, if ``found``.
    """

    status: Status
    adversarial_class: int = -1
    distances: dict[Norm, float] = field(default_factory=lambda: dict.fromkeys(Norm, math.inf))
    pixels: float = math.inf
    message: str = ""
    candidate: NDArray[np.float32] | None = None


class Judge:
    """Judges candidates for one network, on a float64 copy of it in eval mode.

    What it decides for an image does not depend on the other images it is given with it.
    """

    def __init__(self, network: nn.Module, domain: Domain) -> None:
        """Copy the network.

        Args:
            network: (n, *shape) images of the domain to (n, classes) logits.
            domain: the space of its inputs; candidates are judged in its units and its box.

        Raises:
            NetworkError: the network cannot be copied or converted.
        """
        device = device_of(network)
        # Devices without float64, Apple's among them, leave the judging to the CPU.
        self._device = device if has_float64(device) else torch.device("cpu")
        guarded = Guarded.of(network)
        try:
            judged = frozen(converted(copied(guarded.network), self._device, torch.float64))
            self._network = Guarded(judged, guarded.within or kept)
        except Exception as error:
            reason = line(error)
            raise NetworkError(f"the network cannot be copied in float64: {reason}") from error
        self._domain = domain

    def decide(self, images: Array | Tensor, labels: Sequence[int] | Array | Tensor) -> list[Decision]:
        """The network's decision for each image.

        Args:
            images: (n, ...) in the box.
            labels: (n,) true classes.
        """
        values = torch.as_tensor(np.asarray(images, dtype=np.float64), device=self._device)
        true = [int(label) for label in labels]
        batches = values.split(self._domain.at_once(BATCH))
        logits = np.concatenate([self._logits(batch) for batch in batches] if true else [np.zeros((0, 1))], axis=0)
        decisions = [_decision(row, label) for row, label in zip(logits, true, strict=True)]
        for i, row in enumerate(logits):
            if decisions[i].finite and _close(row, true[i]):
                decisions[i] = _decision(self._logits(values[i : i + 1])[0], true[i])
        return decisions

    def judge(
        self, images: Array | Tensor, labels: Sequence[int] | Array | Tensor, candidates: object
    ) -> list[Judgement]:
        """Judge one candidate for each correctly classified image.

        Args:
            images: (n, *shape) clean images in the box.
            labels: (n,) true classes.
            candidates: what the attack returned: (n, *shape) in the box if it is in order, else anything.

        Returns:
            One judgement per image. A candidate is rounded to float32, the network's input type, before it is
            judged. One that leaves the box by more than ``bench.domain.ROUNDING`` of its width, holds NaN, or has another
            shape is ``invalid``. An L0 distance counts the values that changed by more than ``bench.norms.L0_TOLERANCE``
            widths, if the image with the smaller changes undone is adversarial as well (the witness); otherwise every
            changed value counts.
        """
        clean = np.asarray(images, dtype=np.float64)
        proposed, fault = _as_array(candidates, clean.shape)
        if proposed is None:
            return [Judgement(Status.INVALID, message=fault) for _ in clean]
        faults = [self._fault(values) for values in proposed]
        inside = np.where(np.isfinite(proposed), self._domain.clip(proposed), clean).astype(np.float32)
        decisions = self.decide(inside, labels)
        changes = inside - clean
        lengths = distances(self._domain.measured(changes))
        pixels = self._domain.changed_pixels(changes)
        fewer_changes = np.where(np.abs(changes) <= L0_TOLERANCE * self._domain.width, 0.0, changes)
        few = Norm.L0.of(fewer_changes)
        fewer = [i for i, decision in enumerate(decisions) if decision.wrong and few[i] < lengths[Norm.L0][i]]
        restored = np.where(fewer_changes[fewer] == 0, clean[fewer], inside[fewer].astype(np.float64))
        witnesses = self.decide(restored, [decisions[i].label for i in fewer])
        for i, witness in zip(fewer, witnesses, strict=True):
            if witness.wrong:
                lengths[Norm.L0][i] = few[i]
                pixels[i] = self._domain.changed_pixels(fewer_changes[i : i + 1])[0]
        judgements = []
        for i, decision in enumerate(decisions):
            if faults[i]:
                judgements.append(Judgement(Status.INVALID, message=faults[i]))
            elif not decision.finite:
                judgements.append(
                    Judgement(Status.INVALID, message="the network's logits for the candidate are not finite")
                )
            elif not decision.wrong:
                judgements.append(Judgement(Status.NOT_FOUND))
            else:
                measured = {norm: float(values[i]) for norm, values in lengths.items()}
                judgements.append(
                    Judgement(Status.FOUND, decision.predicted, measured, float(pixels[i]), candidate=inside[i])
                )
        return judgements

    def logits(self, images: Array | Tensor) -> NDArray[np.float64]:
        """The network's logits (n, classes) for (n, *shape) images in the box."""
        return self._logits(torch.as_tensor(np.asarray(images, dtype=np.float64), device=self._device))

    def _logits(self, images: Tensor) -> Array:
        with torch.no_grad():
            logits: Array = self._network(images).to("cpu", torch.float64).numpy()
        return logits

    def _fault(self, values: Array) -> str:
        """Why a candidate is no image; empty if it is one."""
        missing = int((~np.isfinite(values)).sum())
        if missing:
            return f"{missing} of {values.size} values are not finite"
        excess = self._domain.excess(values)
        if excess.max() > ROUNDING:
            outside = excess > ROUNDING
            low, high = self._domain.ends
            by = np.maximum(low - values, values - high)[outside].max()
            box = "its box" if self._domain.per_feature else f"the box [{low:g}, {high:g}]"
            return f"left {box} by up to {by:.3g} at {int(outside.sum())} of {values.size} values"
        return ""


def _decision(logits: Array, label: int) -> Decision:
    if not np.isfinite(logits).all():
        return Decision(label, -1, math.nan)
    return Decision(label, int(logits.argmax()), float(np.delete(logits, label).max() - logits[label]))


def _close(logits: Array, label: int) -> bool:
    """Whether rounding could change which class wins, or whether another class beats the label."""
    slack = TIE * max(1.0, float(np.abs(logits).max()))
    first, second = np.sort(logits)[::-1][:2]
    return bool(first - second <= slack or abs(np.delete(logits, label).max() - logits[label]) <= slack)


def _as_array(candidates: object, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """Candidates as float64 values of ``shape``, rounded to float32; or None and the reason."""
    try:
        given = candidates.detach().cpu().numpy() if isinstance(candidates, Tensor) else candidates
        with np.errstate(over="ignore"):
            values = np.asarray(given, dtype=np.float32).astype(np.float64)
    except (TypeError, ValueError) as error:
        return None, f"the attack returned {type(candidates).__name__}, which is no array of images ({error})"
    if values.shape != shape:
        return None, f"the attack returned shape {values.shape}, not {shape}"
    return values, ""
