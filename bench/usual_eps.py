"""The sizes of change at which papers state robust accuracy: the field's usual eps, for the datasets that have some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.domain import Domain
from bench.norms import Norm

_MNIST: Mapping[Norm, tuple[float, ...]] = {Norm.LINF: (0.3, 0.1), Norm.L2: (2.0,), Norm.L1: (10.0,)}
_CIFAR: Mapping[Norm, tuple[float, ...]] = {Norm.LINF: (8 / 255,), Norm.L2: (0.5,)}
_IMAGENET: Mapping[Norm, tuple[float, ...]] = {Norm.LINF: (4 / 255,), Norm.L2: (3.0,)}

_USUAL: Mapping[str, tuple[range, Mapping[Norm, tuple[float, ...]]]] = {
    "mnist": (range(28**2, 28**2 + 1), _MNIST),
    "cifar10": (range(32**2, 32**2 + 1), _CIFAR),
    "cifar100": (range(32**2, 32**2 + 1), _CIFAR),
    "imagenet": (range(224**2, 2**31), _IMAGENET),
}
"""Dataset -> how many pixels its pictures have, and the usual eps of pictures in [0, 1]."""

_ALSO = {"imagenet1k": "imagenet", "imagenetval": "imagenet", "ilsvrc2012": "imagenet"}


def usual_eps(dataset: str | Mapping[str, Any], norm: Norm, domain: Domain) -> tuple[float, ...]:
    """At which sizes of change papers state the robust accuracy of networks on this dataset.

    ======== ================ ==== ==== ==========================================================================
    dataset  Linf             L2   L1   sources
    ======== ================ ==== ==== ==========================================================================
    MNIST    0.3, also 0.1    2.0  10   Linf 0.3: arXiv:1706.06083, 0.1: 1711.00851; L2, L1: 1904.13000, 1909.04068
    CIFAR    8/255            0.5       RobustBench (arXiv:2010.09670), AutoAttack (2003.01690)
    ImageNet 4/255            3.0       Linf: RobustBench (arXiv:2010.09670); both: AutoAttack (2003.01690)
    ======== ================ ==== ==== ==========================================================================

    arXiv:1706.06083 trains and attacks in L2 on MNIST as well, but states no one eps; 2.0 is that of papers on several
    norms at once. CIFAR-100 has the values of CIFAR-10.

    Args:
        dataset: its name (``mnist``, ``CIFAR-10``, ``torchvision:CIFAR10``), or the manifest of a run.
        norm: of the change.
        domain: of the images; the values are in its distances, so for pictures of 0..255 they are 255 times as large.

    Returns:
        The values, the most usual first; empty where the field has none: for another dataset, for pictures of another size
        than the dataset's (the same L2 is another change there), and in other norms.
    """
    name = dataset if isinstance(dataset, str) else str((dataset.get("data") or {}).get("name", ""))
    plain = re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("torchvision:"))
    sizes, values = _USUAL.get(_ALSO.get(plain, plain), (range(0), {}))
    if domain.pixels not in sizes:
        return ()
    scale = domain.scale(norm)
    return tuple(value * scale for value in values.get(norm, ()))
