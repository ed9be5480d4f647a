"""The codec's networks as ONNX files, each half complete without the other.

::

    checkpoint -> codec.graphs -> encoder/ and decoder/, each with *.onnx, tables.npz, manifest.json
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from codec.backends.manifest import FORMAT, TABLES
from codec.graphs.half import HALVES, makers, names_of
from codec.graphs.onnx_file import OPSET
from codec.guidance.files import SHIPPED
from codec.weights.checkpoint import Checkpoint
from codec.weights.shipped import MANIFEST


def export(
    checkpoint: Checkpoint, folder: Path, int8_pictures: list[Path] | None = None
) -> dict[str, int]:
    """Write folder/encoder and folder/decoder. Each is complete without the other.

    Args:
        checkpoint: the weights.
        folder: where to write; it is made if necessary.
        int8_pictures: if given, the transforms compute in int8, with ranges recorded on these
            pictures (export.int8).

    Returns:
        Half -> its size in bytes.

    Raises:
        CodecError: the weights are not usable, or a picture cannot be read.
    """
    made = makers(checkpoint)
    for half in HALVES:
        half_folder = folder / half
        half_folder.mkdir(parents=True, exist_ok=True)
        for name in names_of(checkpoint, half):
            (half_folder / name).write_bytes(made[name]())
        _write_tables(checkpoint, half_folder)
        if half == "encoder":
            shutil.copyfile(SHIPPED, half_folder / SHIPPED.name)
    # Quantising runs these halves, and a half without a manifest does not load.
    sizes = {half: _write_manifest(checkpoint, half, folder / half, "float32") for half in HALVES}
    if int8_pictures is not None:
        from codec.export.int8 import quantise_halves

        quantise_halves(folder, int8_pictures)
        sizes = {half: _write_manifest(checkpoint, half, folder / half, "int8") for half in HALVES}
    return sizes


def _write_tables(checkpoint: Checkpoint, folder: Path) -> None:
    arrays = {
        name.removeprefix("tables."): array
        for name, array in checkpoint.arrays.items()
        if name.startswith("tables.")
    }
    np.savez(folder / TABLES, **arrays)


def _write_manifest(checkpoint: Checkpoint, half: str, folder: Path, transforms: str) -> int:
    """Write a half's manifest with the hashes of its files; return the files' size in bytes."""
    files = sorted(p for p in folder.iterdir() if p.name != MANIFEST)
    config = checkpoint.metadata["config"]
    manifest = {
        "format": FORMAT,
        "half": half,
        "transforms": transforms,
        "name": checkpoint.name,
        "fingerprint": checkpoint.fingerprint.hex(),
        "skip_below": checkpoint.skip_below,
        "rate_weight": checkpoint.rate_weight,
        "guide": checkpoint.guide,
        "slope": checkpoint.slope,
        "config": {
            "m": config["m"],
            "low": config.get("low", 0),
            "z": config["z"],
            "margins": checkpoint.margins,
        },
        "opset": OPSET,
        "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return sum(p.stat().st_size for p in files)
