"""A student's file: float16 weights of the network, the rate estimate's, and metadata. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import UnknownModel

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "guides" / "student.safetensors"
FORMAT = "cotam-student-1"


def read(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """(arrays, metadata). Raises UnknownModel for another kind of file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["cotam"])
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        if metadata["format"] != FORMAT:
            raise ValueError(metadata["format"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise UnknownModel(f"{path} holds no guidance student ({type(error).__name__})") from None
    return arrays, metadata


def write(path: Path, arrays: dict[str, NDArray[np.float32]], metadata: dict[str, Any]) -> None:
    """Arrays go to float16."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: np.ascontiguousarray(array.astype(np.float16)) for name, array in arrays.items()}
    save_file(halves, path, {"cotam": json.dumps(metadata | {"format": FORMAT}, sort_keys=True)})
