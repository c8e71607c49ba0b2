"""ART's rows, with their hyperparameters and the reasons for them."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import AttackSpec, Family, Hole, Origin
from suites import _methods as methods

DEEPFOOL_L2 = AttackSpec(
    method=methods.DEEPFOOL,
    library="art",
    norm=Norm.L2,
    target="art.attacks.evasion:DeepFool",
    params={"max_iter": 20, "epsilon": 0.02, "nb_grads": 10, "batch_size": 50},
    batch=50,
    reasons={
        "max_iter": "paper: until the class changes; library: 100; without an overshoot in between most images take all "
        "of them, and the median is the same from 10 on",
        "epsilon": "paper: 0.02; library: 1e-6, which leaves candidates on the boundary, where rounding would decide",
        "nb_grads": "library and paper: 10, which are all classes of MNIST",
        "batch_size": "library: 1; all images of a block at once",
    },
)

DEEPFOOL_LINF = AttackSpec(
    method=methods.DEEPFOOL,
    library="art",
    norm=Norm.LINF,
    target="adapters.ports:DeepFool",
    params={"norm": "linf", "steps": 50, "overshoot": 0.02},
    origin=Origin.PORT,
    batch=50,
    reasons={
        "steps": "paper: until the class changes; its code: 50",
        "overshoot": "paper: 0.02",
    },
)

SPARSEFOOL = AttackSpec(
    method=methods.SPARSEFOOL,
    library="art",
    norm=Norm.L0,
    target="adapters.ports:SparseFool",
    params={"steps": 50, "control": 1.0, "overshoot": 0.02, "inner_steps": 50, "inner_overshoot": 0.02},
    origin=Origin.PORT,
    batch=50,
    reasons={
        "steps": "paper: until the class changes; its code: 20",
        "control": "paper: 1 to 3, where 3 needs fewer steps and changes more pixels; 1 finds the fewest pixels here",
        "overshoot": "the paper's code: 0.02",
        "inner_overshoot": "the paper's code: 0.02",
    },
)

CW_L2 = AttackSpec(
    method=methods.CW,
    library="art",
    norm=Norm.L2,
    target="art.attacks.evasion:CarliniL2Method",
    params={
        "confidence": 0.001,
        "targeted": False,
        "learning_rate": 0.01,
        "binary_search_steps": 10,
        "max_iter": 30,
        "initial_const": 10.0,
        "max_halving": 5,
        "max_doubling": 5,
        "batch_size": 25,
    },
    batch=25,
    reasons={
        "initial_const": "paper: about 0.001, library: 0.01; the search for the constant works downwards only",
    },
    defects="Black and white pixels hardly move: in the variable that keeps the image in the box their derivative is "
    "2e-6, and the line search scales all pixels alike. The search for the constant never goes up again after a success.",
)

CW_LINF = AttackSpec(
    method=methods.CW,
    library="art",
    norm=Norm.LINF,
    target="art.attacks.evasion:CarliniLInfMethod",
    params={
        "confidence": 0.0,
        "targeted": False,
        "learning_rate": 0.01,
        "max_iter": 100,
        "decrease_factor": 0.9,
        "initial_const": 10.0,
        "largest_const": 11.0,
        "const_factor": 2.0,
        "batch_size": 1,
    },
    batch=5,
    reasons={
        "initial_const": "library: 1e-5; the constant does not enter the gradient, so that one is enough",
        "largest_const": "library: 20; as initial_const",
    },
    defects="The constant that weighs the class against the distance never enters the gradient.",
)

BOUNDARY = AttackSpec(
    method=methods.BOUNDARY,
    library="art",
    norm=Norm.L2,
    target="art.attacks.evasion:BoundaryAttack",
    params={
        "targeted": False,
        "delta": 0.01,
        "epsilon": 0.01,
        "step_adapt": 0.667,
        "max_iter": 1000,
        "num_trial": 25,
        "sample_size": 20,
        "min_epsilon": 0.0,
        "batch_size": 64,
    },
    batch=5,
    cap=20,
    reasons={
        "targeted": "library: True",
    },
)

HOPSKIPJUMP = tuple(
    AttackSpec(
        method=methods.HOPSKIPJUMP,
        library="art",
        norm=norm,
        target="art.attacks.evasion:HopSkipJump",
        params={
            "targeted": False,
            "norm": order,
            "max_iter": 50,
            "max_eval": 10000,
            "init_eval": 100,
            "batch_size": 1000,
        },
        batch=5,
        cap=20,
        reasons={
            "max_iter": "library: 50; the same in both libraries",
            "max_eval": "paper and both libraries: 10000",
            "init_eval": "paper and both libraries: 100",
            "batch_size": "library: 64; the points around one image go through the network together",
            "cap": "tens of thousands of queries for each image",
        },
    )
    for norm, order in ((Norm.L2, 2), (Norm.LINF, "inf"))
)

BRENDEL_BETHGE = tuple(
    AttackSpec(
        method=methods.BRENDEL_BETHGE,
        library="art",
        norm=norm,
        target="art.attacks.evasion:BrendelBethgeAttack",
        params={
            "norm": order,
            "targeted": False,
            "overshoot": 1.1,
            "steps": 1000,
            "lr": 1e-3,
            "lr_decay": 0.5,
            "lr_num_decay": 20,
            "momentum": 0.8,
            "binary_search_steps": 10,
        },
        batch=5,
        cap=20,
        reasons={
            "steps": "paper and library: 1000",
            "cap": "one small optimisation problem for each step",
        },
    )
    for norm, order in ((Norm.L0, 0), (Norm.L2, 2), (Norm.LINF, "inf"))
)

JSMA = AttackSpec(
    method=methods.JSMA,
    library="art",
    norm=Norm.L0,
    target="art.attacks.evasion:SaliencyMapMethod",
    params={"theta": 1.0, "gamma": 1.0, "batch_size": 50},
    batch=50,
    reasons={
        "theta": "paper: 1; library: 0.1, which changes the same pixels in ten steps",
        "gamma": "paper: 0.145 of the pixels at most; library: 1; a failure would say less than a large distance",
        "batch_size": "library: 1; all images of a block at once",
    },
    defects="It is run once for every other class. It scores a pixel by the derivative of the target's logit alone, "
    "and moves pixels in pairs and only upwards.",
)

ROWS = (
    DEEPFOOL_L2,
    DEEPFOOL_LINF,
    SPARSEFOOL,
    CW_L2,
    CW_LINF,
    BOUNDARY,
    *HOPSKIPJUMP,
    *BRENDEL_BETHGE,
    JSMA,
)

HOLES = (
    Hole(
        family=Family.BOUNDARY,
        norm=Norm.L0,
        library="art",
        reason="ART has no decision-based attack that minimises L0; its Boundary and HopSkipJump know L2 and Linf only",
    ),
)
