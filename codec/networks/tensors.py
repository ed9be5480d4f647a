"""Layout and precision of tensors: arrays as channels-last batches, and where bfloat16 pays."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def as_batch(array: Tensor) -> Tensor:
    """View an array [h, w, C] as a channels-last batch [1, C, h, w] of the same memory.

    The batch axis comes before the channels move. In the other order, layers do not recognise the
    layout as channels-last and copy the tensor.
    """
    return array[None].permute(0, 3, 1, 2)


def as_array(batch: Tensor) -> Tensor:
    """View the first picture of a batch [B, C, h, w] as an array [h, w, C]."""
    return batch[0].permute(1, 2, 0)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(
        getattr(torch.cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer on the main (non-residual) path in float32, also inside an autocast.

    Symbols and pixels have more than bfloat16's eight significant bits.
    """
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())
