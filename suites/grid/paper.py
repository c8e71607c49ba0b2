"""Rows of attacks written here from their papers, with their hyperparameters and the reasons for them."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import AttackSpec, Origin
from suites.grid import methods

DEEPFOOL_LINF = AttackSpec(
    method=methods.DEEPFOOL,
    library="paper",
    norm=Norm.LINF,
    target="adapters.paper.attacks:DeepFool",
    params={"norm": "linf", "steps": 50, "overshoot": 0.02, "candidates": 10},
    origin=Origin.PORT,
    steps="steps",
    block=50,
    reasons={
        "steps": "paper: until the class changes; its code: 50",
        "overshoot": "paper: 0.02",
        "candidates": methods.CANDIDATES,
    },
)

SPARSEFOOL = AttackSpec(
    method=methods.SPARSEFOOL,
    library="paper",
    norm=Norm.L0,
    target="adapters.paper.attacks:SparseFool",
    params={
        "steps": 50,
        "control": 1.0,
        "overshoot": 0.02,
        "inner_steps": 50,
        "inner_overshoot": 0.02,
        "candidates": 10,
    },
    origin=Origin.PORT,
    steps="steps",
    block=50,
    reasons={
        "steps": "paper: until the class changes; its code: 20",
        "control": "paper: 1 to 3, where 3 needs fewer steps and changes more pixels; 1 finds the fewest pixels here",
        "overshoot": "the paper's code: 0.02",
        "inner_overshoot": "the paper's code: 0.02",
        "candidates": methods.CANDIDATES,
    },
)

SIGMA_ZERO = AttackSpec(
    method=methods.SIGMA_ZERO,
    library="paper",
    norm=Norm.L0,
    target="adapters.paper.attacks:SigmaZero",
    params={"steps": 1000, "stepsize": 1.0, "sigma": 1e-3, "threshold": 0.3, "threshold_step": 0.01},
    origin=Origin.PORT,
    steps="steps",
    block=50,
    reasons={"steps": "paper: 1000"},
)

ROWS = (DEEPFOOL_LINF, SPARSEFOOL, SIGMA_ZERO)
