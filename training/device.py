"""What computes here."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpu_info() -> str:
    """The system's own description of its processors; empty where there is none."""
    return CPUINFO.read_text() if CPUINFO.exists() else ""


def processor() -> str:
    """The processor's name; empty where the system does not say."""
    return next((line.split(":")[1].strip() for line in cpu_info().splitlines() if line.startswith("model name")), "")
