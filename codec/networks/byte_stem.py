"""The analysis' first layer for pixels as bytes.

Bytes take a quarter of the memory of float32, and they avoid a rounding: x / 255 - 0.5 is not exact
in bfloat16, a centred byte is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.tensors import as_batch

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
