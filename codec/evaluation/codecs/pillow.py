"""Common formats through Pillow: named settings, whole files, library versions.

::

    name -> PillowSettings -> CodecUnderTest
                  |               identity: "AVIF speed 6 4:2:0, libavif 1.4.2, ..., Pillow 13.0.0"
                  +-> options of Image.save
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL
from PIL import Image, features

from codec.errors import BadArgument
from codec.evaluation.codecs.interface import CodecUnderTest
from codec.evaluation.distortion import Pixels

# Pillow's documentation advises against more: JPEG files grow with hardly any gain.
HIGHEST = 95
# A codec without a quality is measured at this one, which it ignores.
ONE_QUALITY = (0.0,)
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
# Default grids of `cotam eval`, coarse to fine; denser where files are small and judges still err.
JPEG_QUALITIES = (2.0, 4.0, 7.0, 12.0, 18.0, 26.0, 38.0, 55.0, 75.0)
WEBP_QUALITIES = (0.0, 3.0, 8.0, 16.0, 28.0, 45.0, 62.0, 78.0, 88.0)
AVIF_QUALITIES = (4.0, 10.0, 18.0, 26.0, 34.0, 42.0, 52.0, 63.0, 74.0)
JPEGXL_QUALITIES = (5.0, 12.0, 22.0, 34.0, 46.0, 58.0, 70.0, 80.0, 88.0)


@dataclass(frozen=True)
class PillowSettings:
    """A format with fixed settings.

    Attributes:
        title: its name in tables, plots and the keys of results.
        format: as Image.save takes it.
        said: the settings in words, for the identity.
        qualities: coarse to fine; one where the quality is fixed or there is none.
        options: of Image.save, in addition to the quality.
        has_quality: whether Image.save gets a quality from `qualities`.
    """

    title: str
    format: str
    said: str
    qualities: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=lambda: NO_OPTIONS)
    has_quality: bool = True

    @property
    def identity(self) -> str:
        """Settings and library versions in words."""
        return f"{self.said}, {library(self.format)}, Pillow {PIL.__version__}"

    @property
    def adjustable(self) -> bool:
        """Whether a quality can be chosen."""
        return len(self.qualities) > 1

    def check(self) -> None:
        """Raise BadArgument where Pillow lacks what the format needs."""
        if self.format == "JXL":
            _register_jpegxl()
        if self.format == "AVIF" and not features.check("avif"):
            raise BadArgument("this Pillow was built without AVIF: pip install -U pillow")

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        """A picture [H, W, 3] as a file; settings without a quality ignore it."""
        chosen = {"quality": int(quality)} if self.has_quality else {}
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, self.format, **chosen, **self.options)
        return stream.getvalue()

    def codec(self, **options: Any) -> CodecUnderTest:
        """The codec with these settings.

        Args:
            options: further options of Image.save that change no byte, such as threads.

        Returns:
            The codec.

        Raises:
            BadArgument: Pillow lacks what the format needs.
        """
        self.check()
        settings = replace(self, options={**self.options, **options})
        highest = HIGHEST if self.adjustable else int(self.qualities[0])
        return CodecUnderTest(
            self.title, self.identity, self.qualities, settings.encode, decode, highest
        )


def decode(data: bytes) -> Pixels:
    """A picture file as pixels [H, W, 3]."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


SETTINGS: dict[str, PillowSettings] = {
    "jpeg": PillowSettings(
        "JPEG",
        "JPEG",
        "JPEG 4:2:0, optimize",
        JPEG_QUALITIES,
        {"optimize": True, "subsampling": "4:2:0"},
    ),
    # The file of a client that calls Image.save(..., "JPEG", quality=75) without other options.
    "jpeg-q75": PillowSettings(
        "JPEG 75", "JPEG", "JPEG quality 75, 4:2:0", (75.0,), {"subsampling": "4:2:0"}
    ),
    "webp": PillowSettings("WebP", "WEBP", "WebP method 6", WEBP_QUALITIES, {"method": 6}),
    "webp-lossless": PillowSettings(
        "WebP lossless",
        "WEBP",
        "WebP lossless, method 6, effort 100",
        ONE_QUALITY,
        {"lossless": True, "method": 6, "quality": 100},
        has_quality=False,
    ),
    "png": PillowSettings(
        "PNG", "PNG", "PNG optimize", ONE_QUALITY, {"optimize": True}, has_quality=False
    ),
    "avif": PillowSettings(
        "AVIF",
        "AVIF",
        "AVIF speed 6 4:2:0",
        AVIF_QUALITIES,
        {"speed": 6, "subsampling": "4:2:0"},
    ),
    "avif-444": PillowSettings(
        "AVIF 4:4:4",
        "AVIF",
        "AVIF speed 6 4:4:4",
        AVIF_QUALITIES,
        {"speed": 6, "subsampling": "4:4:4"},
    ),
    # Of the settings that were tried, these gave the smallest files at equal tokens of DeiT-Tiny.
    "avif-best": PillowSettings(
        "AVIF best",
        "AVIF",
        "AVIF speed 3 4:4:4",
        AVIF_QUALITIES,
        {"speed": 3, "subsampling": "4:4:4"},
    ),
    # Smallest files at equal PSNR; without the option, libaom uses tune=iq for pictures.
    "avif-psnr": PillowSettings(
        "AVIF for PSNR",
        "AVIF",
        "AVIF speed 6 4:4:4, tune=psnr",
        AVIF_QUALITIES,
        {"speed": 6, "subsampling": "4:4:4", "advanced": {"tune": "psnr"}},
    ),
    "jpegxl": PillowSettings("JPEG XL", "JXL", "JPEG XL effort 7", JPEGXL_QUALITIES, {"effort": 7}),
}


def settings_of(name: str) -> PillowSettings | None:
    """Look settings up.

    Args:
        name: a key of SETTINGS in any case, or a title ("WebP", "AVIF 4:4:4").

    Returns:
        The settings; None for another name.
    """
    by_title = {settings.title: settings for settings in SETTINGS.values()}
    return by_title.get(name) or SETTINGS.get(name.lower())


def library(image_format: str) -> str:
    """The libraries behind a format and their versions, as far as Pillow knows them."""
    if image_format == "AVIF":
        return f"libavif {features.version('avif')}, {_av1_encoder()}"
    if image_format == "WEBP":
        return f"libwebp {features.version('webp')}"
    if image_format == "JPEG":
        turbo = features.version("libjpeg_turbo")
        return f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    if image_format == "PNG":
        return f"zlib {features.version('zlib_ng') or features.version('zlib')}"
    return f"pillow-jxl-plugin {version('pillow-jxl-plugin')}"


def _av1_encoder() -> str:
    """'libaom 3.14.1': the encoder in libavif, which only Pillow's C module names."""
    try:
        from PIL import _avif

        versions = _avif.codec_versions()
    except (ImportError, AttributeError):
        return "encoder unknown"
    encoders = [part.strip() for part in versions.split(",") if "enc" in part.partition(":")[0]]
    named = [part.split("[")[0].strip() + " " + part.partition(":")[2] for part in encoders]
    return ", ".join(named).replace("aom ", "libaom ") or "encoder unknown"


def _register_jpegxl() -> None:
    try:
        import_module("pillow_jxl")
    except ImportError:
        raise BadArgument(
            "JPEG XL needs Pillow's plug-in, which is under the GPL: pip install pillow-jxl-plugin"
        ) from None
