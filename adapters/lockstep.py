"""Attacks on single images, run side by side: what they wait for goes through the network together.

Decision-based attacks ask about a few points, wait for the answer, and ask about the next. Here each image's attack
runs in a greenlet of its own, the library's code as it is. Where it asks the network it is put aside; once all attacks
wait, their queries are answered with as few forward passes as possible.

An image's candidate depends on nothing but the image, its start, the network and the seed:

- An attack gets decisions, and no logits, which another batch would round in another way.
- A decision that lies within rounding of its threshold is asked for again, with the points of its own query alone.
- The global random numbers of NumPy and torch have a state for each attack, which seeds them itself. (Those of Python
  are common to all; none of these attacks draws from them.)
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from greenlet import getcurrent, greenlet
from numpy.random import MT19937, mtrand
from torch import Tensor, nn

from adapters import margins
from adapters.seeding import seeded
from bench.problem import Problem

Attack = Callable[[Problem, Tensor | None], Any]
"""From the problem of one image and its starting point (1, *shape), None where it needs none, to a candidate."""

SMALL = 64
"""Queries of at most so many points share a forward pass; a larger one gains nothing from others."""

TOGETHER = 256
"""The most points of a forward pass that queries share; more than the caches hold would be slower again."""

DOUBT = margins.ROUNDING / 2
"""How near its threshold a decision is in doubt, in units of the largest logit: many times the errors of float32."""


def run(problem: Problem, begin: Tensor | None, attack: Attack) -> list[Any]:
    """Run an attack on each image by itself, all side by side.

    Args:
        problem: n images, their network frozen and in eval mode.
        begin: (n, *shape) starting points, None for none.
        attack: is given problems whose network is a :class:`Decisions`.

    Returns:
        What the attack returned for each image.

    Raises:
        Exception: what the attack on an image, or the network, raised first; all attacks end there.
    """
    images = [
        _Image(problem.select(slice(i, i + 1)), None if begin is None else begin[i : i + 1], attack)
        for i in range(len(problem))
    ]
    with seeded(problem.seed), _own_state():
        try:
            running = [image for image in images if image.resume()]
            while running:
                _answer(problem.network, [image.decisions for image in running])
                running = [image for image in running if image.resume()]
        finally:
            for image in images:
                image.end()
    return [image.result for image in images]


class Decisions(nn.Module):
    """A network that says of images no more than whether they are adversarial, to an attack that can wait.

    They are where another class is ahead by the margin that ``adapters.margins.adversarial`` asks for.

    Args:
        problem: of one image.

    Attributes:
        label: (1,) int64, the image's class.
        clean: (1,) the size of the image's own logits.
        query: (n, *shape), what is asked about.
        answer: (n,) bool, which of them are adversarial.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        # A network's device is that of its parameters.
        self.nothing = nn.Parameter(problem.images.new_empty(0), requires_grad=False)
        with torch.no_grad():
            logits = problem.network(problem.images)
        self.label, self.clean = problem.labels, margins.size(logits)
        own = torch.zeros_like(logits).scatter_(1, self.label.unsqueeze(1), 1.0)
        # In place of logits: those of the label, and of the class after it.
        self.classes = torch.cat([own, own.roll(1, 1)])
        self.query, self.answer = problem.images, torch.zeros_like(self.label, dtype=torch.bool)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """In place of logits (n, classes): a 1 for the label, or for one other class, and 0 for the rest.

        Raises:
            RuntimeError: it is not called by an attack that :func:`run` runs.
        """
        hub = getcurrent().parent
        if hub is None:
            raise RuntimeError("a decision is asked for outside of adapters.lockstep.run")
        self.query = images.detach()
        hub.switch()
        return self.classes[self.answer.long()]


