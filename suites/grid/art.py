"""ART's rows, with their hyperparameters and the reasons for them."""

from __future__ import annotations

from dataclasses import replace

from bench.norms import Norm
from bench.specs import AttackSpec, Coupling, Family, Hole, Origin, Start
from suites.grid import methods

DEEPFOOL_L2 = AttackSpec(
    method=methods.DEEPFOOL,
    library="art",
    norm=Norm.L2,
    target="adapters.art.attacks:DeepFool",
    params={"max_iter": 20, "epsilon": 0.02, "nb_grads": 10, "batch_size": 50},
    steps="max_iter",
    block=50,
    reasons={
        "max_iter": "paper: until the class changes; library: 100; the library goes beyond the boundary only after its "
        "last step, so that many images use every step there is; the median is the same from 10 steps on",
        "epsilon": "paper: 0.02; library: 1e-6, which leaves candidates on the boundary, where rounding would decide",
        "nb_grads": methods.DEEPFOOL_CANDIDATES,
        "batch_size": "library: 1; all images of a call at once",
    },
)

CW_L2 = AttackSpec(
    method=methods.CW,
    library="art",
    norm=Norm.L2,
    target="art.attacks.evasion:CarliniL2Method",
    params={
        "confidence": 0.0,
        "targeted": False,
        "learning_rate": 0.01,
        "binary_search_steps": 10,
        "max_iter": 120,
        "initial_const": 10.0,
        "max_halving": 5,
        "max_doubling": 5,
        "batch_size": 25,
    },
    steps="max_iter",
    block=25,
    reasons={
        "max_iter": "library: 10; more steps do not lower the median; with 30 it is 8 % larger on the MLP",
        "initial_const": "paper: from 0.001, library: 0.01; here the search for the constant works downwards only",
        "batch_size": "library: 1; all images of a call at once",
    },
    defects="Black and white pixels hardly move: in the variable that keeps the image in the box their derivative is "
    "2e-6, and the line search along the gradient scales all pixels alike. The search for the constant never rises "
    "again after a success.",
)

CW_LINF = AttackSpec(
    method=methods.CW,
    library="art",
    norm=Norm.LINF,
    target="art.attacks.evasion:CarliniLInfMethod",
    params={
        "confidence": 0.0,
        "targeted": False,
        "learning_rate": 0.1,
        "max_iter": 100,
        "decrease_factor": 0.9,
        "initial_const": 10.0,
        "largest_const": 11.0,
        "const_factor": 2.0,
        "batch_size": 1,
    },
    steps="max_iter",
    block=5,
    cap=20,
    reasons={
        "learning_rate": "library: 0.01, with which one image in six finds nothing",
        "max_iter": "library: 10, with which no image finds anything",
        "initial_const": "library: 1e-5; the constant does not enter the gradient, so that one is as good as twenty",
        "largest_const": "library: 20; as initial_const",
        "cap": "one image at a time",
    },
    defects="The constant that weighs the class against the distance never enters the gradient, and the class has a "
    "gradient even when it has changed: pixels whose derivative is above 1 leave the image for ever.",
)

CW_L0 = AttackSpec(
    method=methods.CW,
    library="art",
    norm=Norm.L0,
    target="adapters.art.attacks:CarliniL0Method",
    params={
        "confidence": 0.0,
        "targeted": False,
        "learning_rate": 0.01,
        "binary_search_steps": 1,
        "max_iter": 3,
        "initial_const": 10.0,
        "warm_start": False,
        "max_halving": 5,
        "max_doubling": 5,
        "batch_size": 1,
    },
    steps="max_iter",
    block=1,
    cap=3,
    reasons={
        "warm_start": "library: True, which begins each pass where the last one ended and keeps its changes",
        "binary_search_steps": "library: 10; the cost allows no more",
        "max_iter": "library: 10; the cost allows no more",
        "initial_const": "library: 0.01, which one search step cannot raise",
        "cap": "one search for every pixel that is given up, hundreds for each image",
    },
    defects="It gives up one pixel at a time, the unchanged ones too, so that few steps are left for each search; "
    "black and white pixels hardly move, as in its L2 attack.",
)

