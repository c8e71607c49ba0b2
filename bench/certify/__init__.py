"""Certified lower bounds and exact minimal distances, in L0, L1, L2 and Linf: see docs/certify.md.

From CROWN to the code: ``layers`` (a network as arrays), ``regions`` (what a norm provides), ``dense`` (bound propagation,
cuts, branch and bound), ``pooled`` (maxima over windows), ``l0`` (pixels), ``verifier`` (what ties them together).
"""