class _Image:
    """The attack on one image, and what of the process is its own while it runs."""

    def __init__(self, problem: Problem, begin: Tensor | None, attack: Attack) -> None:
        self.decisions = Decisions(problem)
        self.result: Any = None
        self._begin, self._attack = begin, attack
        self._problem = replace(problem, network=self.decisions)
        self._greenlet = greenlet(self._run)
        self._greenlet.gr_context = contextvars.copy_context()
        self._numpy = MT19937(0)
        self._torch = _torch_state()
        self._gradients = torch.is_grad_enabled()

    def resume(self) -> bool:
        """Go on until the next query; whether there is one."""
        with self._of_its_own():
            self._greenlet.switch()
        return not self._greenlet.dead

    def end(self) -> None:
        """Give up an attack that still waits."""
        with self._of_its_own():
            # One that has not begun, or is at its end, takes no notice.
            self._greenlet.throw()

    @contextmanager
    def _of_its_own(self) -> Iterator[None]:
        """This attack's random numbers and its mode of gradients, for as long as it runs."""
        mode = torch.is_grad_enabled()
        mtrand.set_bit_generator(self._numpy)
        _set_torch_state(self._torch)
        torch.set_grad_enabled(self._gradients)
        try:
            yield
        finally:
            self._torch, self._gradients = _torch_state(), torch.is_grad_enabled()
            torch.set_grad_enabled(mode)

    def _run(self) -> None:
        self.result = self._attack(self._problem, self._begin)


@torch.no_grad()
def _answer(network: nn.Module, waiting: Sequence[Decisions]) -> None:
    """Answer the queries of some attacks."""
    shared: list[Decisions] = []
    for one in waiting:
        if len(one.query) > SMALL:
            one.answer = _leads(network, [one])[0] > 0
            continue
        if sum(len(other.query) for other in shared) + len(one.query) > TOGETHER:
            _answer_together(network, shared)
            shared = []
        shared.append(one)
    if shared:
        _answer_together(network, shared)


def _answer_together(network: nn.Module, waiting: Sequence[Decisions]) -> None:
    """Answer some queries with one forward pass, and those in doubt with another one each."""
    leads = _leads(network, waiting)
    if len(waiting) > 1:
        certain = [bool(whole) for whole in torch.stack([(lead.abs() > DOUBT).all() for lead in leads]).tolist()]
        leads = [
            lead if whole else _leads(network, [one])[0]
            for one, lead, whole in zip(waiting, leads, certain, strict=True)
        ]
    for one, lead in zip(waiting, leads, strict=True):
        one.answer = lead > 0


def _leads(network: nn.Module, waiting: Sequence[Decisions]) -> list[Tensor]:
    """How far beyond its threshold each decision is, in units of the largest logit.

    Returns:
        (n,) for each query: above 0 for what is adversarial; -inf where a logit is not finite.
    """
    sizes = [len(one.query) for one in waiting]
    if len(waiting) == 1:
        (one,) = waiting
        images, labels, clean = one.query, one.label.expand(sizes[0]), one.clean
    else:
        images = torch.cat([one.query for one in waiting])
        counts = torch.tensor(sizes, device=images.device)
        labels = torch.cat([one.label for one in waiting]).repeat_interleave(counts)
        clean = torch.cat([one.clean for one in waiting]).repeat_interleave(counts)
    logits = network(images)
    largest = margins.size(logits).clamp_(min=clean)
    lead = margins.excess(logits, labels).amax(1) / largest - margins.ROUNDING
    # The largest logit is finite exactly where all are.
    return list(lead.masked_fill_(~largest.isfinite(), -torch.inf).split(sizes))


@contextmanager
def _own_state() -> Iterator[None]:
    """Give NumPy its own source of random numbers back."""
    generator = mtrand.get_bit_generator()
    try:
        yield
    finally:
        mtrand.set_bit_generator(generator)


def _torch_state() -> list[Tensor]:
    """The states of the random numbers of torch, that of the CPU first."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    return [torch.get_rng_state(), *map(torch.cuda.get_rng_state, devices)]


def _set_torch_state(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for device, state in enumerate(states[1:]):
        torch.cuda.set_rng_state(state, device)
