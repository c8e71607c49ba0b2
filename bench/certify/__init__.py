"""Certified lower bounds and exact minimal distances, in L0, L2 and Linf."""

from bench.certify.layers import Unsupported
from bench.certify.verifier import Bounds, bound

__all__ = ["Bounds", "Unsupported", "bound"]
