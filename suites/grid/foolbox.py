"""Foolbox's rows, with their hyperparameters and the reasons for them. The figures are in docs/step_counts.md."""

from __future__ import annotations

from dataclasses import replace

from bench.norms import Norm
from bench.specs import AttackSpec, Family, Hole, Origin, Value
from suites.grid import methods

DEEPFOOL_L2 = AttackSpec(
    method=methods.DEEPFOOL,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:L2DeepFoolAttack",
    params={"steps": 50, "candidates": 10, "overshoot": 0.02, "loss": "logits"},
    batch=50,
    reasons={
        "steps": "paper: until the class changes; library: 50, which no image of the four networks reaches",
        "candidates": "library and paper: 10, which are all classes of MNIST",
        "overshoot": "library and paper: 0.02; it keeps candidates off the boundary, where rounding would decide",
    },
)

DEEPFOOL_LINF = AttackSpec(
    method=methods.DEEPFOOL,
    library="foolbox",
    norm=Norm.LINF,
    target="foolbox.attacks:LinfDeepFoolAttack",
    params=DEEPFOOL_L2.params,
    batch=50,
    reasons=DEEPFOOL_L2.reasons,
)

SPARSEFOOL = AttackSpec(
    method=methods.SPARSEFOOL,
    library="foolbox",
    norm=Norm.L0,
    target="adapters.paper.attacks:SparseFool",
    params={"steps": 50, "control": 1.0, "overshoot": 0.02, "inner_steps": 50, "inner_overshoot": 0.02},
    origin=Origin.PORT,
    batch=50,
    reasons={
        "steps": "paper: until the class changes; its code: 20",
        "control": "paper: 1 to 3, where 3 needs fewer steps and changes more pixels; 1 finds the fewest pixels here",
        "overshoot": "the paper's code: 0.02",
        "inner_overshoot": "the paper's code: 0.02",
    },
    bound=1.5,
    bound_reason=methods.WHOLE_PIXELS,
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
    batch=25,
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
    method=methods.CW_EVERY_CLASS,
    target="adapters.foolbox.attacks:L2CarliniWagnerEveryClassAttack",
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
    batch=25,
    cap=25,
    reasons={
        "steps": "library: 25000, paper: about as many; the budget ends here, and the distance still falls",
        "spherical_step": "library and paper: 0.01; the attack adapts it, and a larger one arrives there sooner",
        "source_step": "library and paper: 0.01; as spherical_step",
        "source_step_convergance": "library: 1e-7; 0 never stops an image, so that none depends on the others of its batch",
        "update_stats_every_k": "library: 10; the step sizes adapt twice as often",
        "cap": "thousands of queries one after the other",
    },
    defects="with the steps that the budget allows it has not converged",
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
    batch=5,
    cap=15,
    reasons={
        "steps": methods.HSJ_STEPS,
        "initial_gradient_eval_steps": methods.HSJ_QUERIES,
        "max_gradient_eval_steps": "paper and both libraries: 10000",
        "cap": "tens of thousands of queries for each image",
    },
    bound=1.5,
    bound_reason="it keeps to the class in which its first steps land, be it the nearest or not",
)

