"""All networks that ``bench.train`` trains."""

from __future__ import annotations

from bench.networks.mnist import CNN, MLP, CNN_at_l2, CNN_at_linf, CNN_d, MLP_d, Network
from bench.networks.scikit import MLP_cancer, MLP_digits

TRAINED: dict[str, type[Network]] = {
    cls.__name__: cls for cls in (MLP, MLP_d, CNN, CNN_d, CNN_at_linf, CNN_at_l2, MLP_digits, MLP_cancer)
}
"""By name."""
