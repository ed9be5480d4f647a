"""Weights on disk: one safetensors file per set of weights. No torch here.

The file holds float16 transforms, the integer prior, the frozen entropy tables, and metadata.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import FINGERPRINT_BYTES
from codec.bitstream.rans import Tables
from codec.errors import BadArgument, UnknownModel
from codec.networks.config import RATE_WEIGHT, LatentLayer, margins, split_layers
from codec.weights.lookup import DEFAULT as DEFAULT
from codec.weights.lookup import WHERE as WHERE
from codec.weights.lookup import by_fingerprint as by_fingerprint
from codec.weights.lookup import find as find
from codec.weights.lookup import names as names

EXACT_PREFIXES = ("prior.", "tables.")  # of the arrays that decide the symbols
FORMAT = "cotam-checkpoint-1"

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoint:
    """A set of weights.

    Attributes:
        arrays: every tensor by name.
        metadata: config, skip_below, bounds and how the weights were trained.
    """

    arrays: Arrays
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the weights."""
        return str(self.metadata["name"])

    @property
    def skip_below(self) -> int:
        """Smallest scale index that is coded; symbols below it are zero by rule."""
        return int(self.metadata["skip_below"])

    @property
    def rate_weight(self) -> float:
        """The value of a bit in RDOQ, in squared steps. Only encoders use it."""
        return float(self.metadata.get("rate_weight", RATE_WEIGHT))

    @property
    def guide(self) -> str | None:
        """The default guide of these weights; None for guidance.DEFAULT_GUIDE."""
        return self.metadata.get("guide")

    @property
    def slope(self) -> float:
        """QPs to subtract per nat of a picture's unusual cost (Guidance.base_qp); 0 for none."""
        return float(self.metadata.get("slope", 0.0))

    @property
    def layers(self) -> tuple[LatentLayer, ...]:
        """The layers of y in coding order."""
        config = self.metadata["config"]
        return split_layers(int(config.get("low", 0)), int(config["m"]))

    @property
    def margins(self) -> tuple[int, int]:
        """Margins of analysis and synthesis in latent positions (networks.config.margins)."""
        return margins(self.metadata["config"])

    @cached_property
    def tables(self) -> Tables:
        """SCALE_COUNT tables of the scale indexes, then one table per channel of z.

        Raises:
            UnknownModel: the checkpoint has no valid tables.
        """
        frequencies: Any = self.arrays.get("tables.frequencies")
        lengths: Any = self.arrays.get("tables.lengths")
        if frequencies is None or lengths is None:
            raise UnknownModel("the checkpoint has no usable entropy tables")
        try:
            return Tables(frequencies, lengths)
        except BadArgument:
            raise UnknownModel("the checkpoint has no usable entropy tables") from None

    @cached_property
    def fingerprint(self) -> bytes:
        """First bytes of a SHA-256 over everything that decides the symbols.

        That is the skip rule, the integer weights and the tables (docs/format.md).
        """
        digest = hashlib.sha256(f"{FORMAT} skip={self.skip_below}".encode())
        for name in sorted(n for n in self.arrays if n.startswith(EXACT_PREFIXES)):
            array = self.arrays[name]
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            little_endian = array.astype(array.dtype.newbyteorder("<"))
            digest.update(np.ascontiguousarray(little_endian).tobytes())
        return digest.digest()[:FINGERPRINT_BYTES]


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a safetensors file; the metadata gets the format and the fingerprint.

    Args:
        checkpoint: the weights.
        path: the file to write; its folder must exist.
    """
    from safetensors.numpy import save as to_bytes

    metadata = checkpoint.metadata | {"format": FORMAT, "fingerprint": checkpoint.fingerprint.hex()}
    arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    path.write_bytes(to_bytes(arrays, {"cotam": json.dumps(metadata, sort_keys=True)}))


def load(name_or_path: str | Path = "default") -> Checkpoint:
    """Load weights.

    Args:
        name_or_path: the name of shipped weights (see `names`), "default", or a file's path.

    Returns:
        The weights.

    Raises:
        UnknownModel: there are no such weights, the file is not a checkpoint, or its content does
            not match its fingerprint.
    """
    from safetensors import SafetensorError, safe_open

    path = find(name_or_path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["cotam"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        checkpoint = Checkpoint(arrays, metadata)
        intact = (
            metadata["format"] == FORMAT and checkpoint.fingerprint.hex() == metadata["fingerprint"]
        )
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UnknownModel(f"{path} is not a CoTAM checkpoint ({type(error).__name__})") from None
    if not intact:
        raise UnknownModel(f"{path} is damaged: its fingerprint does not match its content")
    return checkpoint
