"""The picture formats that are read and written, by name: no other program gets untrusted bytes.

Pillow passes PostScript to Ghostscript, registers formats that it cannot decode, and opens any
format that is embedded in IPTC. None of these are in the lists.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from codec.errors import BadArgument

if TYPE_CHECKING:
    from PIL import Image

READ = frozenset(
    "AVIF BLP BMP CUR DCX DDS DIB FITS FLI FTEX GBR GIF ICNS ICO IM IMT JPEG JPEG2000 MCIDAS MPO "
    "MSP PCD PCX PIXAR PNG PPM PSD QOI SGI SPIDER SUN TGA TIFF WEBP XBM XPM XVTHUMB".split()
)
# Formats that need another program or library. In a folder they are reported, never opened.
REFUSED = frozenset("BUFR EPS GRIB HDF5 IPTC MPEG WMF".split())
# Formats that hold any picture exactly or nearly so; others reduce its size or lose its colours.
WRITTEN = frozenset(
    "AVIF BMP DDS DIB GIF IM JPEG JPEG2000 MPO PCX PDF PNG PPM QOI SGI TGA TIFF WEBP".split()
)
WITH_ALPHA = frozenset("AVIF DDS JPEG2000 PNG QOI SGI TGA TIFF WEBP".split())
# Several pictures in one file are not always an animation.
PARTS = {"MPO": "pictures", "TIFF": "pages", "DCX": "pages", "IM": "pictures", "ICNS": "sizes"}
# Everything that Pillow registers for READ, listed because asking would import all plugins.
SUFFIXES = frozenset(
    ".apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr .gif "
    ".icb .icns .ico .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm .pcd "
    ".pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst "
    ".webp .xbm .xpm".split()
)
DRAWINGS = frozenset((".eps", ".ps", ".wmf", ".emf"))
# Lossy formats: visually lossless, with colour at full resolution if the format allows it.
WRITING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "MPO": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
# Lossy WebP is VP8 (RFC 9649), which has no other subsampling.
WEBP_SUBSAMPLING = "4:2:0"


def open_picture(stream: IO[bytes], only: list[str] | None = None) -> Image.Image:
    """Open a picture as `Image.open` does, but only in formats of READ.

    Args:
        stream: the file; one that cannot seek is read into memory.
        only: names of formats to try instead.

    Returns:
        The picture, not decoded yet.

    Raises:
        UnidentifiedImageError: it has none of these formats.
    """
    from PIL import Image, UnidentifiedImageError

    whole = stream if _seekable(stream) else io.BytesIO(stream.read())
    if only is not None:
        return Image.open(whole, formats=only)
    Image.preinit()
    try:
        return Image.open(whole, formats=_known())
    except UnidentifiedImageError:
        Image.init()
        return Image.open(whole, formats=_known())


def _known() -> list[str]:
    from PIL import Image

    return [name for name in Image.ID if name in READ]


def _seekable(stream: IO[bytes]) -> bool:
    try:
        stream.seek(0)
        return True
    except (AttributeError, io.UnsupportedOperation):
        return False


def written_format(suffix: str) -> str | None:
    """Pillow's name of the format of a suffix such as '.png'; None if it is not written."""
    from PIL import Image

    kind = Image.registered_extensions().get(suffix.lower())
    return kind if kind in WRITTEN and kind in Image.SAVE else None


def writing_options(
    kind: str, suffix: str, quality: int | None = None, subsampling: str | None = None
) -> dict[str, Any]:
    """Pillow's options for writing a picture.

    Args:
        kind: the format, as `written_format` names it.
        suffix: as the user named the format.
        quality: 0..100 for JPEG, WebP and AVIF. Default: visually lossless.
        subsampling: of SUBSAMPLINGS, for JPEG and AVIF. Default: 4:4:4.

    Returns:
        Arguments of Pillow's `save`.

    Raises:
        BadArgument: an option is out of range, or does not suit the format.
    """
    options = dict(WRITING.get(kind, {}))
    if quality is not None:
        if "quality" not in options:
            raise BadArgument(f"'{suffix}' has no quality; only .jpg, .webp and .avif have one")
        if not 0 <= quality <= 100:
            raise BadArgument(f"a quality is a number from 0 to 100, not {quality}")
        options["quality"] = int(quality)
    if subsampling is not None:
        if subsampling not in SUBSAMPLINGS:
            known = ", ".join(SUBSAMPLINGS)
            raise BadArgument(f"subsampling must be one of {known}, not {subsampling!r}")
        if kind == "WEBP" and subsampling != WEBP_SUBSAMPLING:
            raise BadArgument(
                f"WebP has no subsampling but {WEBP_SUBSAMPLING}; use .jpg or .avif for "
                f"{subsampling}"
            )
        if kind not in WRITING:
            raise BadArgument(f"'{suffix}' has no subsampling; only .jpg and .avif have one")
        if kind != "WEBP":
            options["subsampling"] = subsampling
    return options
