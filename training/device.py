"""Settings and the name of the device that training runs on."""

from __future__ import annotations

import os

import torch

from codec.evaluation.machine import processor


def use_huge_pages() -> None:
    """Make torch use huge pages for large tensors. Call it before the first tensor is made.

    A step of `small` takes 10 % less time (checkpoints/TRAINING.md). If the user has set the
    variable, it is not changed. Other systems than Linux ignore it.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def device_name() -> str:
    """The name of the GPU; without one, the name of the processor and its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {processor() or 'a CPU'}"


def weights_below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Select the part of a state dict below a prefix.

    Args:
        weights: A state dict.
        prefix: Including the dot, for example `networks.`.

    Returns:
        The tensors whose names start with the prefix; the prefix is removed from the names.
    """
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
