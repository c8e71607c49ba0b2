"""Attacks written here from their papers, by the names that rows give; each treats the images of a call independently."""

from adapters.paper.alma import ALMA
from adapters.paper.apgd import MinimalAPGD
from adapters.paper.brendel_bethge import BrendelBethge
from adapters.paper.deepfool import DeepFool, SparseFool
from adapters.paper.fab import FAB
from adapters.paper.fmn import FMN
from adapters.paper.pdpgd import PDPGD
from adapters.paper.sigma_zero import SigmaZero

__all__ = ["ALMA", "FAB", "FMN", "PDPGD", "BrendelBethge", "DeepFool", "MinimalAPGD", "SigmaZero", "SparseFool"]
