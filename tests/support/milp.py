"""Exact minimal distances of small ReLU networks by SCIP: an independent solver on an independent formulation.

Each ReLU has a binary variable and big-M constraints (Tjeng et al., arXiv 1711.07356), M from interval arithmetic over
the whole box. Adversarial means here a margin of at least 0: the closure of what the judge asks for.
"""

from __future__ import annotations

import numpy as np
import pyscipopt
from numpy.typing import NDArray
from torch import nn

from bench.norms import Norm

FloatArray = NDArray[np.float64]


def minimal_distance(network: nn.Sequential, image: FloatArray, label: int, norm: Norm) -> float:
    """The distance to the nearest adversarial example in the box [0, 1], over all other classes; inf for none.

    Args:
        network: Linear and ReLU in turn, ending with Linear.
        image: (d,) in [0, 1].
        label: its class.
        norm: any.
    """
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    classes = layers[-1].out_features
    return min(_to_class(layers, image, label, target, norm) for target in range(classes) if target != label)


def _to_class(layers: list[nn.Linear], image: FloatArray, label: int, target: int, norm: Norm) -> float:
    model = pyscipopt.Model()
    model.hideOutput()
    model.setParam("limits/time", 60.0)
    inputs = [model.addVar(lb=0.0, ub=1.0) for _ in image]
    values, low, high = list(inputs), np.zeros(len(image)), np.ones(len(image))
    for layer in layers[:-1]:
        weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
        positive, negative = np.maximum(weight, 0), np.minimum(weight, 0)
        bottom, top = positive @ low + negative @ high + bias, positive @ high + negative @ low + bias
        following = []
        for unit, (lowest, highest) in enumerate(zip(bottom, top, strict=True)):
            z = pyscipopt.quicksum(w * value for w, value in zip(weight[unit], values, strict=True)) + bias[unit]
            relu, active = model.addVar(lb=0.0, ub=max(highest, 0.0)), model.addVar(vtype="B")
            model.addCons(relu >= z)
            model.addCons(relu <= z - min(lowest, 0.0) * (1 - active))
            model.addCons(relu <= max(highest, 0.0) * active)
            following.append(relu)
        values, low, high = following, np.maximum(bottom, 0), np.maximum(top, 0)
    weight, bias = layers[-1].weight.double().numpy(), layers[-1].bias.double().numpy()
    row = weight[target] - weight[label]
    margin = pyscipopt.quicksum(w * value for w, value in zip(row, values, strict=True))
    model.addCons(margin + (bias[target] - bias[label]) >= 0)
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
