"""Small networks on disk: one safetensors file with float16 arrays and metadata. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import UnknownModel


def read(path: Path, kind: str, what: str) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """(arrays, metadata). kind: the format's name; what: for the error. Raises UnknownModel for another kind of file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["cotam"])
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118
        if metadata["format"] != kind:
            raise ValueError(metadata["format"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise UnknownModel(f"{path} holds no {what} ({type(error).__name__})") from None
    return arrays, metadata


def write(
    path: Path, kind: str, arrays: dict[str, NDArray[np.float32]], metadata: dict[str, Any]
) -> None:
    """Arrays go to float16."""
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {
        name: np.ascontiguousarray(array.astype(np.float16)) for name, array in arrays.items()
    }
    path.write_bytes(
        save(halves, {"cotam": json.dumps(metadata | {"format": kind}, sort_keys=True)})
    )
