"""How far above the optimum each row may be on networks whose minimal distances are known."""

from __future__ import annotations

from bench.testing.attacks import USUAL

_WHOLE = (1.5, "distances are whole numbers, and these networks need two to four: one value too many is 1.5")
_KEEPS_ITS_CLASS = (1.5, "it keeps to the class in which its first steps land, be it the nearest or not")

_AMONG_TEN = (1.5, "up to 1.31 times the optimum among ten classes; among two within the usual")

TOLERANCES: dict[str, tuple[float, str]] = {
    "art-cw-l2": (10.0, "values at the ends of the box hardly move, see its defects"),
    "art-cw-linf": (20.0, "values with a large derivative leave the image for ever, see its defects"),
    "art-cw-l0": (20.0, "values at the ends of the box hardly move, see its defects"),
    "art-cw-repaired-l0": _WHOLE,
    "art-hopskipjump-l2": _KEEPS_ITS_CLASS,
    "art-hopskipjump-linf": _KEEPS_ITS_CLASS,
    "art-geoda-l2": (1.5, "its steps leave the box, see its defects"),
    "art-ead-l1": _AMONG_TEN,
    "art-jsma-l0": (3.0, "it moves values upwards only, and in pairs: these networks need two to four"),
    "foolbox-hopskipjump-l2": _KEEPS_ITS_CLASS,
    "foolbox-hopskipjump-linf": _KEEPS_ITS_CLASS,
    "foolbox-pointwise-l0": (
        3.0,
        "it ends where no single value can be put back, and random order decides where that is",
    ),
    "foolbox-ddn-l2": (
        1.5,
        "cross-entropy's gradient leads towards all classes at once, and not always to the nearest",
    ),
    "foolbox-ead-l1": _AMONG_TEN,
    "foolbox-fmn-l0": _WHOLE,
    "advlib-pdpgd-l0": (2.0, _WHOLE[1]),
    "advlib-pdpgd-l1": _KEEPS_ITS_CLASS,
    "advlib-alma-l1": _KEEPS_ITS_CLASS,
    "advlib-ddn-l2": (1.5, "as Foolbox's: cross-entropy's gradient leads towards all classes at once"),
    "foolbox-fmn-l1": _AMONG_TEN,
    "foolbox-fmn-l2": (3.0, "its defect"),
    "paper-sparsefool-l0": _WHOLE,
    "paper-sigma-zero-l0": _WHOLE,
    "paper-pdpgd-l0": _WHOLE,
    "paper-bb-linf": (1.5, "it begins at one image here, and keeps to the class of that one, be it the nearest or not"),
}
"""By row: found over optimum, and why it is not ``USUAL``."""


def tolerance(name: str) -> float:
    """How many times the optimum a row may find."""
    return TOLERANCES.get(name, (USUAL, ""))[0]
