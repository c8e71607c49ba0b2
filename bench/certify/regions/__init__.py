"""Regions and their support functions: how far a function can rise inside a ball and the box. All that a norm provides.

A region is ``{x0 + d : low <= d <= high, |d|_p <= radius}``.
"""

from bench.certify.regions.bent import bent_suprema
from bench.certify.regions.compiled import jit
from bench.certify.regions.halfspace import cut_suprema
from bench.certify.regions.region import Region
from bench.certify.regions.rounding import SLACK, slack
from bench.certify.regions.support import CODES, Ball, BoolArray, insert, size_of, supremum

__all__ = [
    "CODES",
    "SLACK",
    "Ball",
    "BoolArray",
    "Region",
    "bent_suprema",
    "cut_suprema",
    "insert",
    "jit",
    "size_of",
    "slack",
    "supremum",
]
