"""Tells towers apart by their weights, whatever library holds them."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from codec.errors import UnsupportedTower


def signature(trunk: nn.Module) -> str:
    """Hexadecimal digits of a SHA-256 over the patch embedding's weights in half precision.

    The first convolution of a vision transformer: the same numbers in open_clip, timm and transformers. Raises UnsupportedTower
    where there is none.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            halves = module.weight.detach().to("cpu", torch.float16).contiguous().numpy()
            return hashlib.sha256(f"{halves.shape}".encode() + halves.tobytes()).hexdigest()[:16]
    raise UnsupportedTower(
        "the tower has no patch embedding by convolution, so no adapter can be told to be its own"
    )
