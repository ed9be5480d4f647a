"""Where the guidance student's file lies and what it is: its network, the rate estimate's, and metadata. No torch here."""

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
    """(arrays, metadata). Raises UnknownModel for another kind of file."""
    return safetensors_file.read(path, FORMAT, "guidance student")


def write(path: Path, arrays: dict[str, NDArray[np.float32]], metadata: dict[str, Any]) -> None:
    """As `weights_file.write`."""
    safetensors_file.write(path, FORMAT, arrays, metadata)
