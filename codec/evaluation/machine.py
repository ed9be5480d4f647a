"""The processor and software of a measurement, without names of machines."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
# Packages whose version can change a time or a file.
PACKAGES = ("torch", "numpy", "pillow", "constriction", "compressai", "onnxruntime")


def cpu_info() -> str:
    """The system's own description of its processors; empty where there is none."""
    return CPUINFO.read_text() if CPUINFO.exists() else ""


def processor() -> str:
    """The processor's name; empty where the system does not say."""
    names = (line for line in cpu_info().splitlines() if line.startswith("model name"))
    return next((line.split(":")[1].strip() for line in names), "")


def describe(threads: int | None = None) -> dict[str, Any]:
    """Describe the machine of a measurement.

    Args:
        threads: that it used, if it chose their number.

    Returns:
        processor, cores, threads, python, and versions of the packages that are installed.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }
