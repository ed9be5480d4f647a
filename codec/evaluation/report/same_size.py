"""A picture by every codec in files of one size, and where CoTAM's bits went, for the page's slider."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.coding.latent_grid import STRIDE
from codec.evaluation.codecs import Contender, cotam_codec
from codec.evaluation.inputs import Input
from codec.evaluation.measure import pixels_of
from codec.evaluation.rivals import Pixels, largest_below, psnr
from codec.io import heatmap

LONGEST = 1024  # pixels of a side on the page: larger pictures are cut at their centre, so that pixels stay pixels
SIZES = {"small": 22.0, "medium": 45.0}  # name -> the first codec's quality that sets the size


@dataclass(frozen=True)
class Shown:
    """One picture at one size; versions: codec -> its file's facts and the decoded picture as data; overlays: name -> data."""

    picture: str
    size: str
    width: int
    height: int
    versions: dict[str, dict[str, Any]]
    overlays: dict[str, str]


def data_url(image: Image.Image, kind: str = "WEBP", **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


def lossless(pixels: Pixels) -> str:
    return data_url(Image.fromarray(pixels), lossless=True, quality=40)


def at_size(who: Contender, pixels: Pixels, size: int) -> bytes:
    """The largest of its files that is not above `size` bytes; its smallest where none is."""
    low = int(min(who.qualities))
    return largest_below(lambda quality: who.encode(pixels, float(quality)), low, who.highest, size)


def centre(pixels: Pixels) -> Pixels:
    """At most LONGEST pixels a side."""
    top, left = (max(0, side - LONGEST) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + LONGEST, left : left + LONGEST])


def overlay(field: NDArray[np.generic], power: float, size: tuple[int, int]) -> str:
    """A field on the latent grid in colours, one pixel for each 16x16 pixels; cut to the picture by the page."""
    scale = heatmap.Scale(
        float(field.min()), max(float(field.max()), float(field.min()) + 1e-6), power
    )
    image = Image.fromarray(np.rint(heatmap.colours(scale.positions(field))).astype(np.uint8))
    sides = field.shape[1] * STRIDE, field.shape[0] * STRIDE
    return data_url(
        image.resize(sides, Image.Resampling.NEAREST).crop((0, 0, *size)), "PNG", optimize=True
    )


def overlays(name: str, pixels: Pixels, quality: float) -> dict[str, str]:
    """Importance as coded (the QP field) and bits per position, of a CoTAM codec; of others nothing."""
    cotam = cotam_codec(name)
    if cotam is None:
        return {}
    decoded = cotam.decode_full(cotam.encode(pixels, quality=quality), want_bits=True)
    assert decoded.bits is not None
    size = pixels.shape[1], pixels.shape[0]
    bits = overlay(decoded.bits, 0.5, size)
    if not decoded.has_latents:
        return {"bits": bits}
    qp = np.broadcast_to(np.asarray(decoded.qp), decoded.bits.shape)
    return {"importance": overlay(qp, 1.0, size), "bits": bits}


def shown(picture: Input, contenders: dict[str, Contender], limit: int) -> list[Shown]:
    """One entry a size; the first codec sets it. The original is a version, too."""
    pixels = centre(pixels_of(picture, limit))
    height, width = pixels.shape[:2]
    first = next(iter(contenders))
    ours = next((name for name in contenders if name.partition(":")[0] == "cotam"), None)
    entries = []
    for size_name, quality in SIZES.items():
        budget = len(contenders[first].encode(pixels, nearest(contenders[first], quality)))
        versions: dict[str, dict[str, Any]] = {
            "original": {"title": "original", "note": "", "src": lossless(pixels)}
        }
        for name, who in contenders.items():
            data = at_size(who, pixels, budget)
            decoded = who.decode(data)
            note = f"{len(data):,} bytes, {len(data) * 24 / pixels.size:.3f} bpp, PSNR {psnr(pixels, decoded):.2f} dB"
            versions[name] = {
                "title": who.name,
                "note": note,
                "bytes": len(data),
                "src": lossless(decoded),
            }
        extra = overlays(ours, pixels, quality) if ours else {}
        entries.append(Shown(picture.path.name, size_name, width, height, versions, extra))
    return entries


def nearest(who: Contender, quality: float) -> float:
    """CoTAM takes any quality; others of their own list, by its middle or lower third."""
    if who.highest == 100:
        return quality
    return who.qualities[len(who.qualities) // (3 if quality < 30 else 2)]