REPAIRED_CW_L2 = AttackSpec(
    method=methods.CW,
    variant=methods.REPAIRED,
    library="art",
    norm=Norm.L2,
    target="adapters.art.repaired:RepairedCarliniL2",
    params={
        "confidence": 0.0,
        "learning_rate": 0.05,
        "binary_search_steps": 6,
        "max_iter": 300,
        "initial_const": 1.0,
        "smoother": 0.9999,
        "batch_size": 25,
    },
    origin=Origin.REPAIRED,
    steps="max_iter",
    block=25,
    reasons={
        "learning_rate": "paper: 0.01, with 10000 steps; a larger one arrives sooner",
        "binary_search_steps": "paper: 20, library: 10; from a constant that is near those that succeed",
        "max_iter": "paper: 10000",
        "smoother": "library: 0.999999; black and white pixels begin nearer to where they can move",
    },
)

REPAIRED_CW_L0 = AttackSpec(
    method=methods.CW,
    variant=methods.REPAIRED,
    library="art",
    norm=Norm.L0,
    target="adapters.art.repaired:RepairedCarliniL0",
    params={
        "confidence": 0.0,
        "learning_rate": 0.05,
        "binary_search_steps": 3,
        "max_iter": 100,
        "initial_const": 1.0,
        "smoother": 0.9999,
        "batch_size": 25,
        "passes": 40,
        "fraction": 0.2,
    },
    origin=Origin.REPAIRED,
    steps="max_iter",
    block=25,
    cap=15,
    reasons={
        "binary_search_steps": "paper: 20; any image of the class will do, it need not be the nearest",
        "max_iter": "paper: 1000",
        "fraction": "paper: all that contribute less than a threshold, at least one",
        "passes": "paper: until the search fails; by 40 all have",
        "cap": "forty searches for each image",
    },
)

REPAIRED_CW_LINF = AttackSpec(
    method=methods.CW,
    variant=methods.REPAIRED,
    library="art",
    norm=Norm.LINF,
    target="adapters.art.repaired:RepairedCarliniLInf",
    params={
        "confidence": 0.0,
        "learning_rate": 0.05,
        "max_iter": 200,
        "decrease_factor": 0.95,
        "initial_const": 1.0,
        "largest_const": 5.0,
        "const_factor": 2.0,
        "batch_size": 25,
        "smoother": 0.9999,
    },
    origin=Origin.REPAIRED,
    steps="max_iter",
    block=25,
    reasons={
        "learning_rate": "paper and library: 0.01; a larger one arrives sooner",
        "max_iter": "library: 10; a search ends at its first success, and one that fails after as many steps as the "
        "cost allows",
        "decrease_factor": "paper and library: 0.9; smaller steps: the median is 4 % lower on the CNN",
        "initial_const": "library: 1e-5; nearer to the constants that succeed",
        "largest_const": "library: 20; from 5 on nothing more is found",
        "const_factor": "paper and library: 2",
        "batch_size": "library: 1; many images together",
        "smoother": "library: 0.999999; black and white pixels begin nearer to where they can move",
    },
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
    steps="max_iter",
    start=Start.NEAREST,
    coupling=Coupling.LOCKSTEP,
    block=25,
    cap=20,
    reasons={
        "targeted": "library: True",
        "max_iter": "library: 5000, each with 20 points; the cost allows no more, and the distance still falls",
        "cap": "tens of thousands of queries for each image",
    },
)

