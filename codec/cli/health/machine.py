"""The machine: processor, bfloat16, GPU. Nothing heavy is imported."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from codec.backends.runtime import GPU

CPUINFO = Path("/proc/cpuinfo")
# Linux's names of the instructions that torch asks for (codec.networks.tensors.has_bfloat16).
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
NVIDIA = Path("/proc/driver/nvidia/gpus")


def processor() -> str:
    """The processor's name and the number of its cores."""
    name = _field("model name") or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count() or 1} cores"


def bfloat16() -> bool | None:
    """Whether the processor computes in bfloat16; None where the system does not say."""
    flags = _field("flags") or _field("Features")
    return None if flags is None else bool(BFLOAT16 & set(flags.split()))


def gpus() -> list[str]:
    """Names of NVIDIA GPUs; "unnamed" for one whose driver reports no name."""
    if not os.path.exists(GPU):
        return []
    names = []
    for information in sorted(NVIDIA.glob("*/information")):
        lines = information.read_text(errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names or ["unnamed"]


def _field(name: str) -> str | None:
    """A field of the first processor in /proc/cpuinfo."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None
