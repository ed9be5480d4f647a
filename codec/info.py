"""What files and shipped weights say about themselves, without decoding and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import quality as rate
from codec.bitstream import container, qp_map
from codec.coding.backend import QpField
from codec.coding.latent_grid import latent_grid
from codec.errors import WrongModel, only_codec_errors
from codec.weights import checkpoint as checkpoints


@dataclass(frozen=True)
class FileInfo:
    """What a header says. base_qp: 0..63; quality: the one that base_qp is usually of, another than was asked for where weights
    have a slope; map_grid: rows and columns of the QP map; sections: bytes by name.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    base_qp: int
    quality: float
    map_grid: tuple[int, int] | None
    fingerprint: str
    model: str | None
    sections: dict[str, int]


@only_codec_errors
def models() -> list[dict[str, Any]]:
    """The shipped weights: name, fingerprint, parameters, bytes and how they were trained."""
    found = []
    for name in checkpoints.names():
        loaded = checkpoints.load(name)
        size = checkpoints.find(name).stat().st_size
        parameters = sum(a.size for n, a in loaded.arrays.items() if not n.startswith("tables."))
        found.append(
            {
                "name": name,
                "fingerprint": loaded.fingerprint.hex(),
                "parameters": parameters,
                "bytes": size,
            }
            | loaded.metadata
        )
    return found


@only_codec_errors
def inspect(data: bytes, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS) -> FileInfo:
    """What the header says, after all checks but without decoding and without torch. Raises CodecError."""
    content = container.read(data, limit_pixels)
    sections = {"latents": len(content.latents)}
    grid = None
    if content.qp_map is not None:
        sections["qp map"] = len(content.qp_map)
        rows, cols = qp_map.decode_offsets(
            content.qp_map, *latent_grid(content.height, content.width)
        ).shape
        grid = (rows, cols)
    for kind, payload in content.extras.items():
        sections[container.EXTRA_NAMES.get(kind, f"unknown {kind:#x}")] = len(payload)
    bpp = len(data) * 8 / (content.width * content.height)
    quality = round(rate.qp_to_quality(content.qp), 1)
    known = checkpoints.by_fingerprint(content.fingerprint)
    return FileInfo(
        content.width,
        content.height,
        len(data),
        bpp,
        content.qp,
        quality,
        grid,
        content.fingerprint.hex(),
        known,
        sections,
    )


@only_codec_errors
def weights_of(data: bytes, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS) -> str:
    """The name of the shipped weights that a file was encoded with: `load(weights_of(data)).decode(data)`.

    Raises CodecError for a bad file, WrongModel where no shipped weights are its own.
    """
    fingerprint = container.read(data, limit_pixels).fingerprint
    known = checkpoints.by_fingerprint(fingerprint)
    if known is None:
        raise WrongModel(
            f"the file was encoded with weights {fingerprint.hex()}, which are not among {', '.join(checkpoints.names())}; "
            "find them and give their path as the model"
        )
    return known


@only_codec_errors
def qp_field_of(
    data: bytes, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS
) -> NDArray[np.int64]:
    """A file's QPs, 0..63, on its latent grid [rows, cols], without decoding the picture and without torch. Raises CodecError."""
    content = container.read(data, limit_pixels)
    return np.broadcast_to(
        np.asarray(qp_field(content), np.int64), latent_grid(content.height, content.width)
    ).copy()


def qp_field(content: container.Container) -> QpField:
    grid = latent_grid(content.height, content.width)
    offsets = None if content.qp_map is None else qp_map.decode_offsets(content.qp_map, *grid)
    return qp_map.qp_field(content.qp, offsets, *grid)
