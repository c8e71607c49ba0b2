"""Rows of attacks written here from their papers, with their hyperparameters and the reasons for them."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import AttackSpec, Coupling, Method, Origin, Start, Value
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


def _row(
    method: Method,
    norm: Norm,
    target: str,
    params: dict[str, Value],
    reasons: dict[str, str],
    *,
    coupling: Coupling = Coupling.NONE,
) -> AttackSpec:
    return AttackSpec(
        method=method,
        library="paper",
        norm=norm,
        target=f"adapters.paper.attacks:{target}",
        params={"norm": norm.value, **params},
        origin=Origin.PORT,
        steps="steps",
        coupling=coupling,
        block=25,
        reasons=reasons,
    )


FAB_L1, FAB_L2, FAB_LINF = (
    _row(
        methods.FAB,
        norm,
        "FAB",
        {"steps": 30, "restarts": 2, "candidates": 10, "overshoot": 1.05, "bias": 0.1, "backward": 0.9, "halvings": 10},
        {
            "steps": "paper: 100; here for each class and start",
            "restarts": "paper: 1 to 100; the second start leaves the image, where gradients may vanish",
            "candidates": methods.ONE_BY_ONE,
            "halvings": "paper: 3 steps of its final search",
        },
    )
    for norm in (Norm.L1, Norm.L2, Norm.LINF)
)

APGD_L1, APGD_L2, APGD_LINF = (
    _row(
        methods.APGD_T,
        norm,
        "MinimalAPGD",
        {"steps": 30, "halvings": 10, "restarts": 2, "candidates": 10, "momentum": 0.75, "fraction": 0.75},
        {
            "steps": "paper: 100 in one ball; here in each of up to ten balls, which start where the last ended",
            "halvings": "of the ball's radius: to a thousandth; a class that finds nothing nearer ends after one ball",
            "restarts": "paper: 1 to 5; the second start is a random point, where gradients do not vanish",
            "candidates": methods.ONE_BY_ONE,
        },
        # In L1 a step moves the values with the largest derivatives: rounding decides which.
        coupling=Coupling.NOISE if norm is Norm.L1 else Coupling.NONE,
    )
    for norm in (Norm.L1, Norm.L2, Norm.LINF)
)

FMN_L1, FMN_L2 = (
    _row(
        methods.FMN,
        norm,
        "FMN",
        {
            "steps": 200,
            "stepsize": 1.0,
            "last_stepsize": 1e-5,
            "gamma": 0.05,
            "last_gamma": 1e-4,
            "candidates": 10,
        },
        {
            "steps": "paper: at most 1000; here for each class",
            "candidates": "first any class, then " + methods.ONE_BY_ONE,
        },
    )
    for norm in (Norm.L1, Norm.L2)
)

ALMA_L1, ALMA_L2 = (
    _row(
        methods.ALMA,
        norm,
        "ALMA",
        {
            "steps": 300,
            "first_step": 1.0,
            "last_rate": 0.01,
            "penalty": 1.0,
            "growth": 1.2,
            "patience": 10,
            "progress": 0.95,
            "averaging": 0.9,
            "squares": 0.9,
            "momentum": 0.9,
            "candidates": 10,
        },
        {
            "steps": "paper: 100 and 1000; here for each class; with more its medians go up and down",
            "first_step": "paper: chosen for each norm and data",
            "squares": "paper: 0.99",
            "candidates": "first any class, then " + methods.ONE_BY_ONE,
        },
        # Its steps react to which side of the boundary a point is on: over hundreds of them rounding grows.
        coupling=Coupling.NOISE,
    )
    for norm in (Norm.L1, Norm.L2)
)

BB_L1, BB_L2, BB_LINF = (
    AttackSpec(
        method=methods.BRENDEL_BETHGE,
        library="paper",
        norm=norm,
        target="adapters.paper.attacks:BrendelBethge",
        params={
            "norm": norm.value,
            "steps": 60,
            "starts": 16,
            "radius": radius,
            "halvings": 10,
            "momentum": 0.5,
            "overshoot": 1.1,
            "bisections": 10,
        },
        origin=Origin.PORT,
        steps="steps",
        start=Start.NEAREST,
        # It reacts to which side of the boundary a point is on: over many steps rounding grows.
        coupling=Coupling.NOISE,
        block=25,
        reasons={
            "steps": "paper and libraries: 1000, from one start; more than these lower the median no further",
            "starts": "paper and libraries: one; the nearest of them all is often at the end of another",
            "radius": "libraries: 0.028 of a picture of 28 x 28; a larger one lowers the mean of 16 starts",
            "halvings": "libraries: 20",
            "momentum": "libraries: 0.8; without it the attack ends farther away on networks that were trained to resist",
        },
    )
    for norm, radius in ((Norm.L1, 0.1), (Norm.L2, 0.1), (Norm.LINF, 0.2))
)

PDPGD_L0, PDPGD_L1, PDPGD_L2, PDPGD_LINF = (
    _row(
        methods.PDPGD,
        norm,
        "PDPGD",
        {
            "steps": steps,
            "primal": 0.1,
            "dual": dual,
            "ratio": 0.01,
            "averaging": 0.9,
            "squares": 0.999,
            "inner": 5,
            "candidates": candidates,
        },
        {
            "steps": "paper: 500; here for each class; in L0 many are worth more than many classes",
            "dual": "paper: 0.1; with it the attack in L0 misses the optimum of small networks",
            "candidates": "first any class, then those with the largest clean logits: two in L0, where the cost allows no more, "
            "else ten",
        },
    )
    for norm, steps, candidates, dual in (
        (Norm.L0, 1000, 2, 0.03),
        (Norm.L1, 300, 10, 0.1),
        (Norm.L2, 300, 10, 0.1),
        (Norm.LINF, 300, 10, 0.1),
    )
)

ROWS = (DEEPFOOL_LINF, APGD_LINF, FAB_L2, FMN_L2, ALMA_L2, BB_L2, BB_LINF, SPARSEFOOL, SIGMA_ZERO, PDPGD_L0)

STRONG_ROWS = (FAB_L2, FAB_LINF, APGD_L2, APGD_LINF, FMN_L2, ALMA_L2, BB_L2, BB_LINF, PDPGD_L0, PDPGD_L2, PDPGD_LINF)

L1_ROWS = (FAB_L1, APGD_L1, FMN_L1, ALMA_L1, BB_L1, PDPGD_L1)
