"""Small networks on disk: one safetensors file with float16 arrays and metadata. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import UnknownModel


def read(path: Path, kind: str, what: str) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Read a file.

    Args:
        path: the file.
        kind: the format's name that its metadata must hold.
        what: what the file should hold, for the error's message.

    Returns:
        arrays: float32 arrays by name.
        metadata: the file's metadata.

    Raises:
        UnknownModel: the file cannot be read or is of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["cotam"])
            names = list(file.keys())
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in names}
        if metadata["format"] != kind:
            raise ValueError(metadata["format"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise UnknownModel(f"{path} holds no {what} ({type(error).__name__})") from None
    return arrays, metadata


def write(
    path: Path, kind: str, arrays: dict[str, NDArray[np.float32]], metadata: dict[str, Any]
) -> None:
    """Write a file, with the arrays in float16.

    Args:
        path: the file; its folder is made if necessary.
        kind: the format's name, stored in the metadata.
        arrays: arrays by name.
        metadata: what else the file says, as JSON can hold it.
    """
    from safetensors.numpy import save

    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {
        name: np.ascontiguousarray(array.astype(np.float16)) for name, array in arrays.items()
    }
    path.write_bytes(
        save(halves, {"cotam": json.dumps(metadata | {"format": kind}, sort_keys=True)})
    )
