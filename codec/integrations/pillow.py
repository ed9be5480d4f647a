"""`.ctm` in Pillow: importing this file is enough for `Image.open("x.ctm")` and `image.save("x.ctm", quality=60)`."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import IO, Any

from PIL import Image, ImageFile

import codec
from codec.bitstream import container
from codec.errors import CodecError
from codec.io import colour, images
from codec.options import OPTION_NAMES

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
        grey = container.EXTRA_GREY in extras
        alpha = container.EXTRA_ALPHA in extras or header.channels == 4
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
            self.im = decoded.im
            self.tile = []
            if self._exclusive_fp:
                self.fp.close()
            self.fp = None
        return super().load()


def _accept(start: bytes) -> bool:
    return start.startswith(container.MAGIC)


def _save(image: Image.Image, stream: IO[bytes], name: str | bytes) -> None:
    """Options of `save`: what `codec.Codec.encode` takes (quality, target_bytes, guide, strip, ...), and `model`.

    icc_profile and exif replace the picture's own; other formats' options are ignored, as Pillow's plugins do.
    """
    given = dict(image.encoderinfo)
    options = {key: given[key] for key in OPTION_NAMES if given.get(key) is not None}
    if not {"target_bytes", "qp_map"} & set(options):
        options.setdefault("quality", DEFAULT_QUALITY)
    try:
        picture = images.from_pil(image, container.DEFAULT_LIMIT_PIXELS, given.get("exif"))
        if "icc_profile" in given:
            icc = given["icc_profile"]
            picture.icc = bytes(icc) if colour.is_sound(icc) else None
        stream.write(_encoder(str(given.get("model", "default"))).encode(picture, **options))
    except CodecError as error:
        raise OSError(str(error)) from error


@lru_cache(maxsize=2)
def _encoder(model: str) -> codec.Codec:
    return codec.load(model)


Image.register_open(FORMAT, CtmImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".ctm")
Image.register_mime(FORMAT, "image/x-cotam")
