"""For the slider: a picture by every codec at one file size, and where CoTAM's bits were spent."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.coding.latent_grid import STRIDE
from codec.evaluation.codecs import CodecUnderTest, cotam_codec
from codec.evaluation.distortion import Pixels, psnr
from codec.evaluation.inputs import Input
from codec.evaluation.measure import pixels_of
from codec.io import heatmap

# Pixels of a side on the page. Of larger pictures the centre is shown, without resampling.
LONGEST = 1024
# Size on the page -> the first codec's quality that sets it.
SIZES = {"small": 22.0, "medium": 45.0}
# Exponents of the colour scales: QPs are spread evenly, bits bunch near zero.
QP_POWER = 1.0
BITS_POWER = 0.5
# A field of one value still needs a range.
LEAST_RANGE = 1e-6


@dataclass(frozen=True)
class Shown:
    """One picture at one size.

    Attributes:
        picture: the name of its file.
        size: of SIZES.
        width: in pixels.
        height: in pixels.
        versions: codec -> title, note, bytes of its file, and the decoded picture as a data URL.
        overlays: name -> data URL.
    """

    picture: str
    size: str
    width: int
    height: int
    versions: dict[str, dict[str, Any]]
    overlays: dict[str, str]


def data_url(image: Image.Image, kind: str = "WEBP", **options: Any) -> str:
    """An image as a data URL.

    Args:
        image: of Pillow.
        kind: a format of Pillow that browsers show.
        options: of Image.save.

    Returns:
        "data:image/webp;base64,...", for example.
    """
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def lossless(pixels: Pixels) -> str:
    """Pixels [H, W, 3] as a data URL that changes none of them."""
    return data_url(Image.fromarray(pixels), lossless=True, quality=40)


def centre(pixels: Pixels) -> Pixels:
    """The centre of a picture, at most LONGEST pixels a side."""
    top, left = (max(0, side - LONGEST) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + LONGEST, left : left + LONGEST])


def overlay(field: NDArray[np.generic], power: float, size: tuple[int, int]) -> str:
    """A field on the latent grid in colours, as a data URL.

    Args:
        field: [h, w], one value for each 16x16 pixels.
        power: exponent of the colour scale.
        size: width and height of the picture.

    Returns:
        A PNG of the picture's size.
    """
    low = float(field.min())
    scale = heatmap.Scale(low, max(float(field.max()), low + LEAST_RANGE), power)
    image = Image.fromarray(np.rint(heatmap.colours(scale.positions(field))).astype(np.uint8))
    sides = field.shape[1] * STRIDE, field.shape[0] * STRIDE
    enlarged = image.resize(sides, Image.Resampling.NEAREST)
    return data_url(enlarged.crop((0, 0, *size)), "PNG", optimize=True)


def overlays(name: str, pixels: Pixels, quality: float) -> dict[str, str]:
    """Draw the QPs and the bits of CoTAM's file.

    Args:
        name: of a codec in the registry.
        pixels: uint8 [H, W, 3].
        quality: 0..100.

    Returns:
        importance: the QPs, where the file has latents; bits: at each position. Empty for codecs
        other than CoTAM.
    """
    cotam = cotam_codec(name)
    if cotam is None:
        return {}
    decoded = cotam.decode_full(cotam.encode(pixels, quality=quality), want_bits=True)
    assert decoded.bits is not None
    size = pixels.shape[1], pixels.shape[0]
    bits = overlay(decoded.bits, BITS_POWER, size)
    if not decoded.has_latents:
        return {"bits": bits}
    qp = np.broadcast_to(np.asarray(decoded.qp), decoded.bits.shape)
    return {"importance": overlay(qp, QP_POWER, size), "bits": bits}


def shown(picture: Input, codecs: dict[str, CodecUnderTest], limit: int) -> list[Shown]:
    """Code a picture with every codec in files of one size.

    Args:
        picture: the file.
        codecs: name -> codec; the first one sets the size.
        limit: the largest number of pixels.

    Returns:
        One entry for each of SIZES; the original is among the versions.
    """
    pixels = centre(pixels_of(picture, limit))
    height, width = pixels.shape[:2]
    first = next(iter(codecs.values()))
    cotam = next((name for name in codecs if cotam_codec(name) is not None), None)
    entries = []
    for size_name, quality in SIZES.items():
        budget = len(first.encode(pixels, usable_quality(first, quality)))
        versions: dict[str, dict[str, Any]] = {
            "original": {"title": "original", "note": "", "src": lossless(pixels)}
        }
        for name, codec in codecs.items():
            versions[name] = _version(codec, pixels, budget)
        extra = overlays(cotam, pixels, quality) if cotam else {}
        entries.append(Shown(picture.path.name, size_name, width, height, versions, extra))
    return entries


def _version(codec: CodecUnderTest, pixels: Pixels, budget: int) -> dict[str, Any]:
    data = codec.at_size(pixels, budget)
    decoded = codec.decode(data)
    bpp = len(data) * 24 / pixels.size
    note = f"{len(data):,} bytes, {bpp:.3f} bpp, PSNR {psnr(pixels, decoded):.2f} dB"
    return {"title": codec.name, "note": note, "bytes": len(data), "src": lossless(decoded)}


def usable_quality(codec: CodecUnderTest, quality: float) -> float:
    """The quality for a codec that sets the size.

    Args:
        codec: the first codec.
        quality: of CoTAM, 0..100.

    Returns:
        The same for CoTAM; for others one of their list, near its lower third or its middle.
    """
    if codec.continuous:
        return quality
    return codec.qualities[len(codec.qualities) // (3 if quality < 30 else 2)]
