"""Adapters: any torch network as a classifier of an attack library, and that library's attacks for the bench.

For notebooks: ``from adapters import art_classifier, foolbox_model``. Each imports its library at its first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier
    from foolbox.models.pytorch import PyTorchModel
    from torch import nn

__all__ = ["art_classifier", "foolbox_model"]


def art_classifier(network: nn.Module, **options: Any) -> PyTorchClassifier:
    """The network as an ART classifier: see :func:`adapters.art.attacker.classifier`."""
    from adapters.art.attacker import classifier  # noqa: PLC0415 - imports ART, which takes seconds

    return classifier(network, **options)


def foolbox_model(network: nn.Module, **options: Any) -> PyTorchModel:
    """The network as a Foolbox model: see :func:`adapters.foolbox.attacker.classifier`."""
    from adapters.foolbox.attacker import classifier  # noqa: PLC0415 - imports Foolbox, which takes seconds

    return classifier(network, **options)
