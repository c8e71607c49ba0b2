"""How a network's convolutions are computed: in what order their weights lie in memory, and by which kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lay_out(network: nn.Module) -> None:
    """Gives a network's convolutions the layout in which a CPU attacks them fastest.

    In place; the parameters stay the same objects. Weights lie ``channels_last``, and convolutions of one channel become a
    :class:`GreyConv2d`. These are rules from measurements on CPUs, and are not measured again at each start: both change
    the rounding, and records are to be the same everywhere.

    Args:
        network: any; one without convolutions stays as it is.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)
            # A class of somebody else's has a forward of its own.
            if type(layer) is nn.Conv2d and _is_grey(layer):
                layer.__class__ = GreyConv2d


class GreyConv2d(nn.Conv2d):
    """A convolution of one channel, by torch's own kernel on CPUs where that is faster than oneDNN's.

    oneDNN computes several channels at once. Where there is but one, the gradient with respect to the image takes it
    several times as long as torch's kernel, which multiplies matrices (``tests/benchmarks/test_adapters.py`` measures
    it); with more channels oneDNN is the faster one, and without a gradient it is so for all but single images.
    """

    def forward(self, images: Tensor) -> Tensor:
        """What ``nn.Conv2d`` gives, up to rounding: (n, 1, h, w) to (n, channels, h', w')."""
        if images.device.type != "cpu" or images.ndim != 4 or not (images.requires_grad or len(images) == 1):
            return super().forward(images)
        # The kernel reads the memory format from the strides, and is slower with channels last. Of one channel the weights
        # lie in the same order in both.
        weight = self.weight.flatten().view(self.weight.shape)
        features: Tensor = torch.ops.aten.thnn_conv2d(
            images, weight, self.kernel_size, self.bias, self.stride, self.padding
        )
        # What follows, pooling above all, is several times faster with channels last.
        return features.contiguous(memory_format=torch.channels_last)

    def _get_name(self) -> str:
        # A network's printed structure is part of its fingerprint, and is the same as before.
        return "Conv2d"


def _is_grey(layer: nn.Conv2d) -> bool:
    return (
        layer.in_channels == 1
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )
