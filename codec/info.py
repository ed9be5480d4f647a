"""Information in files and in shipped weights, without decoding and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codec import quality as qualities
from codec.bitstream import container
from codec.errors import NoLatents, UnknownModel, WrongModel, only_codec_errors
from codec.tools.choosing.reasons import reason_of
from codec.tools.names import CHANGES, MIXED, NAMES, NUMBERS, is_lossless
from codec.weights import lookup, shipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FileInfo:
    """The information in a file's header.

    Attributes:
        width: pixels.
        height: pixels.
        bytes: size of the file.
        bpp: bits per pixel.
        tool: the coding tool.
        reason: why the encoder chose it; None for the learned tool, whose files do not record it.
        quality: 0..100. For the learned tool, the quality that maps to `base_qp`; it differs from
            the quality asked for if the weights have a slope.
        lossless: whether the pixels are exactly those of the source.
        base_qp: 0..63; None for tools without QPs.
        qp_min: the smallest QP of the latent grid.
        qp_mean: their mean.
        qp_max: the largest.
        latent_grid: rows and columns of latents.
        map_grid: rows and columns of the QP map.
        map_share: the QP map's share of the file's bytes.
        fingerprint: of the weights that wrote the file.
        model: their name, where they are shipped.
        sections: bytes by name.
        checksum: of the file, hexadecimal; messages of a stream refer to earlier files by it.
        follows: checksum of the file before a message in its stream; None for whole pictures.
        builds_on: checksum of the file whose picture this one changes; None for whole pictures.
        message: number of a message in its stream, counted from the key frame.
        changed: share of the picture's pixels that a message sends.
        moved: share of the picture's pixels that a message moves.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    tool: str
    reason: str | None
    quality: float
    lossless: bool
    base_qp: int | None
    qp_min: int | None
    qp_mean: float | None
    qp_max: int | None
    latent_grid: tuple[int, int] | None
    map_grid: tuple[int, int] | None
    map_share: float
    fingerprint: str | None
    model: str | None
    sections: dict[str, int]
    checksum: str
    follows: str | None
    builds_on: str | None
    message: int | None
    changed: float | None
    moved: float | None


@only_codec_errors
def models() -> list[dict[str, Any]]:
    """Describe the shipped weights.

    Returns:
        For each set of weights its name, fingerprint (hexadecimal), number of parameters, size in
        bytes, and the checkpoint's metadata, which says how it was trained.

    Examples:
        >>> [weights["name"] for weights in models()]
        ['small', 'small-mse', 'tiny']
    """
    from codec.weights import checkpoint as checkpoints

    descriptions = []
    for name in lookup.names():
        weights = checkpoints.load(name)
        size = lookup.find(name).stat().st_size
        parameters = sum(a.size for n, a in weights.arrays.items() if not n.startswith("tables."))
        description = {
            "name": name,
            "fingerprint": weights.fingerprint.hex(),
            "parameters": parameters,
            "bytes": size,
        }
        descriptions.append(description | weights.metadata)
    return descriptions


@only_codec_errors
def register_weights(path: str | Path) -> list[str]:
    """Make a user's own weights available by fingerprint, as if they were installed.

    `decode`, the Pillow plugin and everything else then find them. The registration lasts for this
    process; the environment variable COTAM_WEIGHTS lists files and folders for every process.

    Args:
        path: a .safetensors file, or a folder of such files.

    Returns:
        The fingerprints, in hexadecimal.

    Raises:
        UnknownModel: there are no weights at that path, or a file is damaged.

    Examples:
        >>> register_weights(lookup.find("tiny"))
        ['4030fbf7']
    """
    place = Path(path)
    files = sorted(place.glob(f"*{shipped.SUFFIX}")) if place.is_dir() else [place]
    if not files or not all(file.is_file() for file in files):
        raise UnknownModel(f"there are no weights at {path}")
    from codec.weights import checkpoint as checkpoints

    fingerprints = [checkpoints.load(file).fingerprint.hex() for file in files]
    shipped.register(place)
    return fingerprints


@only_codec_errors
def inspect(data: bytes, *, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS) -> FileInfo:
    """Check a file and read its header, without decoding pixels and without torch.

    Args:
        data: the file.
        limit_pixels: files that claim more pixels are refused.

    Returns:
        Size, tool, quality, QPs and sections.

    Raises:
        CodecError: the file is bad.

    Examples:
        >>> import numpy as np
        >>> import codec
        >>> data = codec.load().encode(np.zeros((20, 30, 3), np.uint8), lossless=True)
        >>> info = inspect(data)
        >>> info.width, info.height, info.lossless
        (30, 20, True)
    """
    content = container.read(data, limit_pixels)
    main = "payload" if content.tool else "latents"
    sections = {main: len(content.payload)}
    if content.qp_map is not None:
        sections["qp map"] = len(content.qp_map)
    for kind, payload in content.extras.items():
        sections[container.EXTRA_NAMES.get(kind, f"unknown {kind:#x}")] = len(payload)
    common: dict[str, Any] = {
        "width": content.width,
        "height": content.height,
        "bytes": len(data),
        "bpp": len(data) * 8 / (content.width * content.height),
        "tool": NAMES.get(content.tool, f"unknown tool {content.tool}"),
        "map_share": round(sections.get("qp map", 0) / len(data), 4),
        "sections": sections,
        "checksum": container.checksum_of(data).hex(),
    }
    common |= _of_message(content)
    return FileInfo(**common, **(_of_tool(content) if content.tool else _of_learned(content)))


