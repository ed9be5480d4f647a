"""Weights on disk: one safetensors file with float16 transforms, the integer prior, frozen tables, and metadata. No torch here."""

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
from codec.weights.shipped import CHECKPOINTS

FOLDER = CHECKPOINTS
DEFAULT = "small"
EXACT_PREFIXES = ("prior.", "tables.")
FORMAT = "cotam-checkpoint-1"

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoint:
    """arrays: every tensor by name; metadata: config, skip_below, bounds and how it was trained."""

    arrays: Arrays
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def skip_below(self) -> int:
        """Symbols whose scale index is below this are zero by rule and not coded."""
        return int(self.metadata["skip_below"])

    @property
    def rate_weight(self) -> float:
        """What a bit is worth in rounding, in squared steps; only an encoder asks."""
        return float(self.metadata.get("rate_weight", RATE_WEIGHT))

    @property
    def guide(self) -> str | None:
        """The guide of encoding where none is asked for; None: the usual one (guidance.DEFAULT_GUIDE)."""
        return self.metadata.get("guide")

    @property
    def slope(self) -> float:
        """How a quality's QP follows what a picture costs (guidance.Guidance.base_qp); 0: it does not."""
        return float(self.metadata.get("slope", 0.0))

    @property
    def layers(self) -> tuple[LatentLayer, ...]:
        """The layers of y, in the order in which they are coded."""
        config = self.metadata["config"]
        return split_layers(int(config.get("low", 0)), int(config["m"]))

    @property
    def margins(self) -> tuple[int, int]:
        """See networks.config.margins."""
        return margins(self.metadata["config"])

    @cached_property
    def tables(self) -> Tables:
        """64 scale tables, then one a channel of z."""
        try:
            return Tables(self.arrays["tables.frequencies"], self.arrays["tables.lengths"])  # type: ignore[arg-type]
        except (KeyError, BadArgument):
            raise UnknownModel("the checkpoint has no usable entropy tables") from None

    @cached_property
    def fingerprint(self) -> bytes:
        """First bytes of the SHA-256 over all that decides the symbols: integer weights, tables, the skip rule."""
        digest = hashlib.sha256(f"{FORMAT} skip={self.skip_below}".encode())
        for name in sorted(n for n in self.arrays if n.startswith(EXACT_PREFIXES)):
            array = self.arrays[name]
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(
                np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
            )
        return digest.digest()[:FINGERPRINT_BYTES]


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a safetensors file; its fingerprint goes into the metadata."""
    from safetensors.numpy import save as in_bytes

    metadata = checkpoint.metadata | {"format": FORMAT, "fingerprint": checkpoint.fingerprint.hex()}
    arrays = {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()}
    path.write_bytes(in_bytes(arrays, {"cotam": json.dumps(metadata, sort_keys=True)}))


def load(name_or_path: str | Path = "default") -> Checkpoint:
    """Weights by name (see `names`) or path. Raises UnknownModel, also where the stored fingerprint does not fit the content."""
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
        raise UnknownModel(f"{path} is damaged: its fingerprint does not fit its content")
    return checkpoint


def names() -> list[str]:
    """The names of the shipped weights."""
    return sorted(p.stem for p in FOLDER.glob("*.safetensors"))


def by_fingerprint(fingerprint: bytes) -> str | None:
    """The name of the shipped weights with this fingerprint; reads metadata only."""
    from safetensors import SafetensorError, safe_open

    for name in names():
        try:
            with safe_open(FOLDER / f"{name}.safetensors", framework="numpy") as file:
                if (
                    json.loads((file.metadata() or {}).get("cotam", "{}")).get("fingerprint")
                    == fingerprint.hex()
                ):
                    return name
        except (SafetensorError, ValueError, OSError):
            continue
    return None


def find(name_or_path: str | Path) -> Path:
    """The file of a name or path. Raises UnknownModel, listing the names."""
    name = str(name_or_path)
    if name == "default":
        name = DEFAULT
    shipped = FOLDER / f"{name}.safetensors"
    for path in (shipped, Path(name_or_path)):
        if path.is_file():
            return path
    raise UnknownModel(
        f"no weights named '{name}' (there are: {', '.join(names()) or 'none'}) and no file of that name"
    )
