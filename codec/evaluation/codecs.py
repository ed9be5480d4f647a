"""The codecs of a comparison, by name: cotam[:WEIGHTS], jpeg, webp, avif, jpegxl, compressai:NAME. Real bytes, real decoders."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch.nn import functional as F

import codec
from codec.coding.backend import coding_of
from codec.errors import BadArgument, CodecError
from codec.evaluation.coders import loaded, student_hash
from codec.evaluation.rivals import AVIF, JPEG, WEBP, Pixels, Rival

COTAM_QUALITIES = (5.0, 12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 72.0, 85.0)
PILLOW = {
    "jpeg": (JPEG, (2, 4, 7, 12, 18, 26, 38, 55, 75)),
    "webp": (WEBP, (0, 3, 8, 16, 28, 45, 62, 78, 88)),
    "avif": (AVIF, (4, 10, 18, 26, 34, 42, 52, 63, 74)),
}
JPEGXL = Rival("JPEG XL", "JXL", (("effort", 7),), (5, 12, 22, 34, 46, 58, 70, 80, 88))
COMPRESSAI_STRIDE = 64
KNOWN = "cotam, cotam:WEIGHTS, jpeg, webp, avif, jpegxl, compressai:NAME"


@dataclass(frozen=True)
class Contender:
    """name: for people; identity: all that its files depend on; qualities: coarse to fine; highest: for the search of a size."""

    name: str
    identity: str
    qualities: tuple[float, ...]
    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes], Pixels]
    highest: int


def names(text: str) -> tuple[str, ...]:
    """The names in a list with commas, each once. Raises BadArgument for one that cannot be."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise BadArgument(f"name at least one codec: {KNOWN}")
    for name in found:
        kind, colon, rest = name.partition(":")
        if not (
            name in PILLOW
            or name == "jpegxl"
            or (kind in ("cotam", "compressai") and bool(colon) == bool(rest))
        ):
            raise BadArgument(f"codecs are {KNOWN}, not '{name}'")
        if name == "compressai":
            raise BadArgument("say which model of compressai: compressai:mbt2018-mean, for example")
    return found


@lru_cache(maxsize=16)
def contender(name: str) -> Contender:
    """Raises CodecError where its weights or its plug-in are missing."""
    kind, _, rest = name.partition(":")
    if kind == "cotam":
        return _cotam(rest or "default")
    if kind == "compressai":
        return _compressai(rest)
    if name == "jpegxl":
        return _jpegxl()
    return _pillow(*PILLOW[name])


def _pillow(rival: Rival, qualities: tuple[int, ...]) -> Contender:
    def encode(pixels: Pixels, quality: float) -> bytes:
        return rival.encode(pixels, int(quality))

    identity = f"{rival.name} {rival.options} Pillow {PIL.__version__}"
    return Contender(rival.name, identity, tuple(map(float, qualities)), encode, rival.decode, 95)


def _jpegxl() -> Contender:
    try:
        import_module("pillow_jxl")
    except ImportError:
        raise BadArgument(
            "JPEG XL needs Pillow's plug-in, which is under the GPL: pip install pillow-jxl-plugin"
        ) from None
    return _pillow(JPEGXL, JPEGXL.qualities)


def _cotam(weights: str) -> Contender:
    cotam = loaded(weights)
    title = "CoTAM" if weights == "default" else f"CoTAM {Path(weights).stem}"
    identity = f"cotam {codec.__version__} {coding_of(cotam.backend.checkpoint)} {student_hash()}"

    def decode(data: bytes) -> Pixels:
        return cotam.decode(data, "array")

    return Contender(
        title,
        identity,
        COTAM_QUALITIES,
        lambda pixels, q: cotam.encode(pixels, quality=q),
        decode,
        100,
    )


def cotam_codec(name: str) -> codec.Codec | None:
    """The codec of a contender `cotam[:WEIGHTS]`, None for any other."""
    kind, _, rest = name.partition(":")
    return loaded(rest or "default") if kind == "cotam" else None


def _compressai(name: str) -> Contender:
    from compressai.zoo import image_models
    from compressai.zoo.image import cfgs

    if name not in image_models:
        raise BadArgument(
            f"compressai has no model '{name}', but {', '.join(sorted(image_models))}"
        )

    @lru_cache(maxsize=2)
    def model(quality: int) -> Any:
        try:
            return image_models[name](quality, pretrained=True).eval()
        except OSError as error:
            raise BadArgument(
                f"compressai's weights for {name} cannot be fetched: {error}"
            ) from None

    model(min(cfgs[name]))
    return learned_contender(
        name, f"compressai {version('compressai')} {name}", tuple(sorted(cfgs[name])), model
    )


def learned_contender(
    name: str, identity: str, qualities: tuple[int, ...], model: Callable[[int], Any]
) -> Contender:
    """A compressai model: its strings in a file with a header of sizes. model: quality -> CompressionModel, tables ready."""

    @torch.inference_mode()
    def encode(pixels: Pixels, quality: float) -> bytes:
        height, width = pixels.shape[:2]
        x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        x = F.pad(
            x, (0, -width % COMPRESSAI_STRIDE, 0, -height % COMPRESSAI_STRIDE), mode="replicate"
        )
        return packed(int(quality), (height, width), model(int(quality)).compress(x))

    @torch.inference_mode()
    def decode(data: bytes) -> Pixels:
        quality, (height, width), strings, shape = unpacked(data)
        x_hat = model(quality).decompress(strings, shape)["x_hat"][0, :, :height, :width]
        return x_hat.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()

    return Contender(name, identity, tuple(map(float, qualities)), encode, decode, max(qualities))


def packed(quality: int, size: tuple[int, int], coded: dict[str, Any]) -> bytes:
    """Quality, height, width, latent sides, strings with their lengths. Raises BadArgument for strings of another shape."""
    strings = coded["strings"]
    if not all(len(group) == 1 and isinstance(group[0], bytes) for group in strings):
        raise BadArgument("this model of compressai has strings of a kind that is not known here")
    head = struct.pack(
        "<BHHHHB", quality, *size, *(int(side) for side in coded["shape"]), len(strings)
    )
    return head + b"".join(struct.pack("<I", len(group[0])) + group[0] for group in strings)


def unpacked(data: bytes) -> tuple[int, tuple[int, int], list[list[bytes]], tuple[int, int]]:
    """The reverse: quality, size, strings, latent sides."""
    head = struct.Struct("<BHHHHB")
    quality, height, width, rows, columns, count = head.unpack_from(data)
    at = head.size
    strings = []
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, at)
        strings.append([data[at + 4 : at + 4 + length]])
        at += 4 + length
    return quality, (height, width), strings, (rows, columns)


def available(wanted: tuple[str, ...]) -> tuple[dict[str, Contender], dict[str, str]]:
    """(name -> contender, name -> why it cannot take part). Raises CodecError where none can."""
    found = {}
    missing = {}
    for name in wanted:
        try:
            found[name] = contender(name)
        except CodecError as error:
            missing[name] = str(error)
    if not found:
        raise BadArgument("; ".join(missing.values()))
    return found, missing
