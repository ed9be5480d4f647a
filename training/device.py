"""What computes here, and what a run left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")


def use_huge_pages() -> None:
    """Ask torch for huge pages where tensors are large, before it makes the first of them: a step of `small` takes a tenth less.

    What users set themselves stays. Linux only; elsewhere torch does not look at it.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def cpu_info() -> str:
    """The system's own description of its processors; empty where there is none."""
    return CPUINFO.read_text() if CPUINFO.exists() else ""


def processor() -> str:
    """The processor's name; empty where the system does not say."""
    return next((line.split(":")[1].strip() for line in cpu_info().splitlines() if line.startswith("model name")), "")


def device_name() -> str:
    """What computes here: the GPU, or the processor and its cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores of {processor() or 'a CPU'}"


def weights_below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The part of a state dict below a prefix, which is taken off."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
