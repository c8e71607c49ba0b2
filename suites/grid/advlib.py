"""Adversarial Library's rows, with many steps: what our own are compared with.

Of its FMN only Linf is there: in L0 it fails on images of few values, in L1 and L2 it finds nothing for many images.
"""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import AttackSpec, Coupling, Method, Value
from suites.grid import methods

BLOCK = 25

_NORMS = {Norm.L1: "1", Norm.L2: "2", Norm.LINF: "inf"}


def _row(
    method: Method, norm: Norm, target: str, *, steps: str, params: dict[str, Value], reasons: dict[str, str]
) -> AttackSpec:
    return AttackSpec(
        method=method,
        library="advlib",
        norm=norm,
        target=f"adapters.advlib.attacks:{target}",
        params=params,
        steps=steps,
        # Several draw random numbers for all images together.
        coupling=Coupling.NOISE,
        block=BLOCK,
        reasons=reasons,
    )


DDN = _row(
    methods.DDN,
    Norm.L2,
    "ddn",
    steps="steps",
    params={"steps": 1000, "levels": None},
    reasons={"steps": "library: 100", "levels": "library: 256, to which it rounds images"},
)

FMN_LINF = _row(
    methods.FMN,
    Norm.LINF,
    "fmn",
    steps="steps",
    params={"norm": "inf", "steps": 1000},
    reasons={"steps": "library: 10; paper: at most 1000"},
)

ALMA = tuple(
    _row(
        methods.ALMA,
        norm,
        "alma",
        steps="num_steps",
        params={
            "distance": norm.value,
            "num_steps": 1000,
            "init_lr_distance": first,
            "\N{GREEK SMALL LETTER ALPHA}_rms": 0.99,
        },
        reasons={
            "distance": "as the row's norm",
            "init_lr_distance": "paper, on MNIST: 0.1 in L2, 0.5 in L1; library: none, a first rate of 0.1",
            "\N{GREEK SMALL LETTER ALPHA}_rms": "paper: 0.99; library: none",
        },
    )
    for norm, first in ((Norm.L1, 0.5), (Norm.L2, 0.1))
)

FAB = tuple(
    _row(
        methods.FAB,
        norm,
        "fab",
        steps="n_iter",
        params={"norm": _NORMS[norm], "n_iter": 100, "candidates": 9},
        reasons={},
    )
    for norm in (Norm.L1, Norm.L2, Norm.LINF)
)

PDPGD_L0 = _row(
    methods.PDPGD,
    Norm.L0,
    "pdpgd",
    steps="num_steps",
    params={"norm": "0", "num_steps": 1000, "proximal_operator": 23},
    reasons={"num_steps": "library: 500", "proximal_operator": "paper: L_2/3 for L0"},
)

PDPGD = tuple(
    _row(
        methods.PDPGD,
        norm,
        "pdpgd",
        steps="num_steps",
        params={"norm": _NORMS[norm], "num_steps": 1000},
        reasons={"num_steps": "library: 500"},
    )
    for norm in (Norm.L1, Norm.L2, Norm.LINF)
)

SIGMA_ZERO = _row(methods.SIGMA_ZERO, Norm.L0, "sigma_zero", steps="num_steps", params={"num_steps": 1000}, reasons={})

APGD = tuple(
    _row(
        methods.APGD_T,
        norm,
        "apgd_targeted",
        steps="n_iter",
        params={"norm": _NORMS[norm], "n_iter": 25, "binary_search_steps": 12, "candidates": 9},
        reasons={
            "n_iter": "library: 100, in each of 20 balls",
            "binary_search_steps": "library: 20; 12 halve the interval to a four-thousandth",
        },
    )
    for norm in (Norm.L1, Norm.L2, Norm.LINF)
)

ROWS = (DDN, FMN_LINF, *ALMA, *FAB, PDPGD_L0, *PDPGD, SIGMA_ZERO, *APGD)
