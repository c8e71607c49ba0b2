"""Verifier rows: certified lower bounds by a fixed amount of work, and the search for exact distances by the clock."""

from __future__ import annotations

from bench.norms import Norm
from bench.specs import Kind, VerifierSpec

NORMS = (Norm.L0, Norm.L2, Norm.LINF)

PAPERS = {
    Kind.LOWER: "arXiv:1811.00866, arXiv:2011.13824, arXiv:2208.05740",
    Kind.EXACT: "arXiv:2103.06624, arXiv:2104.06718, arXiv:1711.07356",
}

IDEAS = {
    Kind.LOWER: (
        "Bound every logit's margin from above by a linear function of the image that holds on a whole ball, and use "
        "that function in turn to tighten what it was made of. The largest ball on which all margins stay negative "
        "holds no adversarial example."
    ),
    Kind.EXACT: (
        "Branch and bound: where the bounds leave a margin open, split on the sign of a ReLU (in L0: on a pixel) and "
        "bound both parts. It goes on until the certified radius meets the nearest adversarial example found."
    ),
}

FORMULA = (
    "sup over the ball of (z_k - z_y)(x) <= min over alpha, beta, gamma of sup over the ball of a.x + c, by backward "
    "substitution: relu(z) <= u (z - l) / (u - l), relu(z) >= alpha z, beta s z >= 0 for a fixed sign s, "
    "gamma (a.x + c) >= 0 at every adversarial example"
)


def lower(norms: tuple[Norm, ...] = NORMS) -> tuple[VerifierSpec, ...]:
    """The rows of certified lower bounds, one for each of ``norms``."""
    return tuple(
        VerifierSpec(
            slug="lower",
            title="lower bound",
            norm=norm,
            kind=Kind.LOWER,
            seconds=120.0,  # the work is fixed and ends long before; on a huge network of the user's own this ends it
            paper=PAPERS[Kind.LOWER],
            idea=IDEAS[Kind.LOWER],
            formula=FORMULA,
            block=5,
        )
        for norm in norms
    )


LOWER, LOWER_L1 = lower(), lower((Norm.L1,))
"""Those of L0, L2 and Linf, and that of L1."""


def exact(seconds: float, norms: tuple[Norm, ...] = NORMS) -> tuple[VerifierSpec, ...]:
    """The rows of the exact search.

    Args:
        seconds: CPU time for each image; 0 for rows that wait to be asked for with ``--exact``.
        norms: one row for each.
    """
    return tuple(
        VerifierSpec(
            slug="exact",
            title="exact search",
            norm=norm,
            kind=Kind.EXACT,
            seconds=seconds,
            paper=PAPERS[Kind.EXACT],
            idea=IDEAS[Kind.EXACT],
            formula=FORMULA,
        )
        for norm in norms
    )