HOPSKIPJUMP = tuple(
    AttackSpec(
        method=methods.HOPSKIPJUMP,
        library="art",
        norm=norm,
        target="adapters.art.attacks:HopSkipJump",
        params={
            "targeted": False,
            "norm": order,
            "max_iter": 200,
            "max_eval": 10000,
            "init_eval": 20,
            "batch_size": 1000,
        },
        steps="max_iter",
        start=Start.NEAREST,
        coupling=Coupling.LOCKSTEP,
        block=25,
        cap=15,
        reasons={
            "max_iter": methods.HSJ_STEPS,
            "max_eval": "paper and both libraries: 10000",
            "init_eval": methods.HSJ_QUERIES,
            "batch_size": "library: 64; the points around one image go through the network together",
            "cap": "tens of thousands of queries for each image",
        },
        defects="It returns the point after its last step away from the boundary, a fourteenth of the distance with "
        "200 steps, and does not bisect back.",
    )
    for norm, order in ((Norm.L2, 2), (Norm.LINF, "inf"))
)

_GEODA = {
    "max_iter": 20000,
    "sub_dim": 28,
    "bin_search_tol": 1e-4,
    "lambda_param": 0.6,
    "sigma": 0.002,
}
_GEODA_REASONS = {
    "max_iter": "authors' code and library: 4000; the queries of all estimates together, half of HopSkipJump's; "
    "the cost allows no more, and the distance still falls",
    "sub_dim": "authors' code: 75 of 224 frequencies along a side, library: 10; all of MNIST's, as with fewer the "
    "repaired row ends farther away; all where the input is no picture",
    "bin_search_tol": "authors' code: 1e-4; library: 0.1, at which no noise crosses the boundary and estimates say nothing",
    "sigma": "authors' code and library: 0.0002; far above the tolerance of the bisection, so that noise crosses the "
    "boundary",
    "cap": "tens of thousands of queries for each image",
}
GEODA = tuple(
    AttackSpec(
        method=methods.GEODA,
        library="art",
        norm=norm,
        target="adapters.art.boundary:GeoDA",
        params={"norm": order, **_GEODA},
        steps="max_iter",
        start=Start.NEAREST,
        coupling=Coupling.LOCKSTEP,
        block=25,
        cap=15,
        reasons=_GEODA_REASONS,
        defects="Its steps are five times as long as the gradient that it estimates, whatever the box: in a box of [0, 1] the first one "
        f"leaves it{turned}. The first estimate counts as much as the last. It returns the last point, not the nearest one, and one of the image's own class "
        "where no step changes it. It asks about points a little outside the box.",
    )
    for norm, order, turned in (
        (Norm.L2, 2, ", and what is cut off turns its direction"),
        (Norm.LINF, "inf", ", so that values with less room move less than the norm allows"),
    )
)

REPAIRED_GEODA = tuple(
    replace(
        row,
        variant=methods.REPAIRED,
        origin=Origin.REPAIRED,
        target="adapters.art.repaired:RepairedGeoDA",
        defects="It asks about points a little outside the box.",
    )
    for row in GEODA
)

SIGN_OPT = AttackSpec(
    method=methods.SIGN_OPT,
    library="art",
    norm=Norm.L2,
    target="adapters.art.boundary:SignOPTAttack",
    params={
        "targeted": False,
        "epsilon": 0.001,
        "num_trial": 100,
        "max_iter": 40,
        "query_limit": 40000,
        "k": 200,
        "alpha": 0.2,
        "beta": 0.001,
    },
    steps="max_iter",
    start=Start.NEAREST,
    coupling=Coupling.LOCKSTEP,
    block=25,
    cap=15,
    reasons={
        "targeted": "library: True",
        "max_iter": "library: 1000; about 19,000 queries, half of HopSkipJump's; the cost allows no more, and the distance "
        "still falls",
        "query_limit": "library: 20000; the steps end the attack before it",
        "cap": "tens of thousands of queries for each image",
    },
    defects="It measures a direction by its length before what leaves the box is cut off.",
)


def _brendel_bethge(norm: Norm, order: int | str) -> AttackSpec:
    return AttackSpec(
        method=methods.BRENDEL_BETHGE,
        library="art",
        norm=norm,
        target="adapters.art.attacks:BrendelBethgeAttack",
        params={
            "norm": order,
            "targeted": False,
            "overshoot": 1.1,
            "steps": methods.BB_STEPS[norm],
            "lr": methods.BB_RATES[norm],
            "lr_decay": 0.5,
            "lr_num_decay": 20,
            "momentum": 0.8,
            "binary_search_steps": 10,
        },
        steps="steps",
        start=methods.BB_STARTS[norm],
        coupling=Coupling.BATCH,
        block=5,
        cap=25,
        reasons={
            "steps": methods.BB_STEP,
            "lr": methods.BB_RATE,
            "cap": "one small optimisation problem for each step",
        },
    )


BRENDEL_BETHGE = tuple(_brendel_bethge(norm, order) for norm, order in ((Norm.L0, 0), (Norm.L2, 2), (Norm.LINF, "inf")))

JSMA = AttackSpec(
    method=methods.JSMA,
    library="art",
    norm=Norm.L0,
    target="adapters.art.attacks:SaliencyMapMethod",
    params={"theta": 1.0, "gamma": 1.0, "batch_size": 50, "candidates": 10},
    block=50,
    reasons={
        "theta": "paper: 1; library: 0.1, which changes the same pixels in ten steps",
        "gamma": "paper: at most 0.145 of the values; library: 1; a failure would say less than a large distance",
        "batch_size": "library: 1; all images of a call at once",
        "candidates": methods.CANDIDATES,
    },
    defects="It is run once for each other class. It scores a pixel by the derivative of the target's logit alone, "
    "and moves pixels in pairs and only upwards.",
)

ROWS = (
    DEEPFOOL_L2,
    CW_L2,
    CW_LINF,
    CW_L0,
    REPAIRED_CW_L2,
    REPAIRED_CW_L0,
    REPAIRED_CW_LINF,
    BOUNDARY,
    *HOPSKIPJUMP,
    *GEODA,
    *REPAIRED_GEODA,
    SIGN_OPT,
    *BRENDEL_BETHGE,
    JSMA,
)

HOLES = (
    Hole(
        family=Family.DEEPFOOL,
        norm=Norm.L0,
        library="art",
        reason="ART's DeepFool knows L2 only; SparseFool, the DeepFool of L0, is the row paper-sparsefool-l0",
    ),
    Hole(
        family=Family.DEEPFOOL,
        norm=Norm.LINF,
        library="art",
        reason="ART's DeepFool knows L2 only; the paper's step in Linf is the row paper-deepfool-linf",
    ),
    Hole(
        family=Family.BOUNDARY,
        norm=Norm.L0,
        library="art",
        reason="ART has no decision-based attack that minimises L0; they know L2 and Linf only",
    ),
)

EAD_L1 = AttackSpec(
    method=methods.EAD,
    library="art",
    norm=Norm.L1,
    target="art.attacks.evasion:ElasticNet",
    params={
        "confidence": 0.0,
        "targeted": False,
        "learning_rate": 0.01,
        "binary_search_steps": 6,
        "max_iter": 300,
        "beta": 0.01,
        "initial_const": 1.0,
        "batch_size": 25,
        "decision_rule": "L1",
    },
    steps="max_iter",
    block=25,
    reasons={
        "binary_search_steps": methods.EAD_REASONS["search"],
        "initial_const": methods.EAD_REASONS["const"],
        "max_iter": methods.EAD_REASONS["steps"] + "; library: 100",
        "beta": methods.EAD_REASONS["beta"],
        "decision_rule": methods.EAD_REASONS["rule"],
        "batch_size": "library: 1; all images of a call at once",
    },
    defects="Where the class has changed the whole gradient is set to zero, that of the squared L2 distance too, so that "
    "only the shrinkage leads back to the image.",
)

BRENDEL_BETHGE_L1 = _brendel_bethge(Norm.L1, 1)

L1_ROWS = (EAD_L1, BRENDEL_BETHGE_L1)

L1_HOLES = (
    Hole(family=Family.DEEPFOOL, norm=Norm.L1, library="art", reason="ART's DeepFool knows L2 only"),
    Hole(
        family=Family.BOUNDARY,
        norm=Norm.L1,
        library="art",
        reason="ART has no decision-based attack that minimises L1; its GeoDA takes the norm 1 and does what it does in L2",
    ),
)
