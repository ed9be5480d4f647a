"""Forms of the transforms for inference alone: fewer passes over memory, the same numbers.

::

    bytes -> ByteStem: blocks of 8x8 pixels in a row, one matrix product -> Analysis.after_stem
    network -> packed(network): the same modules, but Conv2d -> PackedConv
                                                  ResidualBlock -> PackedBlock

`F.conv2d` brings a layer's weights into oneDNN's layout at every call, and a leaky ReLU passes over
the layer's output once more. Packed layers do neither. With any number of threads, their results
equal those of `F.conv2d` with several threads, bit by bit. The prior's layers are too small to
gain from packing.

Bytes also avoid a rounding: x / 255 - 0.5 is not exact in bfloat16, a centred byte is.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.blocks import LEAK, HalvingLayer, ResidualBlock
from codec.networks.tensors import as_batch, has_bfloat16

Network = TypeVar("Network", bound=nn.Module)
# What PyTorch's own compiler calls; not part of its documented interface.
OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise")
BLOCK = 8  # pixels of a block, along a side
BYTE_MAX = 255
BYTE_CENTRE = 128  # makes bytes fit the eight significant bits of bfloat16


class ByteStem:
    r"""The analysis' stem for pixels as bytes.

    ::

        bytes -> blocks of 8x8x3 in a row (as bytes) -> centred -> one matrix product

        layer(x / 255 - 0.5) = weight / 255 (byte - 128) + (128 / 255 - 0.5) weight + bias

    Args:
        stem: `Analysis.stem`, a 1x1 layer on unshuffled pixels.
    """

    def __init__(self, stem: nn.Conv2d) -> None:
        assert stem.bias is not None
        weight = (
            stem.weight.view(-1, 3, BLOCK, BLOCK).permute(0, 2, 3, 1).reshape(len(stem.weight), -1)
        )
        self.weight = weight / BYTE_MAX
        self.bias = stem.bias + (BYTE_CENTRE / BYTE_MAX - 0.5) * weight.sum(1)

    def __call__(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Apply the layer.

        Args:
            pixels: uint8 [8 h, 8 w, 3].
            dtype: the type to compute in.

        Returns:
            [1, n, h, w] in `dtype`, channels-last.
        """
        h = pixels.shape[0] // BLOCK
        w = pixels.shape[1] // BLOCK
        blocks = pixels.reshape(h, BLOCK, w, 3 * BLOCK).transpose(1, 2).reshape(h, w, -1)
        centred = blocks.to(dtype).sub_(BYTE_CENTRE)
        return as_batch(F.linear(centred, self.weight.to(dtype), self.bias.to(dtype)))


def can_pack(device: torch.device) -> bool:
    """Whether packed networks are the faster ones on a device.

    They compute in float32, but on a device with bfloat16 the transforms compute in bfloat16.
    """
    if device.type != "cpu" or has_bfloat16(device) or not torch.backends.mkldnn.is_available():
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


class PackedConv(nn.Module):
    """A convolution with packed weights.

    Args:
        weight: [out, in / groups, k, k].
        bias: [out].
        stride: of the convolution.
        groups: of its channels; the input is padded by k // 2 where there is more than one.
        leak: slope below zero of the leaky ReLU that follows; 1 for none.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, stride: int = 1, groups: int = 1, leak: float = 1.0
    ) -> None:
        super().__init__()
        padding = weight.shape[-1] // 2 if groups > 1 else 0
        geometry = ([padding] * 2, [stride] * 2, [1, 1], groups)
        self.bias = bias
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, None)
        after: tuple[str, list[float]] = ("none", []) if leak == 1 else ("leaky_relu", [leak])
        self.options: tuple[Any, ...] = (*geometry, *after, "")

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, in, h, w] to [B, out, h / stride, w / stride]."""
        return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.options)


class PackedBlock(nn.Module):
    """A blocks.ResidualBlock.

    Args:
        block: the block.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.depthwise = _packed_conv(block.depthwise)
        self.expand = _packed_conv(block.expand, LEAK)
        self.project = _packed_conv(block.project)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        return self.project(self.expand(self.depthwise(x))).add_(x)


def _packed_conv(layer: nn.Conv2d, leak: float = 1.0) -> PackedConv:
    assert layer.bias is not None
    if isinstance(layer, HalvingLayer):
        return PackedConv(layer.weight.view(len(layer.weight), -1, 2, 2), layer.bias, 2)
    return PackedConv(layer.weight, layer.bias, layer.stride[0], layer.groups, leak)


def packed(network: Network) -> Network:
    """A packed copy of a network; it shares everything but the weights of the convolutions.

    Args:
        network: without gradients, in float32 on the CPU; layers that overlap are depthwise.

    Returns:
        A network with the same interface.
    """
    if isinstance(network, nn.Conv2d):
        return _packed_conv(network)  # type: ignore[return-value]
    if isinstance(network, ResidualBlock):
        return PackedBlock(network)  # type: ignore[return-value]
    if not network._modules:
        return network
    twin = copy.copy(network)
    twin._modules = {name: child and packed(child) for name, child in network._modules.items()}
    return twin
