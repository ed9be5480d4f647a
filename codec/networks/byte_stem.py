"""The first layer of the analysis on bytes: what `Analysis.stem` gives, in fewer passes over memory and from unrounded pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.tensors import as_batch

BLOCK = 8


class ByteStem:
    r"""pixels uint8 [8 h, 8 w, 3] -> [1, n, h, w], computed in `dtype`: every centred byte is exact in bfloat16, too.

    ::

        bytes -> blocks of 8x8x3 in a row (as bytes) -> centred -> one matrix product
                     layer(x / 255 - 0.5) = weight / 255 (byte - 128) + (128 / 255 - 0.5) weight + bias
    """

    def __init__(self, stem: nn.Conv2d) -> None:
        assert stem.bias is not None
        weight = (
            stem.weight.view(-1, 3, BLOCK, BLOCK).permute(0, 2, 3, 1).reshape(len(stem.weight), -1)
        )
        self.weight = weight / 255
        self.bias = stem.bias + (128 / 255 - 0.5) * weight.sum(1)

    def __call__(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        h = pixels.shape[0] // BLOCK
        w = pixels.shape[1] // BLOCK
        blocks = pixels.reshape(h, BLOCK, w, 3 * BLOCK).transpose(1, 2).reshape(h, w, -1)
        return as_batch(
            F.linear(blocks.to(dtype).sub_(128), self.weight.to(dtype), self.bias.to(dtype))
        )
