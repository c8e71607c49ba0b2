"""The nearest point of a set, and proximal steps, in each norm; all for many rows at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.domain import UNIT_BOX

NEGLIGIBLE = 1e-12
"""A gradient, or a gain, below this counts as zero."""

LOW, HIGH = UNIT_BOX

ORDERS = {"l0": 0.0, "l1": 1.0, "l2": 2.0, "linf": math.inf}
"""The exponents of the norms."""

DUALS = {"l1": math.inf, "l2": 2.0, "linf": 1.0}
"""The exponents of the dual norms."""


def length(changes: Tensor, norm: str) -> Tensor:
    """The norm of each row: (n, ...) to (n,)."""
    lengths: Tensor = torch.linalg.vector_norm(changes.flatten(1), ORDERS[norm], 1)
    return lengths


def leaves_box(points: Tensor, direction: Tensor) -> Tensor:
    """Which values stand at an end of the box and would leave it along a direction: (n, ...) truth values."""
    return ((points <= LOW) & (direction < 0)) | ((points >= HIGH) & (direction > 0))


def on_hyperplane(start: Tensor, normal: Tensor, needed: Tensor, norm: str) -> Tensor:
    """The nearest point of the box on a hyperplane.

    Args:
        start: (n, ...) points in the box.
        normal: (n, ...) the hyperplanes' normals, which point from ``start`` to them.
        needed: (n,) what normal . change has to be, at least 0.
        norm: ``l1``, ``l2`` or ``linf``.

    Returns:
        (n, ...): the points moved; every value at the end of the box to which its normal points where the hyperplane
        cannot be reached.
    """
    x, w, missing = start.flatten(1), normal.flatten(1), needed.unsqueeze(1)
    room = torch.where(w > 0, HIGH - x, LOW - x)
    moves = _largest_first(w, room, missing) if norm == "l1" else _all_at_once(w, room, missing, norm)
    return (x + moves).clamp(LOW, HIGH).view_as(start)


def _largest_first(w: Tensor, room: Tensor, needed: Tensor) -> Tensor:
    """The smallest change in L1: each value in turn, the largest normal first, moves its whole way."""
    gains, order = w * room, torch.argsort(w.abs(), dim=1, descending=True, stable=True)
    sorted_gains = gains.gather(1, order)
    before = sorted_gains.cumsum(1) - sorted_gains
    # The last one moves only as far as is still missing.
    part = ((needed - before) / sorted_gains.clamp(min=NEGLIGIBLE)).clamp(0, 1)
    part = torch.where(sorted_gains > NEGLIGIBLE, part, 0.0)
    return torch.zeros_like(w).scatter(1, order, part) * room


def _all_at_once(w: Tensor, room: Tensor, needed: Tensor, norm: str) -> Tensor:
    """The smallest change in L2, min(t |w|, room), or in Linf, min(t, room), each in its normal's direction.

    What it gains is piecewise linear in t, with a kink where a value reaches its end of the box.
    """
    largest = w.abs().amax(1, keepdim=True)
    reachable = largest > NEGLIGIBLE
    size = torch.where(reachable, w.abs() / largest.clamp(min=NEGLIGIBLE), 0.0).double()
    missing = torch.where(reachable, needed / largest.clamp(min=NEGLIGIBLE), 0.0).double()
    room, speed = room.double(), size if norm == "l2" else (size > 0).double()
    kinks = torch.where(speed > 0, room.abs() / speed.clamp(min=NEGLIGIBLE), 0.0)
    kinks, order = kinks.sort(1)
    ended = (size * room.abs()).gather(1, order).cumsum(1)
    rates = (size * speed).gather(1, order)
    moving = rates.flip(1).cumsum(1).flip(1)  # a kink's value and all after it
    # What is gained at each kink: all before it have ended, it and the others still move.
    before = torch.cat([torch.zeros_like(missing), ended[:, :-1]], 1)
    at_kink = before + kinks * moving
    piece = torch.searchsorted(at_kink.cummax(1).values, missing).clamp(max=w.shape[1] - 1)
    rate = moving.gather(1, piece).clamp(min=NEGLIGIBLE)
    t = ((missing - before.gather(1, piece)) / rate).clamp(min=0)
    return (w.sign() * torch.minimum(t * speed, room.abs())).to(w)


def in_ball(images: Tensor, changes: Tensor, radii: Tensor, norm: str) -> Tensor:
    """Changes brought into the box and into a ball around their images.

    Args:
        images: (n, ...) in the box.
        changes: (n, ...).
        radii: (n,) at least 0.
        norm: ``l1``, ``l2`` or ``linf``.

    Returns:
        (n, ...): the nearest change of ball and box in L1 and Linf; in L2 the nearest of the ball, clipped to the box.
    """
    u, x, limits = changes.flatten(1), images.flatten(1), radii.unsqueeze(1)
    if norm == "l1":
        room = torch.where(u > 0, HIGH - x, x - LOW)
        moved = u.sign() * _shrunk(u.abs(), room, limits)
    elif norm == "l2":
        moved = u * (limits / length(u, norm).clamp(min=NEGLIGIBLE).unsqueeze(1)).clamp(max=1)
    else:
        moved = torch.maximum(torch.minimum(u, limits), -limits)
    return ((x + moved).clamp(LOW, HIGH) - x).view_as(changes)


def _shrunk(sizes: Tensor, room: Tensor, limits: Tensor) -> Tensor:
    """min(max(size - t, 0), room), with the smallest t >= 0 whose sum does not exceed (n, 1) limits.

    The sum is piecewise linear in t: a value moves while t lies between size - room and size.
    """
    kinks, order = torch.cat([sizes, sizes - room], 1).double().sort(1, descending=True)
    moving = torch.where(order < sizes.shape[1], 1.0, -1.0).double().cumsum(1)
    # What the sum is at each kink, from the largest t to the smallest.
    pieces = moving[:, :-1] * (kinks[:, :-1] - kinks[:, 1:])
    at_kink = torch.cat([torch.zeros_like(limits, dtype=torch.float64), pieces.cumsum(1)], 1)
    piece = (torch.searchsorted(at_kink, limits.double()) - 1).clamp(0, kinks.shape[1] - 1)
    missing = limits.double() - at_kink.gather(1, piece)
    t = kinks.gather(1, piece) - missing / moving.gather(1, piece).clamp(min=1)
    return torch.minimum((sizes - t.clamp(min=0)).clamp(min=0), room).to(sizes)


def proximal(points: Tensor, weights: Tensor, norm: str) -> Tensor:
    """The minimiser r of ||r - u||_2^2 / 2 + weight * D(r).

    Args:
        points: u, (n, ...).
        weights: (n,) at least 0.
        norm: D: ``l1``, ``l2``, ``linf``, or ``l0``, which stands for the sum of |r_i|^(2/3), as in arXiv:2106.01538.

    Returns:
        (n, ...).
    """
    u, t = points.flatten(1), weights.unsqueeze(1)
    sizes = {"l0": _two_thirds, "l1": _soft, "l2": _scaled, "linf": _levelled}[norm](u.abs(), t)
    return (u.sign() * sizes).view_as(points)


def _two_thirds(u: Tensor, t: Tensor) -> Tensor:
    """In closed form: the largest root of a quartic in r^(1/3)."""
    u, double = u.double(), (2 * t).double().clamp(min=NEGLIGIBLE)
    angle = torch.acosh((27 / 16 * u.square() * double ** (-1.5)).clamp(min=1))
    a = 2 / math.sqrt(3) * double**0.25 * torch.cosh(angle / 3).sqrt()
    root = (a + (2 * u / a - a.square()).clamp(min=0).sqrt()) / 2
    return torch.where(u > 2 / 3 * (3 * double**3) ** 0.25, root**3, 0.0).to(t)


def _soft(u: Tensor, t: Tensor) -> Tensor:
    """Each value alone."""
    return (u - t).clamp(min=0)


def _scaled(u: Tensor, t: Tensor) -> Tensor:
    """All values alike."""
    size = torch.linalg.vector_norm(u, 2, 1, keepdim=True)
    shrunk: Tensor = u * (1 - t / size.clamp(min=NEGLIGIBLE)).clamp(min=0)
    return shrunk


def _levelled(u: Tensor, t: Tensor) -> Tensor:
    """min(u, level), where what is cut off is t in all."""
    kinks = u.double().sort(1, descending=True).values
    above, cut = torch.arange(1, u.shape[1] + 1, device=u.device), kinks.cumsum(1)
    # The level lies below as many values as there are whose own level would cut off less than t.
    at_kink = (cut - above * kinks).cummax(1).values
    piece = (torch.searchsorted(at_kink, t.double()) - 1).clamp(min=0)
    level = ((cut.gather(1, piece) - t) / above[piece]).clamp(min=0)
    return torch.minimum(u, level.to(u))
