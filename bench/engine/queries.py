"""What an attack asks of a network, seen at the network: how much, and how near the nearest adversarial points are."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from adapters.margins import adversarial, size
from bench.domain import UNIT_BOX, VALUES
from bench.engine.devices import now
from bench.norms import L0_TOLERANCE, FloatArray, Norm
from bench.records import query_count

_ORDERS = {Norm.L1: 1.0, Norm.L2: 2.0}
"""The order of each norm that is a sum."""

_SLACK = 1e-4
"""Distances in float32 are off by less than this fraction, whatever the order of their sums."""

_TOGETHER = 512
"""About so many points are looked at together: more than the caches hold would be slower again."""

_FEW = 64
"""A call of fewer points than this waits for others; a larger one gains nothing from them."""

_UNKNOWN = -1
"""In place of a point's image: the nearest one."""


class CountedNetwork(nn.Module):
    """A network that counts the images passed forward and backward through it.

    Images of more than ``bench.domain.VALUES`` values together, of which no gradient is asked, pass a part at a time.

    Attributes:
        network: the network itself.
        forwards: images passed forward so far; a batch of 10 counts as 10.
        backwards: images whose logits a gradient was asked of so far; one for every gradient.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.forwards = 0
        self.backwards = 0
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (n, ...) images."""
        self.forwards += len(images)
        if images.numel() > VALUES and not (torch.is_grad_enabled() and images.requires_grad):
            parts = images.split(max(1, VALUES // images[0].numel()))
            return torch.cat([self.network(part) for part in parts])
        logits: Tensor = self.network(images)
        if logits.requires_grad:
            logits.register_hook(self._count)
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


class WatchedNetwork(CountedNetwork, ABC):
    """A network that also looks at the points that pass through it.

    Attributes:
        spent: seconds that the watching took.
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, norm: Norm) -> None:
        """Watch a network.

        Args:
            network: (n, *shape) images of the unit box to (n, classes) logits.
            images: (n, *shape) float32, the clean images.
            labels: (n,) int64, their classes.
            norm: what is nearest.
        """
        super().__init__(network)
        self._images, self._labels, self._norm = images.clone(), labels.clone(), norm
        self._flat = self._images.flatten(1)
        self._squares = self._flat.square().sum(1, keepdim=True)
        self._sizes: Tensor | None = None
        self.spent = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """The network's logits for (m, *shape) images."""
        logits = super().forward(images)
        start = now(images.device)
        with torch.no_grad():
            self._look(images.detach(), logits.detach())
        self.spent += now(images.device) - start
        return logits

    @abstractmethod
    def _look(self, points: Tensor, logits: Tensor) -> None:
        """Take note of (m, ...) points and what the network said of them."""

    def _fits(self, points: Tensor, logits: Tensor) -> bool:
        return points.shape[1:] == self._images.shape[1:] and logits.ndim == 2

    def _measured(self, changes: Tensor) -> FloatArray:
        """The norm of (m, *shape) changes, (m,)."""
        values = changes.numpy(force=True).astype(np.float64)
        if self._norm.counts:
            values = np.where(np.abs(values) <= L0_TOLERANCE, 0.0, values)
        return self._norm.of(values)

    def _owners(self, points: Tensor) -> Tensor:
        """The image that each point belongs to: its row where there are as many, else the nearest image in L2.

        A point that is adversarial for an image counts for it whatever image the attack meant it for.
        """
        if len(points) == len(self._images):
            return torch.arange(len(points), device=points.device)
        return self._nearest(points)

    def _nearest(self, points: Tensor) -> Tensor:
        """The nearest image in L2 of each point."""
        if len(self._images) == 1:
            return torch.zeros(len(points), dtype=torch.int64, device=points.device)
        # |point - image|^2 without |point|^2, which is the same for all images.
        return (self._squares - 2 * self._flat @ points.flatten(1).to(self._flat).T).argmin(0)


class PointsNetwork(WatchedNetwork):
    """A network that keeps, for each image, the nearest adversarial point that passes through it.

    Attributes:
        points: (n, *shape) float32 in the unit box, these points; NaN where there was none.
        lengths: (n,) float64, their distances in the norm; +inf where there was none.
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, norm: Norm) -> None:
        """Watch a network; arguments as for :class:`WatchedNetwork`."""
        super().__init__(network, images, labels, norm)
        self.points = torch.full_like(images, torch.nan)
        self.lengths: FloatArray = np.full(len(images), np.inf)

    def _look(self, points: Tensor, logits: Tensor) -> None:
        if not self._fits(points, logits):
            return
        owners = self._owners(points)
        if self._sizes is None:  # the first call is at the clean images, or near them
            self._sizes = size(logits).new_zeros(len(self._images))
            self._sizes[owners] = size(logits)
        wrong = torch.nonzero(logits.argmax(1) != self._labels[owners]).flatten()
        if not len(wrong):
            return
        lengths = self._measured(points[wrong] - self._images[owners[wrong]])
        numbers = owners[wrong].numpy(force=True)
        nearer = np.flatnonzero(lengths < self.lengths[numbers])
        # Of several points of one image the nearest stays; what is nearer is rare, and looked at closely.
        for row in nearer[np.argsort(-lengths[nearer], kind="stable")]:
            point, number = points[wrong[row]], numbers[row]
            sure = adversarial(logits[wrong[row]][None], self._labels[number][None], self._sizes[number][None])
            if sure.all() and ((point >= 0) & (point <= 1)).all():
                self.lengths[number] = lengths[row]
                self.points[number] = point


class CurveNetwork(WatchedNetwork):
    """A network that notes how near the nearest adversarial points are at growing numbers of queries.

    Attacks that see decisions only make many small calls: their points are put aside and looked at together.
    """

    def __init__(self, network: nn.Module, images: Tensor, labels: Tensor, norm: Norm) -> None:
        """Watch a network; arguments as for :class:`WatchedNetwork`."""
        super().__init__(network, images, labels, norm)
        self._lengths = torch.full((len(images),), math.inf, dtype=torch.float64, device=images.device)
        self._noted: list[FloatArray] = []
        self._until = query_count(0) * len(images)
        self._room = max(1, min(_TOGETHER, VALUES // images[0].numel()))
        self._aside: list[tuple[Tensor, Tensor, Tensor]] = []
        self._waiting = 0
        self._rows = torch.arange(len(images), device=images.device)
        self._unknown = torch.full((self._room,), _UNKNOWN, device=images.device)

    @property
    def lengths(self) -> FloatArray:
        """(n,) float64: how near each image's nearest adversarial point is by now, in the norm; +inf where there was none."""
        self._settle()
        return self._lengths.numpy(force=True).copy()

    @property
    def curve(self) -> FloatArray:
        """(counts, n) float64: how near each image's nearest adversarial point was, in the norm.

        A line for each of ``bench.records.query_count(0)``, ``query_count(1)``, ... queries per image that were asked;
        +inf where nothing adversarial was asked about yet.
        """
        return np.array(self._noted).reshape(len(self._noted), len(self._images))

    def _look(self, points: Tensor, logits: Tensor) -> None:
        fits, start, before = self._fits(points, logits), 0, self.forwards - len(points)
        while self._until <= self.forwards:  # the call reaches a count
            stop = self._until - before
            if fits:
                self._take(points, logits, start, stop)
            self._noted.append(self.lengths)
            self._until = query_count(len(self._noted)) * len(self._images)
            start = stop
        if fits and start < len(points):
            self._take(points, logits, start, len(points))

    def _take(self, points: Tensor, logits: Tensor, start: int, stop: int) -> None:
        """Look at a part of a call's points, or put them aside where they are few."""
        owners = self._rows if len(points) == len(self._images) else None
        if stop - start < len(points):
            points, logits = points[start:stop], logits[start:stop]
            owners = None if owners is None else owners[start:stop]
        if len(points) >= min(_FEW, self._room):
            owners = self._nearest(points) if owners is None else owners
            parts = (values.split(self._room) for values in (points, logits, owners))
            for part in zip(*parts, strict=True):
                self._compare(*part)
            return
        # Whoever asks may write into its points afterwards.
        self._aside.append((points.clone(), logits, self._unknown[: len(points)] if owners is None else owners))
        self._waiting += len(points)
        if self._waiting >= self._room:
            self._settle()

    @torch.no_grad()
    def _settle(self) -> None:
        """Look at the points that were put aside."""
        if not self._aside:
            return
        points, logits, owners = map(torch.cat, zip(*self._aside, strict=True))
        self._aside, self._waiting = [], 0
        if (owners == _UNKNOWN).any():
            owners = torch.where(owners == _UNKNOWN, self._nearest(points), owners)
        self._compare(points, logits, owners)

    def _compare(self, points: Tensor, logits: Tensor, owners: Tensor) -> None:
        """Note how near the adversarial ones of some points are, where that is nearer than what is known."""
        # Most points are too far away, and float32 says so sooner.
        roughly = self._roughly(self._images.index_select(0, owners).sub_(points))
        possible = (logits.argmax(1) != self._labels[owners]) & (roughly * (1 - _SLACK) < self._lengths[owners])
        possible &= (roughly > 0) | self._norm.counts
        rows = torch.nonzero(possible).flatten()
        if len(rows):
            rows = rows[self._sure(points, logits[rows], owners[rows], rows)]
            self._note(points, owners[rows], roughly[rows], rows)

    def _sure(self, points: Tensor, logits: Tensor, owners: Tensor, rows: Tensor) -> Tensor:
        """Which rows of some points are adversarial beyond doubt, and in the box."""
        if self._sizes is None:  # what the bench asks itself is not counted
            self._sizes = size(self.network(self._images))
        sure = adversarial(logits, self._labels[owners], self._sizes[owners])
        (low, high), (least, most) = UNIT_BOX, torch.aminmax(points)
        if not (least >= low and most <= high):
            near = points[rows]
            sure &= ((near >= low) & (near <= high)).flatten(1).all(1)
        return sure

    def _note(self, points: Tensor, owners: Tensor, roughly: Tensor, rows: Tensor) -> None:
        """Note how near some rows of points are; what is no change is no adversarial point, whatever float32 says of it."""
        least = torch.full_like(self._lengths, math.inf, dtype=roughly.dtype)
        least.scatter_reduce_(0, owners, roughly, "amin")
        near = (roughly * (1 - _SLACK) <= least[owners] * (1 + _SLACK)) | self._norm.counts
        rows, owners = rows[near], owners[near]
        if len(rows):
            lengths = self._measured(points[rows].double() - self._images[owners].double())
            lengths[lengths == 0] = np.inf
            self._lengths.scatter_reduce_(0, owners, torch.from_numpy(lengths).to(owners.device), "amin")

    def _roughly(self, changes: Tensor) -> Tensor:
        """The norm (m,) of (m, *shape) changes, which are lost, in float32; where it counts, at most what it is."""
        flat = changes.flatten(1)
        if self._norm.counts:
            return (flat.abs_() > (1 + _SLACK) * L0_TOLERANCE).sum(1).to(flat.dtype)
        if self._norm is Norm.LINF:  # ten times as fast as the norm
            return flat.abs_().amax(1)
        lengths: Tensor = torch.linalg.vector_norm(flat, _ORDERS[self._norm], 1)
        return lengths
