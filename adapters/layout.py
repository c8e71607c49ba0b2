"""A copy of a network whose convolutions are computed in the fastest way: in what memory order, and by which kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench import guard
from bench.guard import frozen


def laid_out(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode, frozen, with its convolutions laid out as CPUs attack them fastest.

    Weights of convolutions lie ``channels_last``, and convolutions of one channel are computed by :class:`GreyConv2d`.
    These are rules from measurements on CPUs, and are not measured again at each start: both change the rounding, and
    records are to be the same everywhere.

    Args:
        network: any; it stays as it is.

    Returns:
        The copy; the network itself where it cannot be copied.
    """
    try:
        copied = frozen(guard.copied(network))
    except Exception:
        return network
    for layer in list(copied.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)
    faster: dict[nn.Module, nn.Module] = {}
    for layer in list(copied.modules()):
        for name, child in list(layer._modules.items()):  # noqa: SLF001 - every name, where a layer has several
            if isinstance(child, nn.Conv2d) and _is_grey(child):
                # A layer that occurs twice stays one layer.
                setattr(layer, name, faster.setdefault(child, GreyConv2d(child)))
    return GreyConv2d(copied) if isinstance(copied, nn.Conv2d) and _is_grey(copied) else copied


class GreyConv2d(nn.Conv2d):
    """A convolution of one channel, by torch's own kernel on CPUs where that is faster than oneDNN's.

    oneDNN computes several channels at once. Where there is but one, the gradient with respect to the image takes it
    several times as long as torch's kernel, which multiplies matrices (``tests/benchmarks/test_adapters.py`` measures
    it); with more channels oneDNN is the faster one, and without a gradient it is so for all but single images.

    Args:
        layer: what it takes the place of; parameters and all else are shared.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        nn.Module.__init__(self)
        # All that the layer has, what its owner added to it included.
        vars(self).update(vars(layer))

    def forward(self, images: Tensor) -> Tensor:
        """What ``nn.Conv2d`` gives, up to rounding: (n, 1, h, w) to (n, channels, h', w')."""
        if images.device.type != "cpu" or images.ndim != 4 or not (images.requires_grad or len(images) == 1):
            return super().forward(images)
        # The kernel reads the memory format from the strides, and is slower with channels last. Of one channel the
        # weights lie in the same order in both.
        weight = self.weight.flatten().view(self.weight.shape)
        features: Tensor = torch.ops.aten.thnn_conv2d(
            images, weight, self.kernel_size, self.bias, self.stride, self.padding
        )
        # What follows, pooling above all, is several times faster with channels last.
        return features.contiguous(memory_format=torch.channels_last)


def _is_grey(layer: nn.Conv2d) -> bool:
    """Whether a layer is a plain convolution of one channel, without a class, a hook or a method of its owner's."""
    return (
        type(layer) is nn.Conv2d
        and layer.in_channels == 1
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and not {"forward", "__call__"} & set(vars(layer))
        and not any(hooks for name, hooks in vars(layer).items() if name.endswith("_hooks"))
    )
