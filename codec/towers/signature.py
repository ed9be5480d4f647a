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
        UnsupportedTower: the trunk has no convolution, or its weights are not loaded.
    """
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            halves = _weight(module).detach().to("cpu", torch.float16).contiguous().numpy()
            digest = hashlib.sha256(f"{halves.shape}".encode() + halves.tobytes())
            return digest.hexdigest()[:DIGITS]
    raise UnsupportedTower(
        "the tower has no patch embedding by convolution, so its adapter cannot be identified"
    )


def _weight(module: nn.Conv2d) -> torch.Tensor:
    """A module's weight, also where accelerate keeps it in memory or on disk until it is used.

    Raises:
        UnsupportedTower: there are no values.
    """
    if not module.weight.is_meta:
        return module.weight
    kept = getattr(getattr(module, "_hf_hook", None), "weights_map", None)
    if kept is None:
        raise UnsupportedTower("the tower's weights are not loaded yet, so it cannot be identified")
    weight: torch.Tensor = kept["weight"]
    return weight