HOPSKIPJUMP_LINF = AttackSpec(
    method=methods.HOPSKIPJUMP,
    library="foolbox",
    norm=Norm.LINF,
    target="adapters.foolbox.attacks:HopSkipJumpAttack",
    params={**HOPSKIPJUMP_L2.params, "constraint": "linf"},
    batch=5,
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
    batch=5,
    reasons={"l2_binary_search": "library: True, which lowers L2 and never L0"},
    bound=3.0,
    bound_reason="it ends where no single pixel can be put back, and random order decides where that is",
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

BRENDEL_BETHGE = tuple(
    AttackSpec(
        method=methods.BRENDEL_BETHGE,
        library="foolbox",
        norm=norm,
        target=f"adapters.foolbox.attacks:{name}BrendelBethgeAttack",
        params={**_BB, "steps": methods.BB_STEPS[norm], "lr": methods.BB_RATES[norm]},
        batch=5,
        cap=25,
        reasons=_BB_REASONS,
    )
    for norm, name in ((Norm.L0, "L0"), (Norm.L2, "L2"), (Norm.LINF, "Linfinity"))
)

DDN = AttackSpec(
    method=methods.DDN,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:DDNAttack",
    params={"init_epsilon": 1.0, "steps": 300, "gamma": 0.05},
    batch=50,
    reasons={
        "init_epsilon": "paper and library: 1",
        "steps": "paper: 100, 300 and 1000; library: 100",
        "gamma": "paper and library: 0.05",
    },
    bound=1.5,
    bound_reason="the cross-entropy's gradient leads towards all classes at once, and sometimes to one that is not the nearest",
)

LONG_STEPS = "library: 1; longer first steps leave poor optima, on CNN_d above all, but from 5 on miss an image of a linear network"

FMN_LINF = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.LINF,
    target="foolbox.attacks:LInfFMNAttack",
    params={"steps": 300, "max_stepsize": 3.0, "gamma": 0.05},
    batch=50,
    reasons={"steps": "paper: 1000 at most; library: 100", "max_stepsize": LONG_STEPS},
)

FMN_EVERY_CLASS_LINF = AttackSpec(
    method=methods.FMN_EVERY_CLASS,
    library="foolbox",
    norm=Norm.LINF,
    target="adapters.foolbox.attacks:LInfFMNEveryClassAttack",
    params={"steps": 200, "max_stepsize": 3.0, "gamma": 0.05},
    origin=Origin.REPAIRED,
    batch=50,
    reasons={"steps": "paper: 1000 at most; library: 100; here for each class", "max_stepsize": LONG_STEPS},
)

FMN_L0 = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.L0,
    target="foolbox.attacks:L0FMNAttack",
    params={"steps": 300, "max_stepsize": 1.0, "gamma": 0.05},
    batch=50,
    reasons={"steps": "paper: 1000 at most; library: 100"},
    defects="its projection keeps one pixel more than it should, so that it never returns a single pixel",
    bound=1.5,
    bound_reason=methods.WHOLE_PIXELS,
)

FMN_L2 = AttackSpec(
    method=methods.FMN,
    library="foolbox",
    norm=Norm.L2,
    target="foolbox.attacks:L2FMNAttack",
    params={"steps": 300, "max_stepsize": 1.0, "gamma": 0.05},
    batch=50,
    reasons={"steps": "paper: 1000 at most; library: 100"},
    defects="its projection divides a norm by itself and so projects nothing: the step size alone keeps it near the image",
    bound=3.0,
    bound_reason="the defect",
)

SIGMA_ZERO = AttackSpec(
    method=methods.SIGMA_ZERO,
    library="foolbox",
    norm=Norm.L0,
    target="adapters.paper.attacks:SigmaZero",
    params={"steps": 1000, "stepsize": 1.0, "sigma": 1e-3, "threshold": 0.3, "threshold_step": 0.01},
    origin=Origin.PORT,
    batch=50,
    reasons={
        "steps": "paper: 1000",
    },
    bound=1.5,
    bound_reason=methods.WHOLE_PIXELS,
)

ROWS = (
    DEEPFOOL_L2,
    DEEPFOOL_LINF,
    SPARSEFOOL,
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
    SIGMA_ZERO,
)

HOLES = (
    Hole(
        family=Family.CW,
        norm=Norm.L0,
        library="foolbox",
        reason="Foolbox has C&W in L2 only; the paper's L0 attack repeats the L2 attack once for each pixel it gives up",
    ),
    Hole(
        family=Family.CW,
        norm=Norm.LINF,
        library="foolbox",
        reason="Foolbox has C&W in L2 only; its reference row for Linf is FMN",
    ),
)
