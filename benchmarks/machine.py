"""What a measurement ran on, without names of machines or places."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from training.device import processor

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
