"""What computes here, and what a run left."""

from __future__ import annotations

import os

import torch

from codec.evaluation.machine import processor


def use_huge_pages() -> None:
    """Ask torch for huge pages where tensors are large, before it makes the first of them: a step of `small` takes a tenth less.

    What users set themselves stays. Linux only; elsewhere torch does not look at it.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def device_name() -> str:
    """What computes here: the GPU, or the processor and its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {processor() or 'a CPU'}"


def weights_below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The part of a state dict below a prefix, which is taken off."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
