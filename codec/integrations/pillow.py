"""`.ctm` in Pillow: importing this file is enough for `Image.open("x.ctm")` and `image.save("x.ctm", quality=60)`."""

from __future__ import annotations

import io
import os
from typing import IO, Any

from PIL import Image, ImageFile

import codec
from codec.bitstream import container
from codec.errors import CodecError

FORMAT = "CTM"
DEFAULT_QUALITY = 50


class CtmImageFile(ImageFile.ImageFile):
    """Opening reads the header (and which extras there are); pixels are decoded when they are first asked for."""

    format = FORMAT
    format_description = "CoTAM image"

    def _open(self) -> None:
        """Raises SyntaxError, as Pillow's plugins do, for what is no sound header."""
        assert self.fp is not None
        try:
            header = container.read_header(self.fp.read(container.HEADER_LIMIT))
            extras = self._extras(header)
        except CodecError as error:
            raise SyntaxError(str(error)) from None
        self._size = (header.width, header.height)
        grey, alpha = (kind in extras for kind in (container.EXTRA_GREY, container.EXTRA_ALPHA))
        self._mode = ("L" if grey else "RGB") + ("A" if alpha else "")
        if container.EXTRA_ICC in extras:
            self.info["icc_profile"] = extras[container.EXTRA_ICC]
        if container.EXTRA_EXIF in extras:
            self.info["exif"] = extras[container.EXTRA_EXIF]
        self.info["cotam_model"] = header.fingerprint.hex()
        self._undecoded = True

    def _extras(self, header: container.Header) -> dict[int, bytes]:
        assert self.fp is not None
        if not header.extras:
            return {}
        self.fp.seek(header.size + header.qp_map + header.latents, os.SEEK_SET)
        return container.read_extras(self.fp.read(header.extras))

    def load(self) -> Any:
        """Decode by the weights that the file names. Raises OSError for a damaged file or weights that are not shipped."""
        if self._undecoded and self.fp is not None:
            self.fp.seek(0)
            try:
                decoded = codec.decode(self.fp.read())
            except CodecError as error:
                raise OSError(str(error)) from error
            self._undecoded = False
            self.fp = io.BytesIO(decoded.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, (decoded.mode, 0, 1))]
        return super().load()


def _accept(start: bytes) -> bool:
    return start.startswith(container.MAGIC)


def _save(image: Image.Image, stream: IO[bytes], name: str | bytes) -> None:
    """Options of `save`: what `codec.Codec.encode` takes (quality, target_bytes, guide, strip, ...), and `model`."""
    options = dict(image.encoderinfo)
    cotam = codec.load(options.pop("model", "default"))
    for profile in ("icc_profile", "exif"):
        if profile in options:
            image.info[profile] = options.pop(profile)
    if "target_bytes" not in options and "qp_map" not in options:
        options.setdefault("quality", DEFAULT_QUALITY)
    try:
        stream.write(cotam.encode(image, **options))
    except CodecError as error:
        raise OSError(str(error)) from error


Image.register_open(FORMAT, CtmImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".ctm")
Image.register_mime(FORMAT, "image/x-cotam")
