"""Identify towers by their weights, independently of the library that holds them."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from codec.errors import UnsupportedTower

DIGITS = 16  # hexadecimal digits of a signature


def signature(trunk: nn.Module) -> str:
    """Compute the signature of a tower's weights.

    It is a SHA-256 over the weights of the patch embedding in half precision. The patch embedding
    is the first convolution of a vision transformer; its weights are the same in open_clip, timm
    and transformers.

    Args:
        trunk: the tower's module.

    Returns:
        16 hexadecimal digits.

    Raises:
        UnsupportedTower: the trunk has no convolution.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            halves = module.weight.detach().to("cpu", torch.float16).contiguous().numpy()
            digest = hashlib.sha256(f"{halves.shape}".encode() + halves.tobytes())
            return digest.hexdigest()[:DIGITS]
    raise UnsupportedTower(
        "the tower has no patch embedding by convolution, so its adapter cannot be identified"
    )
