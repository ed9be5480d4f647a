"""What a measurement ran on, without names of machines or places."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def cpu_info() -> str:
    """The system's own description of its processors; empty where there is none."""
    return CPUINFO.read_text() if CPUINFO.exists() else ""


def processor() -> str:
    """The processor's name; empty where the system does not say."""
    return next(
        (
            line.split(":")[1].strip()
            for line in cpu_info().splitlines()
            if line.startswith("model name")
        ),
        "",
    )


PACKAGES = ("torch", "numpy", "pillow", "constriction", "compressai", "onnxruntime")


def describe(threads: int | None = None) -> dict[str, Any]:
    """Processor, cores, threads and versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": found,
    }
