"""Foolbox's rows, with their hyperparameters and the reasons for them. The figures are in docs/step_counts.md."""

from __future__ import annotations

from dataclasses import replace

from bench.norms import Norm
from bench.specs import AttackSpec, Coupling, Family, Hole, Origin, Start, Value
from suites.grid import methods

DEEPFOOL_L2 = AttackSpec(
    method=methods.DEEPFOOL,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:L2DeepFoolAttack",
    params={"steps": 50, "candidates": 10, "overshoot": 0.02, "loss": "logits"},
    steps="steps",
    block=50,
    reasons={
        "steps": "paper: until the class changes; library: 50, which no image of the four networks reaches",
        "candidates": methods.DEEPFOOL_CANDIDATES,
        "overshoot": "library and paper: 0.02; it keeps candidates off the boundary, where rounding would decide",
    },
)

DEEPFOOL_LINF = AttackSpec(
    method=methods.DEEPFOOL,
    library="foolbox",
    norm=Norm.LINF,
    target="foolbox.attacks:LinfDeepFoolAttack",
    params=DEEPFOOL_L2.params,
    steps="steps",
    block=50,
    reasons=DEEPFOOL_L2.reasons,
)

CW_L2 = AttackSpec(
    method=methods.CW,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:L2CarliniWagnerAttack",
    params={
        "binary_search_steps": 6,
        "steps": 300,
        "stepsize": 0.05,
        "confidence": 0.0,
        "initial_const": 1.0,
        "abort_early": False,
    },
    steps="steps",
    block=25,
    reasons={
        "binary_search_steps": "paper: 20, library: 9, from a constant that is too small by far",
        "initial_const": "library: 0.001; nearer to the constants that succeed, so that fewer search steps are needed",
        "steps": "paper and library: 10000; with the larger stepsize 300 reach the same median",
        "stepsize": "paper and library: 0.01",
        "abort_early": "library: True, which stops on the loss summed over the batch and so couples its images",
    },
)

CW_EVERY_CLASS_L2 = replace(
    CW_L2,
    variant=methods.EVERY_CLASS,
    target="adapters.foolbox.attacks:L2CarliniWagnerEveryClassAttack",
    params={**CW_L2.params, "candidates": 10},
    reasons={**CW_L2.reasons, "candidates": methods.CANDIDATES},
    origin=Origin.REPAIRED,
)

BOUNDARY = AttackSpec(
    method=methods.BOUNDARY,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:BoundaryAttack",
    params={
        "steps": 5000,
        "spherical_step": 0.1,
        "source_step": 0.1,
        "source_step_convergance": 0.0,
        "step_adaptation": 1.5,
        "update_stats_every_k": 5,
    },
    steps="steps",
    start=Start.NEAREST,
    coupling=Coupling.NOISE,
    block=25,
    cap=25,
    reasons={
        "steps": "library: 25000, paper: about as many; the cost allows no more, and the distance still falls",
        "spherical_step": "library and paper: 0.01; the attack adapts it, and a larger one arrives there sooner",
        "source_step": "library and paper: 0.01; as spherical_step",
        "source_step_convergance": "library: 1e-7; 0 never stops an image, so that none depends on the others of its "
        "batch",
        "update_stats_every_k": "library: 10; the step sizes adapt twice as often",
        "cap": "thousands of queries one after the other",
    },
    defects="With the steps that its cost allows it has not converged.",
)

HOPSKIPJUMP_L2 = AttackSpec(
    method=methods.HOPSKIPJUMP,
    library="foolbox",
    norm=Norm.L2,
    target="adapters.foolbox.attacks:HopSkipJumpAttack",
    params={
        "steps": 200,
        "initial_gradient_eval_steps": 20,
        "max_gradient_eval_steps": 10000,
        "stepsize_search": "geometric_progression",
        "gamma": 1.0,
        "constraint": "l2",
    },
    steps="steps",
    start=Start.NEAREST,
    coupling=Coupling.LOCKSTEP,
    block=25,
    cap=15,
    reasons={
        "steps": methods.HSJ_STEPS,
        "initial_gradient_eval_steps": methods.HSJ_QUERIES,
        "max_gradient_eval_steps": "paper and both libraries: 10000",
        "cap": "tens of thousands of queries for each image",
    },
)

