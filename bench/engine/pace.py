"""How fast networks are on this machine: what the time of a network of one's own is reckoned by before it was ever run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import suites
from adapters.layout import laid_out
from bench import data, networks
from bench.certify import cost, reading
from bench.domain import Domain
from bench.engine.costs import Costs
from bench.networks.spec import NetworkSpec
from bench.norms import Norm
from bench.problem import Unsupported, in_unit_box
from bench.specs import AttackSpec, Row, VerifierSpec
from bench.usercode import kept

REFERENCES = ("MLP", "CNN")
"""A fast and a slow network whose costs are known: a row of an attack costs what the line through the two says."""

STEADY = "foolbox-ddn-l2"
"""A row that takes an image through the network and back once in each step, and does little else."""

IMAGES, ROUNDS = 50, 5


@dataclass(frozen=True, slots=True)
class Pace:
    """What a network takes on this machine.

    Attributes:
        seconds: of one core, to take an image through the network and back, in a batch.
        bounds: what certified bounds of an image cost by norm, as :func:`bench.certify.cost.forecast` reckons; empty where
            the network has none.
        dense: whether these are those of a network without pooling.
    """

    seconds: float
    bounds: Mapping[Norm, float]
    dense: bool = False


def with_own(
    measured: Costs, rows: Sequence[Row], specs: Sequence[NetworkSpec], domain: Domain, *, download: bool = False
) -> Costs:
    """The costs of a plan on this machine, where it has networks that were never measured.

    Nothing is loaded, and the costs are returned as they are, where every network was measured.

    Args:
        measured: costs of other networks, of :data:`REFERENCES` among them.
        rows: of the plan.
        specs: its networks.
        domain: of its images.
        download: whether trained weights that a library brings may be downloaded.

    Returns:
        The costs of every network of the plan, in seconds of one core of this machine as fast as it is now.

    Raises:
        BenchError: a network cannot be loaded, or returns no logits.
    """
    own = [spec for spec in specs if spec.name not in measured]
    if not own or not set(REFERENCES) <= set(measured):
        return measured
    digits = data.find("mnist").domain
    modules = {spec.name: (networks.source(spec, domain=domain, download=download).module, domain) for spec in own}
    for name, (module, _) in modules.items():
        networks.check_output(module, domain, name)
    paces = _paces(modules | {name: (networks.load(name), digits) for name in REFERENCES})
    fast, slow = (paces[name] for name in REFERENCES)
    speed = slow.seconds / _measured_pass(measured)
    scaled = {name: {row: speed * seconds for row, seconds in costs.items()} for name, costs in measured.items()}
    return scaled | {name: _estimated(paces[name], rows, scaled, (fast, slow)) for name in modules}


def _measured_pass(measured: Costs) -> float:
    """Seconds of an image's pass through the slow reference and back, where the costs were measured."""
    (row,) = suites.rows(name=STEADY)
    assert isinstance(row, AttackSpec)
    return measured[REFERENCES[1]][row.name] / int(str(row.params[row.steps]))


def _estimated(pace: Pace, rows: Sequence[Row], known: Costs, references: tuple[Pace, Pace]) -> dict[str, float]:
    fast, slow = references
    place = max(0.0, (pace.seconds - fast.seconds) / max(slow.seconds - fast.seconds, 1e-9))
    found = {}
    for row in rows:
        costs = [known[name].get(row.name) for name in REFERENCES]
        low, high = costs
        if low is None or high is None:
            continue
        if not isinstance(row, VerifierSpec):
            found[row.name] = low + place * max(high - low, 0.0)
        else:
            like, seconds = (fast, low) if pace.dense else (slow, high)
            found[row.name] = seconds * pace.bounds.get(row.norm, 0.0) / like.bounds[row.norm]
    return found


def _paces(modules: Mapping[str, tuple[nn.Module, Domain]]) -> dict[str, Pace]:
    """Every network timed by turns, so that what else the machine does falls on all of them alike."""
    with kept():
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(0)
        images = {
            name: torch.rand((IMAGES, *domain.shape), generator=generator) for name, (_, domain) in modules.items()
        }
        unit = {name: in_unit_box(module, domain) for name, (module, domain) in modules.items()}
        attacked = {name: laid_out(module) for name, module in unit.items()}
        fastest = dict.fromkeys(modules, float("inf"))
        for _ in range(ROUNDS):
            for name in modules:
                fastest[name] = min(fastest[name], _passed(attacked[name], images[name]))
    return {name: _pace(unit[name], images[name][:4], fastest[name] / IMAGES) for name in modules}


def _passed(network: nn.Module, images: Tensor) -> float:
    inputs = images.clone().requires_grad_(True)
    begin = time.thread_time()
    try:
        with torch.enable_grad():
            torch.autograd.grad(network(inputs).sum(), inputs, allow_unused=True)
    except Exception:  # noqa: S110 - such as no gradient that reaches the image: the checks before a run tell
        pass
    return time.thread_time() - begin


def _pace(network: nn.Module, images: Tensor, seconds: float) -> Pace:
    try:
        plain = reading.read(network, images)
        bounds = {norm: cost.forecast(plain, norm).seconds for norm in Norm}
        for norm in Norm:
            cost.check(plain, norm)
    except Unsupported:
        return Pace(seconds, {})
    return Pace(seconds, bounds, cost.is_dense(plain))
