"""Where bfloat16 is used, and where it must not be."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer that the signal itself passes, also inside an autocast: symbols and pixels have more than bfloat16's eight bits."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())
