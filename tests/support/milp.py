"""Exact minimal distances of small networks of affine maps and maxima by SCIP: an independent solver and formulation.

Every member of a maximum, and its 0, has a binary variable that says whether it is the largest, and big-M constraints (Tjeng
et al., arXiv:1711.07356), M from interval arithmetic over the whole box. Adversarial means here a margin of at least 0:
the closure of what the judge asks for.
"""

from __future__ import annotations

import numpy as np
import pyscipopt
from numpy.typing import NDArray

from bench.certify.layers import PlainNetwork, Stage, dense
from bench.norms import Norm

FloatArray = NDArray[np.float64]


def minimal_distance(network: PlainNetwork, image: FloatArray, label: int, norm: Norm) -> float:
    """The distance to the nearest adversarial example in the box [0, 1], over all other classes; inf for none.

    Args:
        network: as plain arrays; tests compare them with the module.
        image: (d,) in [0, 1].
        label: its class.
        norm: any.
    """
    classes = range(len(network.bias))
    return min(_to_class(network, image, label, target, norm) for target in classes if target != label)


def _to_class(network: PlainNetwork, image: FloatArray, label: int, target: int, norm: Norm) -> float:
    model = pyscipopt.Model()
    model.hideOutput()
    model.setParam("timing/clocktype", 1)  # CPU time: other work on the machine costs none of it
    model.setParam("limits/time", 60.0)
    inputs = [model.addVar(lb=0.0, ub=1.0) for _ in image]
    values, low, high = list(inputs), np.zeros(len(image)), np.ones(len(image))
    for stage in network.stages:
        values, low, high = _stage(model, stage, values, low, high)
    row, constant = network.margin(label, target)
    margin = pyscipopt.quicksum(w * value for w, value in zip(row, values, strict=True))
    model.addCons(margin + constant >= 0)
    distance = model.addVar(lb=0.0)
    moves = [value - pixel for value, pixel in zip(inputs, image, strict=True)]
    if norm is Norm.L2:
        model.addCons(pyscipopt.quicksum(move * move for move in moves) <= distance)
    else:
        reach = [distance if norm is Norm.LINF else model.addVar(vtype="B" if norm is Norm.L0 else "C") for _ in moves]
        for move, most in zip(moves, reach, strict=True):
            model.addCons(move <= most)
            model.addCons(-move <= most)
        if norm in {Norm.L0, Norm.L1}:
            model.addCons(pyscipopt.quicksum(reach) <= distance)
    model.setObjective(distance, "minimize")
    model.optimize()
    if model.getStatus() == "infeasible":
        return np.inf
    assert model.getStatus() == "optimal"
    value = float(model.getObjVal())
    return float(np.sqrt(value)) if norm is Norm.L2 else value


def _stage(
    model: pyscipopt.Model, stage: Stage, values: list[pyscipopt.Variable], low: FloatArray, high: FloatArray
) -> tuple[list[pyscipopt.Variable], FloatArray, FloatArray]:
    """The variables of a stage's outputs, and their bounds."""
    weight = dense(stage.weight)
    positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
    bottom, top = positive @ low + negative @ high + stage.bias, positive @ high + negative @ low + stage.bias
    outputs, lowest, highest = [], [], []
    for window in stage.windows:
        members = [(weight[unit], stage.bias[unit], bottom[unit], top[unit]) for unit in window if unit >= 0]
        if stage.rectified:
            members.append((np.zeros(weight.shape[1]), 0.0, 0.0, 0.0))
        least, most = max(member[2] for member in members), max(member[3] for member in members)
        output = model.addVar(lb=least, ub=most)
        largest = [model.addVar(vtype="B") for _ in members]
        model.addCons(pyscipopt.quicksum(largest) == 1)
        for (row, bias, under, _), leads in zip(members, largest, strict=True):
            member = pyscipopt.quicksum(w * value for w, value in zip(row, values, strict=True) if w) + bias
            model.addCons(output >= member)
            model.addCons(output <= member + (most - under) * (1 - leads))
        outputs.append(output)
        lowest.append(least)
        highest.append(most)
    return outputs, np.array(lowest), np.array(highest)
