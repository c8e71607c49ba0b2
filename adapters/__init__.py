"""Adapters: any torch network as a classifier of an attack library, and that library's attacks for the bench.

Each folder is a library: its ``__init__`` has an object ``LIBRARY`` that says where its attacker lies.

For notebooks: ``from adapters import art_classifier, foolbox_model``. Each imports its library at its first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier
    from foolbox.models.pytorch import PyTorchModel
    from torch import nn

__all__ = ["art_classifier", "foolbox_model"]


def art_classifier(
    network: nn.Module, *, shape: tuple[int, ...], box: tuple[Any, Any], loss: nn.Module | None = None
) -> PyTorchClassifier:
    """The network as an ART classifier: see :func:`adapters.art.classifier.classifier`."""
    from adapters.art.classifier import classifier  # noqa: PLC0415 - imports ART, which takes seconds

    return classifier(network, shape=shape, box=box, loss=loss)


def foolbox_model(network: nn.Module, *, box: tuple[float, float], **options: Any) -> PyTorchModel:
    """The network as a Foolbox model: see :class:`adapters.foolbox.model.LeanModel`, which has more ``options``."""
    from adapters.foolbox.model import LeanModel  # noqa: PLC0415 - imports Foolbox, which takes seconds

    return LeanModel(network, bounds=box, **options)
