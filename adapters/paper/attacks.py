"""Attacks written here from their papers, by the names that rows give; each treats the images of a call independently."""

from adapters.paper.deepfool import DeepFool, SparseFool
from adapters.paper.fab import FAB
from adapters.paper.sigma_zero import SigmaZero

__all__ = ["FAB", "DeepFool", "SigmaZero", "SparseFool"]
