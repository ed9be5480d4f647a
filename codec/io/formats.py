"""The picture formats that are read and written, by name: no other program sees untrusted bytes.

Pillow hands PostScript to Ghostscript, knows formats that it cannot decode, and opens any format
that lies inside IPTC. None of these are in the lists.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

READ = frozenset(
    "AVIF BLP BMP CUR DCX DDS DIB FITS FLI FTEX GBR GIF ICNS ICO IM IMT JPEG JPEG2000 MCIDAS MPO "
    "MSP PCD PCX PIXAR PNG PPM PSD QOI SGI SPIDER SUN TGA TIFF WEBP XBM XPM XVTHUMB".split()
)
# They need another program or library. In a folder they are reported, never opened.
REFUSED = frozenset("BUFR EPS GRIB HDF5 IPTC MPEG WMF".split())
# These hold any picture exactly or nearly so; other formats shrink it or lose its colours.
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