HOPSKIPJUMP_LINF = AttackSpec(
    method=methods.HOPSKIPJUMP,
    library="foolbox",
    norm=Norm.LINF,
    target="adapters.foolbox.attacks:HopSkipJumpAttack",
    params={**HOPSKIPJUMP_L2.params, "constraint": "linf"},
    steps="steps",
    start=Start.NEAREST,
    coupling=Coupling.LOCKSTEP,
    block=25,
    cap=15,
    reasons=HOPSKIPJUMP_L2.reasons,
)

POINTWISE = AttackSpec(
    method=methods.POINTWISE,
    library="foolbox",
    norm=Norm.L0,
    target="foolbox.attacks:PointwiseAttack",
    params={"l2_binary_search": False},
    origin=Origin.STAND_IN,
    start=Start.NOISE,
    coupling=Coupling.LOCKSTEP,
    block=25,
    reasons={"l2_binary_search": "library: True, which lowers L2 and never L0"},
)

_BB: dict[str, Value] = {
    "overshoot": 1.1,
    "lr_decay": 0.5,
    "lr_num_decay": 20,
    "momentum": 0.8,
    "binary_search_steps": 10,
}
_BB_REASONS = {
    "steps": methods.BB_STEP,
    "lr": methods.BB_RATE,
    "cap": "one small optimisation problem for each step",
}


def _brendel_bethge(norm: Norm, name: str) -> AttackSpec:
    return AttackSpec(
        method=methods.BRENDEL_BETHGE,
        library="foolbox",
        norm=norm,
        target=f"adapters.foolbox.attacks:{name}BrendelBethgeAttack",
        params={**_BB, "steps": methods.BB_STEPS[norm], "lr": methods.BB_RATES[norm]},
        steps="steps",
        start=methods.BB_STARTS[norm],
        coupling=Coupling.BATCH,
        block=5,
        cap=25,
        reasons=_BB_REASONS,
    )


BRENDEL_BETHGE = tuple(
    _brendel_bethge(norm, name) for norm, name in ((Norm.L0, "L0"), (Norm.L2, "L2"), (Norm.LINF, "Linfinity"))
)

DDN = AttackSpec(
    method=methods.DDN,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:DDNAttack",
    params={"init_epsilon": 1.0, "steps": 300, "gamma": 0.05},
    steps="steps",
    block=50,
    reasons={
        "init_epsilon": "paper and library: 1",
        "steps": "paper: 100, 300 and 1000; library: 100",
        "gamma": "paper and library: 0.05",
    },
)

LONG_STEPS = (
    "library: 1; longer first steps leave poor local optima, above all on CNN_d; from 5 on they miss an image of a "
    "linear network"
)

FMN_LINF = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.LINF,
    target="foolbox.attacks:LInfFMNAttack",
    params={"steps": 300, "max_stepsize": 3.0, "gamma": 0.05},
    steps="steps",
    block=50,
    reasons={"steps": "paper: at most 1000; library: 100", "max_stepsize": LONG_STEPS},
)

FMN_EVERY_CLASS_LINF = AttackSpec(
    method=methods.FMN,
    variant=methods.EVERY_CLASS,
    library="foolbox",
    norm=Norm.LINF,
    target="adapters.foolbox.attacks:LInfFMNEveryClassAttack",
    params={"steps": 200, "max_stepsize": 3.0, "gamma": 0.05, "candidates": 10},
    origin=Origin.REPAIRED,
    steps="steps",
    block=50,
    reasons={
        "steps": "paper: at most 1000; library: 100; here for each class",
        "max_stepsize": LONG_STEPS,
        "candidates": methods.CANDIDATES,
    },
)

FMN_L0 = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.L0,
    target="foolbox.attacks:L0FMNAttack",
    params={"steps": 300, "max_stepsize": 1.0, "gamma": 0.05},
    steps="steps",
    block=50,
    reasons={"steps": "paper: at most 1000; library: 100"},
    defects="Its projection keeps one value more than it should: it never changes a single value, and ends in an error "
    "where it is to change all of them.",
)

FMN_L2 = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:L2FMNAttack",
    params={"steps": 300, "max_stepsize": 1.0, "gamma": 0.05},
    steps="steps",
    block=50,
    reasons={"steps": "paper: at most 1000; library: 100"},
    defects="Its projection divides a norm by itself and so projects nothing: the step size alone keeps it near the "
    "image.",
)

ROWS = (
    DEEPFOOL_L2,
    DEEPFOOL_LINF,
    CW_L2,
    CW_EVERY_CLASS_L2,
    BOUNDARY,
    HOPSKIPJUMP_L2,
    HOPSKIPJUMP_LINF,
    POINTWISE,
    *BRENDEL_BETHGE,
    DDN,
    FMN_LINF,
    FMN_EVERY_CLASS_LINF,
    FMN_L0,
    FMN_L2,
)

HOLES = (
    Hole(
        family=Family.DEEPFOOL,
        norm=Norm.L0,
        library="foolbox",
        reason="Foolbox's DeepFool knows L2 and Linf only; SparseFool, the DeepFool of L0, is the row "
        "paper-sparsefool-l0",
    ),
    Hole(
        family=Family.CW,
        norm=Norm.L0,
        library="foolbox",
        reason="Foolbox has C&W in L2 only; the paper's L0 attack repeats the L2 attack once for each pixel that it "
        "gives up",
    ),
    Hole(
        family=Family.CW,
        norm=Norm.LINF,
        library="foolbox",
        reason="Foolbox has C&W in L2 only; its reference row for Linf is FMN",
    ),
)

EAD_L1 = AttackSpec(
    method=methods.EAD,
    library="foolbox",
    norm=Norm.L1,
    target="foolbox.attacks:EADAttack",
    params={
        "binary_search_steps": 6,
        "steps": 300,
        "initial_stepsize": 0.01,
        "confidence": 0.0,
        "initial_const": 1.0,
        "regularization": 0.01,
        "decision_rule": "L1",
        "abort_early": False,
    },
    steps="steps",
    block=25,
    reasons={
        "binary_search_steps": methods.EAD_REASONS["search"],
        "initial_const": methods.EAD_REASONS["const"],
        "steps": methods.EAD_REASONS["steps"] + "; library: 10000",
        "regularization": methods.EAD_REASONS["beta"],
        "decision_rule": methods.EAD_REASONS["rule"],
        "abort_early": "library: True, which stops on the loss summed over the batch and so couples its images",
    },
)

FMN_L1 = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.L1,
    target="foolbox.attacks:L1FMNAttack",
    params={"steps": 300, "max_stepsize": 0.3, "gamma": 0.05},
    steps="steps",
    block=50,
    reasons={
        "steps": "paper: at most 1000; library: 100",
        "max_stepsize": "library: 1",
    },
    defects="It finds nothing for many images.",
)

BRENDEL_BETHGE_L1 = _brendel_bethge(Norm.L1, "L1")

L1_ROWS = (EAD_L1, BRENDEL_BETHGE_L1, FMN_L1)

L1_HOLES = (
    Hole(
        family=Family.DEEPFOOL,
        norm=Norm.L1,
        library="foolbox",
        reason="Foolbox's DeepFool knows L2 and Linf only",
    ),
    Hole(
        family=Family.BOUNDARY,
        norm=Norm.L1,
        library="foolbox",
        reason="Foolbox has no decision-based attack that minimises L1; its HopSkipJump knows L2 and Linf only",
    ),
)
