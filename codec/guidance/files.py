"""The guidance student's file: its network, the rate estimate's, and metadata. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.weights import safetensors_file
from codec.weights.shipped import CHECKPOINTS

SHIPPED = CHECKPOINTS / "guides" / "student.safetensors"
FORMAT = "cotam-student-1"


def read(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read a student's file.

    Args:
        path: the file.

    Returns:
        arrays: float32 arrays by name.
        metadata: the network's configuration and how it was trained.

    Raises:
        UnknownModel: the file is of another kind.
    """
    return safetensors_file.read(path, FORMAT, "guidance student")


def write(path: Path, arrays: dict[str, NDArray[np.float32]], metadata: dict[str, Any]) -> None:
    """Write a student's file; see safetensors_file.write."""
    safetensors_file.write(path, FORMAT, arrays, metadata)