def _of_message(content: container.Container) -> dict[str, Any]:
    """What a message builds on and how much it changes; all None for a whole picture."""
    if content.tool != NUMBERS[CHANGES]:
        return dict.fromkeys(("follows", "builds_on", "message", "changed", "moved"))
    from codec.tools import changes

    found = changes.read(content.payload, content.height, content.width)
    pixels = content.width * content.height
    return {
        "follows": found.follows.hex(),
        "builds_on": found.reference.hex(),
        "message": found.number,
        "changed": round(found.area / pixels, 6),
        "moved": round(sum(copy.box.area for copy in found.copies) / pixels, 6),
    }


def fingerprint_of(content: container.Container) -> bytes:
    """The 4 bytes of the weights that a file needs; empty where it needs none. Raises Corrupt."""
    if content.tool == NUMBERS[MIXED]:
        from codec.tools import mixed

        return mixed.read(content.payload, content.height, content.width).fingerprint
    if content.tool == NUMBERS[CHANGES]:
        from codec.tools import changes

        return changes.read(content.payload, content.height, content.width).fingerprint
    return content.fingerprint


def _of_tool(content: container.Container) -> dict[str, Any]:
    name = NAMES.get(content.tool, "")
    # Messages of this quality hold exact pixels, and build on such pictures only.
    exact = name == CHANGES and content.quality == container.BEST_QUALITY
    lossless = exact or is_lossless(name, content.quality)
    nothing = ("base_qp", "qp_min", "qp_mean", "qp_max", "latent_grid", "map_grid")
    fingerprint = fingerprint_of(content)
    return dict.fromkeys(nothing) | {
        "fingerprint": fingerprint.hex() or None,
        "model": lookup.by_fingerprint(fingerprint) if fingerprint else None,
        "reason": reason_of(content.reason),
        "quality": float(content.quality),
        "lossless": lossless,
    }


def _of_learned(content: container.Container) -> dict[str, Any]:
    import numpy as np

    from codec.bitstream import qp_map
    from codec.coding.latent_grid import latent_grid
    from codec.coding.qp_field import field_of

    grid = latent_grid(content.height, content.width)
    qp = np.asarray(field_of(content))
    map_grid = None
    if content.qp_map is not None:
        map_grid = qp_map.decode_offsets(content.qp_map, *grid).shape
    return {
        "reason": None,
        "quality": round(qualities.qp_to_quality(content.qp), 1),
        "lossless": False,
        "base_qp": content.qp,
        "qp_min": int(qp.min()),
        "qp_mean": round(float(qp.mean()), 2),
        "qp_max": int(qp.max()),
        "latent_grid": grid,
        "map_grid": map_grid,
        "fingerprint": content.fingerprint.hex(),
        "model": lookup.by_fingerprint(content.fingerprint),
    }


@only_codec_errors
def weights_of(data: bytes, *, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS) -> str | None:
    """Find the name of the shipped weights that a file was encoded with.

    Args:
        data: the file.
        limit_pixels: files that claim more pixels are refused.

    Returns:
        The name, or the path of a user's own weights; None for files of tools that need none.

    Raises:
        CodecError: the file is bad.
        WrongModel: the weights are neither installed nor registered.

    Examples:
        >>> import numpy as np
        >>> import codec
        >>> data = codec.load().encode(np.zeros((20, 30, 3), np.uint8), tool="learned")
        >>> weights_of(data)
        'small'
    """
    fingerprint = fingerprint_of(container.read(data, limit_pixels))
    if not fingerprint:
        return None
    name = lookup.by_fingerprint(fingerprint)
    if name is None:
        raise WrongModel(
            f"the file was encoded with weights {fingerprint.hex()}, which are not among "
            f"{', '.join(lookup.names())}; find them; {lookup.WHERE}"
        )
    return name


@only_codec_errors
def qp_field_of(
    data: bytes, *, limit_pixels: int = container.DEFAULT_LIMIT_PIXELS
) -> NDArray[np.int64]:
    """Read a file's QPs on its latent grid, without decoding the picture and without torch.

    Args:
        data: the file.
        limit_pixels: files that claim more pixels are refused.

    Returns:
        int64 [rows, columns], 0..63.

    Raises:
        NoLatents: the file's tool has no QPs.
        CodecError: the file is bad.
    """
    content = container.read(data, limit_pixels)
    if content.tool:
        raise NoLatents(f"files of the tool '{NAMES.get(content.tool)}' have no QPs")
    import numpy as np

    from codec.coding.latent_grid import latent_grid
    from codec.coding.qp_field import field_of

    grid = latent_grid(content.height, content.width)
    return np.broadcast_to(np.asarray(field_of(content), np.int64), grid).copy()
