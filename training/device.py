"""Settings and names of the machine that trains."""

from __future__ import annotations

import os

import torch

from codec.evaluation.machine import processor


def use_huge_pages() -> None:
    """Ask torch for huge pages where tensors are large, before it makes the first of them.

    A step of `small` takes a tenth less time (checkpoints/TRAINING.md). A value that the
    user has set stays. Linux only: elsewhere torch ignores the variable.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def device_name() -> str:
    """The name of the GPU, or of the processor and the number of its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {processor() or 'a CPU'}"


def weights_below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Select the part of a state dict below a prefix.

    Args:
        weights: A state dict.
        prefix: With its dot, as `networks.`.

    Returns:
        The tensors whose names start with the prefix, under names without it.
    """
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
